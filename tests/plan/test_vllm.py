"""What a project whose model vLLM serves on this machine does otherwise."""

from dataclasses import replace

import pytest
from tests.plan.test_compile import EXAMPLE

from tuneline.plan.compile import compile_project
from tuneline.plan.endpoints import Desired, Trial
from tuneline.plan.lifecycle import patience
from tuneline.plan.revisions import Policy
from tuneline.spec.project import load
from tuneline_ir import parse

LATENCY = "latency.p95 <= 10"


def compiled(**deploy):
    project = load(EXAMPLE).project
    return compile_project(
        replace(project, deploy=replace(project.deploy, **deploy), gate=(*project.gate, LATENCY))
    )


def given(spec, task):
    return spec["root"]["dag"]["tasks"][task]["inputs"]["parameters"]


def test_live_looks_for_vllm_first_and_what_it_found_is_in_the_key_of_the_proof():
    spec = compiled(runtime="vllm")
    parse(spec)
    assert given(spec, "live")["vllm"] == {"componentInputParameter": "deploy_vllm"}
    said = {"taskOutputParameter": {"producerTask": "live", "outputParameterKey": "vllm"}}
    for task in ("verify", "measure"):
        assert given(spec, task)["vllm"] == {"componentInputParameter": "deploy_vllm"}
        assert given(spec, task)["vllm_version"] == said
    assert spec["components"]["comp-live"]["outputDefinitions"]["parameters"]["vllm"]
    inputs = spec["root"]["inputDefinitions"]["parameters"]
    assert inputs["deploy_vllm"]["defaultValue"]["max_num_seqs"] == 64


@pytest.mark.parametrize("deploy", [{"runtime": "llamacpp"}, {"runtime": "vllm", "on": "kubernetes"}])
def test_where_vllm_is_not_here_nobody_looks_for_it(deploy):
    spec = compiled(**deploy)
    assert "vllm" not in given(spec, "live") | given(spec, "verify") | given(spec, "measure")


def test_vllm_may_take_as_long_to_start_as_its_project_says():
    slow = {"vllm": {"start_timeout_s": 900.0}}
    wanted = Desired("e", 1, "m@1.0.0", "", runtime="vllm", deploy=slow)
    assert patience(wanted, Policy(120.0)).start_timeout_s == 900.0
    assert patience(replace(wanted, runtime="llamacpp"), Policy(120.0)).start_timeout_s == 120.0
    tried = Trial("r", "m@2.0.0", runtime="vllm", deploy=slow)
    assert (
        patience(replace(wanted, runtime="llamacpp", deploy={}, trial=tried), Policy(120.0)).start_timeout_s
        == 900.0
    )
