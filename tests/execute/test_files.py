"""What a task is told of its files, and what it is taken to have put out."""

import json
from pathlib import Path
from typing import Any

import pytest

from tuneline.errors import InternalError
from tuneline.execute.files import MISSING, AttemptFolder, Tail, digest_path
from tuneline.plan.events import ArtifactRef
from tuneline.types import Digest
from tuneline_ir import ArtifactSpec, Component, Interface, ParameterSpec


def component(artifacts: dict[str, ArtifactSpec] | None = None, **parameters: str) -> Component:
    """A component with these outputs."""
    specs = {name: ParameterSpec(type) for name, type in parameters.items()}
    return Component("c", Interface(), Interface(specs, artifacts or {}), "e")


@pytest.fixture
def folder(tmp_path: Path) -> AttemptFolder:
    found = AttemptFolder(tmp_path / "t" / "1")
    found.make({"command": ["true"]}, {"program/source.py": "x = 1\n"})
    return found


def say(folder: AttemptFolder, body: Any) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    (folder.path / "executor_output.json").write_text(text)


def wrote(folder: AttemptFolder, name: str, text: str) -> None:
    (folder.path / "parameters" / name).write_text(text)


def test_a_folder_is_made_with_files_that_only_the_user_may_read(folder: AttemptFolder) -> None:
    assert (folder.path / "task.json").stat().st_mode & 0o777 == 0o600
    assert (folder.path / "program" / "source.py").read_text() == "x = 1\n"


def test_the_input_has_plain_paths_and_names(folder: AttemptFolder) -> None:
    given = ArtifactRef("in", "system.Model", "/there/m", Digest("sha256:1"), 1, {"k": 1}, "id", "/own")
    spec = ArtifactSpec("system.Dataset", metadata={"rows": 1})
    body = folder.executor_input(component({"out": spec}, n="NUMBER_INTEGER"), {"x": 3}, {"in": (given,)})
    assert body["inputs"]["parameterValues"] == {"x": 3}
    (read,) = body["inputs"]["artifacts"]["in"]["artifacts"]
    assert read == {
        "name": "in",
        "type": {"schemaTitle": "system.Model", "schemaVersion": "0.0.1"},
        "uri": "/there/m",
        "metadata": {"k": 1},
        "customPath": "/own",
    }
    (made,) = body["outputs"]["artifacts"]["out"]["artifacts"]
    assert (made["name"], made["uri"], made["metadata"]) == ("out", f"{folder.path}/outputs/out", {"rows": 1})
    assert body["outputs"]["parameters"]["n"]["outputFile"] == f"{folder.path}/parameters/n"
    assert body["outputs"]["outputFile"] == f"{folder.path}/executor_output.json"


def test_what_the_executor_says_comes_before_files(folder: AttemptFolder) -> None:
    say(folder, {"parameterValues": {"n": 7}})
    wrote(folder, "n", "5")
    wrote(folder, "s", " as it is\n")
    found = folder.outputs(component(n="NUMBER_INTEGER", s="STRING"), "r/t/1")
    assert found.parameters == {"n": 7, "s": " as it is\n"}


@pytest.mark.parametrize(
    "type, text, value",
    [
        ("NUMBER_INTEGER", " 5\n", 5),
        ("NUMBER_DOUBLE", "1e-3\n", 0.001),
        ("BOOLEAN", "True\n", True),
        ("LIST", "[1, 2.5]", [1, 2.5]),
        ("STRUCT", '{"a": [1]}\n', {"a": [1]}),
        ("STRING", "", ""),
    ],
)
def test_files_are_read_by_type(folder: AttemptFolder, type: str, text: str, value: Any) -> None:
    wrote(folder, "p", text)
    (found,) = folder.outputs(component(p=type), "r/t/1").parameters.values()
    assert (found, found.__class__) == (value, value.__class__)


@pytest.mark.parametrize(
    "type, text",
    [
        ("NUMBER_INTEGER", "five"),
        ("NUMBER_INTEGER", "1.5"),
        ("BOOLEAN", "1"),
        ("LIST", "{}"),
        ("STRUCT", "["),
    ],
)
def test_a_file_of_another_kind_fails_the_task(folder: AttemptFolder, type: str, text: str) -> None:
    wrote(folder, "p", text)
    with pytest.raises(InternalError, match="The task's output parameter `p`"):
        folder.outputs(component(p=type), "r/t/1")


def test_a_text_is_a_plain_one_as_it_will_be_read_back(folder: AttemptFolder) -> None:
    say(folder, {"parameterValues": {"s": 5}})
    value = folder.outputs(component(s="STRING"), "r/t/1").parameters["s"]
    assert (value, type(value)) == ("5", str)


def test_a_parameter_that_was_not_put_out_fails_the_task(folder: AttemptFolder) -> None:
    say(folder, {"parameterValues": {"other": 1}})
    with pytest.raises(InternalError, match="ended without its output parameter `n`"):
        folder.outputs(component(n="NUMBER_INTEGER"), "r/t/1")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "1",
        {"artifacts": [1]},
        {"artifacts": {"a": {"artifacts": ["x"]}}},
        {"artifacts": {"a": {"artifacts": [{"metadata": [1]}]}}},
        {"artifacts": {"a": {"artifacts": [{"metadata": {"deep": json.loads("[" * 200 + "]" * 200)}}]}}},
        {"parameterValues": [1]},
    ],
)
def test_an_output_file_that_is_none_fails_the_task(folder: AttemptFolder, body: Any) -> None:
    say(folder, body)
    with pytest.raises(InternalError, match="is no ExecutorOutput of Kubeflow"):
        folder.outputs(component(), "r/t/1")


def test_an_artifact_may_have_no_file_and_no_word_of_the_executor(folder: AttemptFolder) -> None:
    (ref,) = folder.outputs(component({"a": ArtifactSpec("system.Metrics")}), "r/t/1").artifacts["a"]
    assert (ref.uri, ref.digest, ref.size_bytes) == (f"{folder.path}/outputs/a", MISSING, 0)
    assert (ref.id, ref.type) == ("r/t/1/a", "system.Metrics")


def test_metadata_is_merged_and_infinity_is_kept(folder: AttemptFolder) -> None:
    made = {"name": "a", "uri": f"{folder.path}/outputs/a", "metadata": {"x": float("inf"), "k": 2}}
    say(folder, json.dumps({"artifacts": {"a": {"artifacts": [made]}}}))
    spec = ArtifactSpec("system.Metrics", metadata={"k": 1, "own": True})
    (ref,) = folder.outputs(component({"a": spec}), "r/t/1").artifacts["a"]
    assert ref.metadata == {"k": 2, "own": True, "x": float("inf")}


def test_a_uri_that_the_task_chose_counts(folder: AttemptFolder, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("content")
    made = {
        "a": {"artifacts": [{"uri": str(tmp_path / "mine")}]},
        "b": {"artifacts": [{"uri": "gs://bucket/b"}]},
    }
    say(folder, {"artifacts": made})
    specs = {"a": ArtifactSpec("system.Artifact"), "b": ArtifactSpec("system.Artifact")}
    found = folder.outputs(component(specs), "r/t/1").artifacts
    assert found["a"][0].digest == digest_path(tmp_path / "mine")[0]
    assert found["b"][0].uri == "gs://bucket/b"
    assert found["b"][0].digest not in (MISSING, found["a"][0].digest)


def test_a_list_has_those_that_the_task_made(folder: AttemptFolder, tmp_path: Path) -> None:
    uris = [str(tmp_path / name) for name in ("one", "two")]
    for uri in uris:
        Path(uri).write_text(uri)
    say(
        folder,
        {"artifacts": {"a": {"artifacts": [{"name": n, "uri": u} for n, u in zip("xy", uris, strict=True)]}}},
    )
    spec = ArtifactSpec("system.Dataset", is_list=True)
    found = folder.outputs(component({"a": spec, "none": spec}), "r/t/1").artifacts
    assert [(ref.uri, ref.id) for ref in found["a"]] == [(uris[0], "r/t/1/a"), (uris[1], "r/t/1/a/1")]
    assert found["none"] == ()


def test_progress_that_is_no_object_is_passed_over(folder: AttemptFolder) -> None:
    lines = ['{"done": 1}', "[1]", "no", "[" * 200_000, '{"done": 2}', '{"done": 3']
    folder.progress.write_text("\n".join(lines))
    assert Tail(folder).read() == [{"done": 1}, {"done": 2}]
