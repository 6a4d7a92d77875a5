"""What users do with the real `kfp` SDK. Run where kfp is installed; asked line by line by `conftest.py`.

A line in: `["flow", arguments...]`; a line out: `{"result": ...}` or `{"error": traceback}`. Each flow
asserts what the SDK shows of an answer, and returns the plain rest.
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
from click.testing import CliRunner
from flows_recurring import recurring_by_cron, recurring_refused, recurring_until_it_ran  # noqa: F401
from kfp import compiler, dsl
from kfp.cli import cli
from kfp.kubeflow_client import PipelinesClient
from kfp.kubeflow_client.backends.kubernetes import KubernetesBackendConfig


@dsl.container_component
def write(text: str, made: dsl.Output[dsl.Dataset], said: dsl.OutputPath(str)):
    script = 'mkdir -p "${1%/*}" "${2%/*}"; printf %s "$0" > "$1"; printf %s "$0" > "$2"; echo wrote $0'
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


@dsl.container_component
def show(n: int, x: float, flag: bool, words: list, map: dict):
    return dsl.ContainerSpec(image="host", command=["true"], args=[n, x, flag, words, map])


@dsl.pipeline(name="single")
def single(n: int = 1, x: float = 1.5, flag: bool = False, words: list = [], map: dict = {}):  # noqa: B006
    show(n=n, x=x, flag=flag, words=words, map=map)


@dsl.pipeline(name="nested")
def nested(items: list = ["a", "b"]):  # noqa: B006
    with dsl.ParallelFor(items) as item:
        wrote = write(text=item)
        with dsl.If(wrote.outputs["said"] == "a"):
            write(text="yes").set_display_name("only for a")


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


def refused(call, *args, **kwargs):
    """HTTP status and body of a call that must fail."""
    try:
        call(*args, **kwargs)
    except kfp_server_api.ApiException as error:
        return {"status": error.status, "body": json.loads(error.body)}
    raise AssertionError(f"{call} did not fail")


def raw(model, key):
    """A list of a response that may be missing when empty."""
    return getattr(model, key) or []


def pipelines_and_versions(host):
    made, path = client(host), compiled(two_steps)
    one = made.upload_pipeline(path, pipeline_name="one", description="d", namespace="somewhere")
    assert (one.name, one.display_name, one.description) == ("one", "one", "d")
    assert one.namespace in (None, "")
    again = refused(made.upload_pipeline, path, pipeline_name="one")
    second = made.upload_pipeline_version(path, "v2", pipeline_id=one.pipeline_id, description="newer")
    assert (second.pipeline_id, second.name, second.description) == (one.pipeline_id, "v2", "newer")
    third = made.upload_pipeline_version(path, "v3", pipeline_name="one")
    assert made.get_pipeline_id("one") == one.pipeline_id
    assert made.get_pipeline_id("nothing") is None
    assert made.get_pipeline(one.pipeline_id) == one
    versions = made.list_pipeline_versions(one.pipeline_id, sort_by="created_at desc", page_size=2)
    assert versions.total_size == 3
    assert [each.name for each in versions.pipeline_versions] == ["v3", "v2"]
    rest = made.list_pipeline_versions(one.pipeline_id, page_token=versions.next_page_token)
    assert [each.name for each in rest.pipeline_versions] == ["one"]
    assert not rest.next_page_token
    found = made.get_pipeline_version(one.pipeline_id, third.pipeline_version_id)
    assert found.pipeline_spec["pipelineInfo"]["name"] == "two-steps"
    listed = made.list_pipelines(
        filter=json.dumps(
            {"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": "ONE"}]}
        )
    )
    assert [each.pipeline_id for each in listed.pipelines] == [one.pipeline_id]
    with_versions = refused(made.delete_pipeline, one.pipeline_id)
    made.delete_pipeline_version(one.pipeline_id, third.pipeline_version_id)
    unknown = refused(made.get_pipeline_version, one.pipeline_id, third.pipeline_version_id)
    for version in made.list_pipeline_versions(one.pipeline_id).pipeline_versions:
        made.delete_pipeline_version(one.pipeline_id, version.pipeline_version_id)
    made.delete_pipeline(one.pipeline_id)
    gone = refused(made.get_pipeline, one.pipeline_id)
    assert raw(made.list_pipelines(), "pipelines") == []
    return {"again": again, "with_versions": with_versions, "unknown": unknown, "gone": gone}


def uploads_of_all_kinds(host, folder):
    made, names = client(host), []
    for file in sorted(os.listdir(folder)):
        uploaded = made.upload_pipeline(os.path.join(folder, file), pipeline_name=f"of {file}")
        versions = made.list_pipeline_versions(uploaded.pipeline_id).pipeline_versions
        names.append([file, versions[0].pipeline_spec])
    return names


def runs_of_uploaded(host):
    made, path = client(host), compiled(two_steps)
    one = made.upload_pipeline(path, pipeline_name="one")
    first = made.list_pipeline_versions(one.pipeline_id).pipeline_versions[0]
    second = made.upload_pipeline_version(path, "v2", pipeline_id=one.pipeline_id)
    experiment = made.create_experiment("exp")
    exact = made.run_pipeline(
        experiment.experiment_id,
        "exact",
        pipeline_id=one.pipeline_id,
        version_id=first.pipeline_version_id,
        params={"text": "x", "count": 3},
        pipeline_root="/tmp/root",
        service_account="robot",
    )
    reference = kfp_server_api.V2beta1PipelineVersionReference(pipeline_id=one.pipeline_id)
    newest = made.runs.run_service_create_run(
        run=kfp_server_api.V2beta1Run(
            display_name="newest",
            experiment_id=experiment.experiment_id,
            pipeline_version_reference=reference,
        )
    )
    assert exact.pipeline_version_reference.pipeline_version_id == first.pipeline_version_id
    assert newest.pipeline_version_reference.pipeline_version_id == second.pipeline_version_id
    assert exact.pipeline_spec is None
    assert exact.runtime_config.parameters == {"text": "x", "count": 3}
    assert exact.runtime_config.pipeline_root == "/tmp/root"
    assert exact.service_account == "robot"
    for run in (exact, newest):
        assert until(made, run.run_id, "SUCCEEDED", "FAILED").state == "SUCCEEDED"
    other = made.create_experiment("other")
    package = made.create_run_from_pipeline_package(path, experiment_id=other.experiment_id)
    until(made, package.run_id, "SUCCEEDED")
    listed = made.list_runs(experiment_id=experiment.experiment_id, sort_by="created_at desc")
    assert [run.display_name for run in listed.runs] == ["newest", "exact"]
    assert listed.total_size == 2
    return [plain(run) for run in listed.runs]


def experiments(host):
    made = client(host)
    first = made.create_experiment("first", description="d")
    assert made.create_experiment("first") == first
    assert (first.display_name, first.description, first.storage_state) == ("first", "d", "AVAILABLE")
    twice = refused(
        made._experiment_api.experiment_service_create_experiment,
        experiment=kfp_server_api.V2beta1Experiment(display_name="first"),
    )
    default = made.get_experiment(experiment_name="Default")
    kept = refused(made.delete_experiment, default.experiment_id)
    run = made.create_run_from_pipeline_func(two_steps, experiment_id=first.experiment_id)
    until(made, run.run_id, "SUCCEEDED")
    assert made.get_experiment(first.experiment_id).last_run_created_at == run.run_info.created_at
    made.archive_experiment(first.experiment_id)
    assert made.get_experiment(first.experiment_id).storage_state == "ARCHIVED"
    assert made.get_run(run.run_id).storage_state == "ARCHIVED"
    shut = refused(made.unarchive_run, run.run_id)
    made.unarchive_experiment(first.experiment_id)
    assert made.get_run(run.run_id).storage_state == "ARCHIVED"
    made.unarchive_run(run.run_id)
    assert made.get_run(run.run_id).storage_state == "AVAILABLE"
    made.delete_experiment(first.experiment_id)
    gone = refused(made.get_experiment, first.experiment_id)
    assert made.get_run(run.run_id).experiment_id == first.experiment_id
    in_default = made.create_run_from_pipeline_func(two_steps)
    assert in_default.run_info.experiment_id == default.experiment_id
    until(made, in_default.run_id, "SUCCEEDED")
    return {"twice": twice, "kept": kept, "shut": shut, "gone": gone}


def life_of_runs(host):
    made = client(host)
    long = made.create_run_from_pipeline_func(waiting, run_name="long")
    until(made, long.run_id, "RUNNING")
    active = refused(made.runs.run_service_retry_run, run_id=long.run_id)
    made.terminate_run(long.run_id)
    ended = until(made, long.run_id, "CANCELED")
    assert [entry.state for entry in ended.state_history] == ["PENDING", "RUNNING", "CANCELING", "CANCELED"]
    assert ended.run_details.task_details[0].state == "CANCELED"
    made.terminate_run(long.run_id)
    failed = made.create_run_from_pipeline_func(failing, run_name="bad", enable_caching=False)
    shown = until(made, failed.run_id, "FAILED")
    assert shown.error.message
    assert shown.state_history[-1].error.code
    task = shown.run_details.task_details[0]
    assert (task.state, task.display_name) == ("FAILED", "fail")
    assert "exit" in task.error.message or "3" in task.error.message, task.error
    assert len(task.executor_detail.failed_main_jobs) == 1
    made.runs.run_service_retry_run(run_id=failed.run_id)
    end = time.monotonic() + 20
    while len(made.get_run(failed.run_id).state_history) < 5:
        assert time.monotonic() < end
        time.sleep(0.05)
    again = made.get_run(failed.run_id)
    assert [entry.state for entry in again.state_history] == [
        "PENDING",
        "RUNNING",
        "FAILED",
        "RUNNING",
        "FAILED",
    ]
    good = made.create_run_from_pipeline_func(two_steps, run_name="good")
    until(made, good.run_id, "SUCCEEDED")
    done = refused(made.runs.run_service_retry_run, run_id=good.run_id)
    made.archive_run(good.run_id)
    assert made.get_run(good.run_id).storage_state == "ARCHIVED"
    archived = made.list_runs(
        filter=json.dumps(
            {"predicates": [{"operation": 1, "key": "storage_state", "stringValue": "ARCHIVED"}]}
        )
    )
    assert [run.run_id for run in archived.runs] == [good.run_id]
    assert archived.total_size == 1
    made.unarchive_run(good.run_id)
    made.terminate_run(good.run_id)
    made.archive_run(good.run_id)
    made.delete_run(good.run_id)
    gone = refused(made.get_run, good.run_id)
    unknown = [
        refused(call, "no-such-run")["body"]
        for call in (made.archive_run, made.unarchive_run, made.terminate_run, made.delete_run)
    ]
    assert made.list_runs().total_size == 2
    return {"active": active, "done": done, "gone": gone, "unknown": unknown}


def nested_tasks(host):
    made = client(host)
    run = made.create_run_from_pipeline_func(nested, enable_caching=False)
    ended = until(made, run.run_id, "SUCCEEDED", "FAILED")
    assert ended.state == "SUCCEEDED", ended
    return plain(ended)["run_details"]["task_details"]


def pages(host):
    """Every run once, page by page, forth and back; a token with another filter."""
    made = client(host)
    experiment = made.create_experiment("many").experiment_id
    path = compiled(two_steps)
    ids = [made.run_pipeline(experiment, f"run {n}", path).run_id for n in range(7)]
    seen = {}
    for order in ("asc", "desc"):
        found, token = [], ""
        while True:
            page = made.list_runs(
                page_token=token, page_size=3, sort_by=f"created_at {order}", experiment_id=experiment
            )
            found += [run.run_id for run in page.runs]
            assert page.total_size == 7
            token = page.next_page_token
            if not token:
                break
        seen[order] = found
    assert seen["asc"] == ids, (seen, ids)
    assert seen["desc"] == ids[::-1]
    first = made.list_runs(page_size=3, sort_by="created_at desc", experiment_id=experiment)
    other = refused(made.list_runs, page_token=first.next_page_token, sort_by="created_at asc")
    named = made.list_runs(
        filter=json.dumps(
            {"predicates": [{"operation": "IS_SUBSTRING", "key": "name", "stringValue": "N 3"}]}
        )
    )
    assert [run.display_name for run in named.runs] == ["run 3"]
    for run in ids:
        until(made, run, "SUCCEEDED")
    return {
        "other": other,
        "unknown": refused(
            made.list_runs,
            filter=json.dumps({"predicates": [{"operation": 1, "key": "colour", "stringValue": "x"}]}),
        ),
    }


def refusals(host):
    """What the client shows when the server refuses."""
    made, path = client(host), compiled(two_steps)
    experiment = made.create_experiment("e").experiment_id
    run = lambda **params: made.run_pipeline(experiment, "r", path, params=params)  # noqa: E731
    return {
        "unknown": refused(run, nothing=1),
        "type": refused(run, count="three"),
        "experiment": refused(made.run_pipeline, "nowhere", "r", path),
        "version": refused(made.run_pipeline, experiment, "r", pipeline_id="p", version_id="v"),
        "upload": refused(made._upload_api.upload_pipeline, path, name="x", tags="{"),
    }


def name_first_client(host):
    made = PipelinesClient(KubernetesBackendConfig(base_url=host, namespace="kubeflow"))
    first = made.upload_pipeline(two_steps, name="line", version="1.0", description="d")
    assert first.display_name == "1.0", first
    second = made.upload_pipeline(two_steps, name="line", version="1.1")
    assert made.get_pipeline_version("line", "1.0").pipeline_version_id == first.pipeline_version_id
    made.create_experiment("trial", description="t")
    assert made.create_experiment("trial").display_name == "trial"
    run = made.run("line", params={"text": "a"}, name="by name", experiment="trial")
    assert run.pipeline_version_reference.pipeline_version_id == second.pipeline_version_id
    ended = made.wait_for_run_status(run, polling_interval=0.05, timeout=20)
    assert ended.state == "SUCCEEDED"
    inline = made.run(waiting, name="inline")
    listed = made.list_runs(status="pending").runs or made.list_runs(status="running").runs
    assert [each.run_id for each in listed] == [inline.run_id]
    made._backend._run_api.run_service_terminate_run(run_id=inline.run_id)
    assert made.wait_for_run_status(inline, polling_interval=0.05, timeout=20).state == "CANCELED"
    assert [each.display_name for each in made.list_runs(pipeline="line").runs] == ["by name"]
    assert len(made.list_pipeline_versions("line").pipeline_versions) == 2
    made.delete_pipeline("line", version="1.0")
    made.delete_pipeline("line", force=True)
    assert not made.list_pipelines().pipelines
    made.delete_experiment("trial")


def every_request(host):
    """Each request that the client can make, for `recording.py`. Pipelines here have one task."""
    made = kfp.Client(host=host, existing_token="token", cookies="a=b")
    path = compiled(single)
    experiment = made.create_experiment("recorded", description="d", namespace="kubeflow").experiment_id
    made.create_experiment("recorded")
    made.list_experiments(page_size=1, sort_by="created_at desc", namespace="kubeflow")
    made.get_experiment(experiment_id=experiment)
    one = made.upload_pipeline(path, pipeline_name="one", description="d").pipeline_id
    version = made.upload_pipeline_version(path, "v2", pipeline_id=one, description="d").pipeline_version_id
    made.get_pipeline_id("one")
    made.list_pipelines(page_size=5, sort_by="display_name")
    made.list_pipeline_versions(one, page_size=1, sort_by="created_at desc")
    made.get_pipeline_version(one, version)
    api = made._pipelines_api
    api.pipeline_service_update_pipeline_version(
        pipeline_version_pipeline_id=one,
        pipeline_version_pipeline_version_id=version,
        pipeline_version=kfp_server_api.V2beta1PipelineVersion(display_name="2.0"),
    )
    api.pipeline_service_update_pipeline(
        pipeline_pipeline_id=one, pipeline=kfp_server_api.V2beta1Pipeline(description="new")
    )
    api.pipeline_service_get_pipeline_by_name(name="one", namespace="kubeflow")
    api.pipeline_service_create_pipeline(pipeline=kfp_server_api.V2beta1Pipeline(display_name="empty"))
    arguments = {"n": 2, "x": 0.5, "flag": True, "words": ["a"], "map": {"k": 1}}
    package = made.create_run_from_pipeline_package(
        path,
        arguments=arguments,
        run_name="package",
        experiment_name="recorded",
        enable_caching=False,
        pipeline_root="/tmp/root",
        service_account="sa",
    ).run_id
    made.run_pipeline(experiment, "ref", pipeline_id=one, version_id=version, params={"n": 3})
    run = made.create_run_from_pipeline_func(waiting, run_name="wait", experiment_id=experiment).run_id
    until(made, package, "SUCCEEDED")
    filter = {"predicates": [{"operation": 1, "key": "display_name", "stringValue": "package"}]}
    made.list_runs(experiment_id=experiment, filter=json.dumps(filter), namespace="kubeflow")
    page = made.list_runs(page_size=1, sort_by="created_at desc", experiment_id=experiment)
    made.list_runs(page_token=page.next_page_token, page_size=1, experiment_id=experiment)
    until(made, run, "RUNNING")
    made.terminate_run(run)
    until(made, run, "CANCELED")
    made.runs.run_service_retry_run(run_id=run)
    until(made, run, "RUNNING")
    made.terminate_run(run)
    until(made, run, "CANCELED")
    made.archive_run(run)
    made.unarchive_run(run)
    made.delete_run(run)
    refused(made.get_run, run)
    refused(made.run_pipeline, experiment, "bad", path, params={"nothing": 1})
    made.delete_pipeline_version(one, version)
    refused(made.delete_pipeline, one)
    api.pipeline_service_delete_pipeline(pipeline_id=one, cascade=True)
    made.archive_experiment(experiment)
    made.unarchive_experiment(experiment)
    made.delete_experiment(experiment)


def command_line(host, *args):
    """`kfp` as a user types it; what it printed. The client's own 5 s between polls of `--watch` stays."""
    runner = CliRunner()
    result = runner.invoke(
        cli.cli, ["--endpoint", host, *args], obj={}, auto_envvar_prefix="KFP", input="y\n"
    )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def compile_to(name, path):
    """One of this file's pipelines, compiled to `path`."""
    compiler.Compiler().compile(globals()[name], path)
    return path


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
