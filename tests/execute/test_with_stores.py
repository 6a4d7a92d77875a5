"""Runs whose artifacts lie in a bucket: real tasks, a real S3 server."""

import os
import shutil
from dataclasses import replace

import pytest
from tests.execute.doubles import EventLog, pipeline, submitted
from tests.execute.test_graphs import build, container, task

from tuneline.errors import SettingError
from tuneline.execute import objects
from tuneline.execute.runner import Runner
from tuneline.plan.events import AttemptFailed, TaskCached, TaskSucceeded
from tuneline.settings import Settings
from tuneline.types import RunId

pytestmark = pytest.mark.slow

IN, OUT = "{{$.inputs.artifacts['data'].path}}", "{{$.outputs.artifacts['data'].path}}"
N = "{{$.outputs.parameters['n'].output_file}}"
URI = "{{$.inputs.artifacts['data'].uri}}"


def line(cached: bool = False):
    """A task makes a folder, another one reads it."""
    return pipeline(
        {
            "make": {"sh": f"mkdir {OUT} && echo 42 > {OUT}/n", "made": ["data"], "cached": True},
            "read": {
                "sh": f"cat {IN}/n > {N}; echo read {URI} >&2",
                "read": {"data": ("make", "data")}, "out": ["n"], "cached": cached,
            },
        }
    )  # fmt: skip


@pytest.fixture
def env(s3):
    """The server's environment, with what finds the bucket."""
    return dict(os.environ)


@pytest.fixture
def root(s3, tmp_path):
    """A prefix of its own."""
    return f"s3://lines/{tmp_path.name}"


def run(runner: Runner, log: EventLog, name: str, ir, root: str) -> list:
    """Run it to its end; its events."""
    runner.start(replace(submitted(name, ir), root=root), log.lease(name))
    assert runner.wait(50, RunId(name))
    return log.of(name)


def outputs(events, task):
    (found,) = [event for event in events if isinstance(event, TaskSucceeded) and event.task == task]
    return found.outputs


def test_outputs_go_to_the_bucket_and_tasks_read_plain_paths(runner, log, root, tmp_path):
    events = run(runner, log, "r1", line(), root)
    (data,) = outputs(events, "make").artifacts["data"]
    assert data.uri == f"{root}/test/r1/make/1/data"
    assert [each.relative for each in objects.find(data.uri)] == ["n"]
    assert str(outputs(events, "read").parameters["n"]).strip() == "42"
    said = (tmp_path / "runs" / "r1" / "read" / "1" / "log.txt").read_text()
    assert f"read {Settings(tmp_path).copies}" in said
    assert "Reading" not in said  # it was made here


def test_another_machine_reads_the_bucket_and_finds_the_task_in_the_cache_under_any_root(
    make_runner, log, root, tmp_path
):
    run(make_runner(), log, "r1", line(), root)
    shutil.rmtree(tmp_path / "runs")
    shutil.rmtree(Settings(tmp_path).copies)
    events = run(make_runner(), log, "r2", line(), f"{root}/another")
    assert [event.task for event in events if isinstance(event, TaskCached)] == ["make"]
    assert str(outputs(events, "read").parameters["n"]).strip() == "42"
    said = (tmp_path / "runs" / "r2" / "read" / "1" / "log.txt").read_text()
    assert said.startswith(f"Reading {root}/test/r1/make/1/data (3 bytes).")


def test_an_input_that_was_deleted_from_the_bucket_fails_its_reader_with_the_reason(
    make_runner, log, root, tmp_path
):
    run(make_runner(), log, "r1", line(), root)
    shutil.rmtree(Settings(tmp_path).copies)
    objects.remove(["n"], f"{root}/test/r1/make/1/data")
    events = run(make_runner(), log, "r2", line(), root)
    (failed,) = [event for event in events if isinstance(event, AttemptFailed)]
    assert (failed.task, failed.error["code"]) == ("read", "not_found")
    assert failed.error["message"] == f"{root}/test/r1/make/1/data is not there."


def test_a_bucket_that_is_not_there_fails_the_task_and_is_named(runner, log, s3):
    events = run(runner, log, "r1", line(), "s3://no-such-bucket/x")
    (failed,) = [event for event in events if isinstance(event, AttemptFailed)]
    assert failed.task == "make"
    assert "s3://no-such-bucket/x/test/r1/make/1/data could not be written" in failed.error["message"]


def test_a_folder_is_a_root_and_a_bad_root_is_refused_before_anything_runs(runner, log, tmp_path):
    events = run(runner, log, "r1", line(), str(tmp_path / "shared"))
    (data,) = outputs(events, "make").artifacts["data"]
    assert data.uri == str(tmp_path / "shared" / "test" / "r1" / "make" / "1" / "data")
    assert str(outputs(events, "read").parameters["n"]).strip() == "42"
    with pytest.raises(SettingError, match="cannot be kept at `dummy_root`"):
        runner.start(replace(submitted("r2", line()), root="dummy_root"), log.lease("r2"))
    assert log.of("r2") == []


def test_what_an_importer_names_in_such_a_bucket_is_read_for_its_readers(runner, log, root, tmp_path):
    (tmp_path / "rows").write_text("7")
    objects.upload([(tmp_path / "rows", "")], f"{root}/rows.txt")
    events = run(runner, log, "r1", importing(f"{root}/rows.txt"), f"{root}/out")
    (imported,) = outputs(events, "import").artifacts["artifact"]
    assert (imported.uri, imported.size_bytes) == (f"{root}/rows.txt", 1)
    assert outputs(events, "read").parameters["n"] == "7"


def test_what_an_importer_names_on_this_machine_is_not_copied(runner, log, tmp_path):
    (tmp_path / "rows").write_text("7")
    events = run(runner, log, "r1", importing(str(tmp_path / "rows")), str(tmp_path / "shared"))
    (imported,) = outputs(events, "import").artifacts["artifact"]
    assert imported.uri == str(tmp_path / "rows")
    assert outputs(events, "read").parameters["n"] == "7"


def importing(uri: str):
    artifact = {"artifactType": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}}
    imported = {
        "executorLabel": "importer",
        "inputDefinitions": {"parameters": {"uri": {"parameterType": "STRING"}}},
        "outputDefinitions": {"artifacts": {"artifact": artifact}},
    }
    importer = {"artifactUri": {"runtimeParameter": "uri"}, "typeSchema": artifact["artifactType"]}
    reading, executor = container(f"cat {IN} > {N}", out={"n": {"parameterType": "STRING"}})
    reading["inputDefinitions"] = {"artifacts": {"data": artifact}}
    body = build(
        {"import": task("importer", given={"uri": uri}), "read": task("read")},
        {"importer": (imported, {"importer": importer}), "read": (reading, executor)},
    )
    given = {"taskOutputArtifact": {"producerTask": "import", "outputArtifactKey": "artifact"}}
    body["root"]["dag"]["tasks"]["read"]["inputs"] = {"artifacts": {"data": given}}
    body["root"]["dag"]["tasks"]["read"]["dependentTasks"] = ["import"]
    return body
