"""What is sent to Kubeflow, read by its own models and SDK; and a project's line as it is handed over."""

import json
import subprocess
from pathlib import Path

import pytest
from tests.control.sites import Site, kubeflow
from tests.e2e.projects import write_project

from tuneline.cli.loading import compiled, load_project
from tuneline.plan.handing import handed_over

PROGRAM = Path(__file__).parents[1] / "kfp" / "api" / "flows_models.py"


@pytest.fixture
def line(tmp_path):
    """The IR of a small project."""
    return compiled(load_project(write_project(tmp_path / "reviews"), ()))[0]


@pytest.mark.slow
def test_kubeflows_own_models_and_sdk_read_what_it_is_sent(line, tmp_path, kfp_python):
    home, remote = Site(tmp_path / "home", reports=True), Site(tmp_path / "kubeflow")
    try:
        run = home.submit(line, kubeflow(remote.url, experiment="mine"), train_r=4)
        home.platform.cancel(run)
        home.ended(run)
    finally:
        home.stop()
        remote.stop()
    sent = {
        (each["method"], each["path"]): json.loads(each["body"]) for each in remote.requests if each["body"]
    }
    assert {each["token"] for each in remote.requests} == {"Bearer kfp-token-1234"}
    assert all("kfp-token" not in each["path"] + each["query"] + each["body"] for each in remote.requests)
    bodies = {
        "runs": [sent["POST", "/apis/v2beta1/runs"]],
        "experiments": [sent["POST", "/apis/v2beta1/experiments"]],
    }
    child = subprocess.run(
        [kfp_python, str(PROGRAM)], input=json.dumps(bodies), capture_output=True, text=True, timeout=50
    )
    assert child.returncode == 0, child.stderr[-3000:]
    (found,) = json.loads(child.stdout)
    assert found == {
        "name": "reviews",
        "executors": ["exec-live", "exec-propose"],
        "parameters": {"train_r": 4},
    }


def test_only_our_own_steps_are_changed_and_only_those_that_call_the_server_are_told_of_it(line):
    spec = handed_over(line, "20261126-1", "http://home:8080", "registry/tuneline:1")
    executors = {
        label: body["container"]
        for label, body in spec["pipeline_spec"]["deploymentSpec"]["executors"].items()
    }
    assert {body["image"] for body in executors.values()} == {"registry/tuneline:1"}
    told = {
        label: {each["name"]: each["value"] for each in body.get("env", ())}
        for label, body in executors.items()
    }
    calling = {label for label, env in told.items() if env}
    assert calling == {"exec-live", "exec-propose"}
    assert told["exec-propose"] == {
        "TUNELINE_URL": "http://home:8080", "TUNELINE_PATIENCE_S": "600", "TUNELINE_RECORD_RUN": "20261126-1",
    }  # fmt: skip
    platform = spec["platform_spec"]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    (secret,) = platform["exec-propose"]["secretAsEnv"]
    assert secret["keyToEnv"] == [{"secretKey": "token", "envVar": "TUNELINE_TOKEN"}]
    assert secret["optional"]


def test_where_steps_cannot_reach_the_server_the_line_stays_as_it_is(line):
    assert handed_over(line, "20261126-1", "", "") == line
