"""`on:` over its defaults, step by step, and as Kubeflow's own documents."""

import json
import subprocess
from pathlib import Path

import pytest
from tests.kubeflow import SDK

from tuneline.plan.compile import compile_project, line_of
from tuneline.plan.placement import engine_options, placed, placements, unknown_steps
from tuneline.spec.project import parse
from tuneline_ir import parse as parse_ir

PROJECT = """name: demo
data: {source: rows.csv, prompt: "{text}", completion: " {label}"}
base_model: gemma-3-270m
on:
  kubernetes:
    image: registry/tuneline@sha256:abc
    service_account: tuneline
    env: {LEVEL: high}
    secret_env: {HF_TOKEN: huggingface/token}
    requests: {cpu: 2}
    image_pull_secrets: [registry]
    image_pull_policy: Always
    labels: {team: reviews}
    steps:
      tune:
        gpus: 1
        spot: gke
        requests: {memory: 24Gi}
        limits: {memory: 32Gi}
        tolerations: [{key: nvidia.com/gpu, operator: Exists, effect: NoExecute, tolerationSeconds: 60}]
        timeout: 6h
        run_as_user: 1000
        run_as_root: false
"""


@pytest.fixture(scope="module")
def project():
    return parse(PROJECT, Path("/project")).project


@pytest.fixture(scope="module")
def steps(project):
    return [step.name for step in line_of(project)]


def test_a_step_has_its_own_keys_over_those_for_all_and_the_project_over_the_defaults(project, steps):
    defaults = {
        "kubernetes": {
            "namespace": "ours", "gpus": 8, "node_selector": {"pool": "batch"},
            "requests": {"cpu": "1", "disk": "1"},
            "steps": {"tune": {"disk": "100Gi", "gpus": 4}},
        }
    }  # fmt: skip
    found = placements(project.on.written, defaults, steps)
    assert found["tune"]["requests"] == {"cpu": "2", "disk": "1", "memory": "24Gi"}
    assert (found["tune"]["gpus"], found["score"]["gpus"]) == (1, 8)
    assert (found["tune"]["disk"], found["score"].get("disk")) == ("100Gi", None)
    assert found["score"]["namespace"] == "ours"
    assert found["score"]["node_selector"] == {"pool": "batch"}
    assert found["tune"]["node_selector"] == {"pool": "batch", "cloud.google.com/gke-spot": "true"}
    assert [each["key"] for each in found["tune"]["tolerations"]] == [
        "nvidia.com/gpu",
        "cloud.google.com/gke-spot",
    ]
    tolerated = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    assert found["score"]["tolerations"] == [tolerated]  # of nodes with GPUs, where it asks for some
    assert "steps" not in found["tune"]


def test_a_step_may_leave_the_spot_nodes_of_all(steps):
    said = {"kubernetes": {"spot": "aks", "steps": {"propose": {"spot": "none"}}}}
    found = placements(said, {}, steps)
    assert found["tune"]["node_selector"] == {"kubernetes.azure.com/scalesetpriority": "spot"}
    assert "node_selector" not in found["propose"]


def test_steps_that_are_not_there_are_named_with_the_nearest(steps):
    said = {"kubernetes": {"steps": {"tuen": {}, "zzz": {}, "tune": {}}}}
    assert unknown_steps(said, steps) == {"tuen": "tune", "zzz": ""}


def test_options_of_an_engine(project):
    assert engine_options(project.on.written, {"airflow": {"pool": "gpu"}}, "airflow") == {"pool": "gpu"}
    assert engine_options({"airflow": {"pool": ""}}, {"airflow": {"pool": "gpu"}}, "airflow") == {"pool": ""}


def test_what_kubeflow_has_words_for_goes_into_the_pipeline(project, steps):
    spec = compile_project(project)
    before = json.dumps(spec)
    document = placed(spec, placements(project.on.written, {}, steps))
    assert json.dumps(spec) == before
    read = parse_ir(document)
    tune = container(read, "tune")
    assert tune.image == "registry/tuneline@sha256:abc"
    assert tune.env == {"LEVEL": "high"}
    assert tune.resources == {
        "resourceCpuRequest": "2", "resourceMemoryRequest": "24Gi", "resourceMemoryLimit": "32Gi",
        "accelerator": {
            "resourceType": "nvidia.com/gpu", "resourceCount": "1", "type": "nvidia.com/gpu", "count": "1",
        },
    }  # fmt: skip
    assert tune.platform["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": "60"},
        {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"},
    ]
    assert tune.platform["securityContext"] == {"runAsUser": "1000", "runAsNonRoot": True}
    score = container(read, "score")
    assert "nodeSelector" not in score.platform
    assert "securityContext" not in score.platform


def test_a_project_that_says_nothing_has_no_platform(steps):
    said = parse(PROJECT.partition("\non:")[0], Path("/project")).project
    spec = compile_project(said)
    document = placed(spec, placements(said.on.written, {}, steps))
    assert document == {"pipeline_spec": spec, "platform_spec": {}}


LOAD = """
import json, sys
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from kfp.kubernetes import kubernetes_executor_config_pb2 as platform_pb2
document = json.load(sys.stdin)
json_format.ParseDict(document["pipeline_spec"], pipeline_spec_pb2.PipelineSpec())
spec = json_format.ParseDict(document["platform_spec"], pipeline_spec_pb2.PlatformSpec())
executors = json_format.MessageToDict(spec.platforms["kubernetes"])["deploymentSpec"]["executors"]
print(json.dumps({
    name: json_format.MessageToDict(json_format.ParseDict(body, platform_pb2.KubernetesExecutorConfig()))
    for name, body in executors.items()
}))
"""


@pytest.mark.slow
def test_kubeflow_s_own_messages_take_every_field_of_it(project, steps):
    """The SDK's protobuf classes refuse a field they do not know: a second, of which most is their import."""
    document = placed(compile_project(project), placements(project.on.written, {}, steps))
    ended = subprocess.run(
        [str(SDK), "-c", LOAD], input=json.dumps(document), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    written = document["platform_spec"]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    read = json.loads(ended.stdout)
    assert read["exec-tune"] == written["exec-tune"]
    assert set(read) == set(written)


def container(pipeline, step):
    return pipeline.executors[f"exec-{step}"]
