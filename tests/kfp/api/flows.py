"""What users do with the real `kfp` SDK. Run where kfp is installed; asked line by line by `conftest.py`.

A line in: `["flow", arguments...]`; a line out: `{"result": ...}` or `{"error": traceback}`. Each flow asserts what
the SDK shows of an answer, and returns the plain rest.
"""

import contextlib
import io
import json
import os
import sys
import tempfile
import time
import traceback

import kfp
import kfp_server_api
from kfp import compiler, dsl
from kfp.kubeflow_client import PipelinesClient
from kfp.kubeflow_client.backends.kubernetes import KubernetesBackendConfig


@dsl.container_component
def write(text: str, made: dsl.Output[dsl.Dataset], said: dsl.OutputPath(str)):
    script = 'mkdir -p "$(dirname "$1")" "$(dirname "$2")"; printf %s "$0" > "$1"; printf %s "$0" > "$2"; echo wrote $0'
    return dsl.ContainerSpec(image="host", command=["sh", "-c", script, text, made.path, said])


@dsl.container_component
def read(made: dsl.Input[dsl.Dataset], said: str):
    return dsl.ContainerSpec(image="host", command=["sh", "-c", 'test "$(cat "$1")" = "$0"', said, made.path])


@dsl.container_component
def fail():
    return dsl.ContainerSpec(image="host", command=["sh", "-c", "echo no; exit 3"])


@dsl.container_component
def wait():
    return dsl.ContainerSpec(image="host", command=["sleep", "60"])


@dsl.pipeline(name="two-steps", description="Writes and reads.")
def two_steps(text: str = "hello", count: int = 2):
    wrote = write(text=text)
    read(made=wrote.outputs["made"], said=wrote.outputs["said"])


@dsl.pipeline(name="failing")
def failing():
    fail()


@dsl.pipeline(name="waiting")
def waiting():
    wait()


def compiled(pipeline, suffix=".yaml"):
    path = os.path.join(tempfile.mkdtemp(), pipeline.name + suffix)
    compiler.Compiler().compile(pipeline, path)
    return path


def client(host):
    return kfp.Client(host=host)


def until(made, run, *states, within=20):
    end = time.monotonic() + within
    while True:
        found = made.get_run(run)
        if found.state in states:
            return found
        assert time.monotonic() < end, found.state
        time.sleep(0.05)


def plain(model):
    return kfp_server_api.ApiClient().sanitize_for_serialization(model)


def run_from_function(host):
    made = client(host)
    result = made.create_run_from_pipeline_func(
        two_steps, arguments={"text": "hi"}, run_name="my run", experiment_name="first", enable_caching=False
    )
    created = result.run_info
    assert created.state == "PENDING", created
    until(made, created.run_id, "SUCCEEDED", "FAILED")
    run = result.wait_for_run_completion(timeout=5)
    assert run.state == "SUCCEEDED"
    assert run.display_name == "my run"
    assert made.get_experiment(experiment_name="first").experiment_id == run.experiment_id
    assert run.finished_at >= run.created_at
    return plain(run)


def main():
    out = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        flow, *args = json.loads(line)
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said):
                answer = {"result": globals()[flow](*args)}
        except BaseException:
            answer = {"error": traceback.format_exc() + said.getvalue()}
        out.write(json.dumps(answer, default=str) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
