"""Which interpreter stands for an image of Python."""

import sys
from pathlib import Path

import pytest

from tuneline.execute.images.interpreters import Interpreter, Interpreters, wanted_by


@pytest.mark.parametrize(
    "image, wanted",
    [
        ("python:3.11", (3, 11)),
        ("python:3.9-slim-bookworm", (3, 9)),
        ("python:3.12.4-alpine", (3, 12)),
        ("python:3.14-rc", (3, 14)),
        ("docker.io/library/python:3.12@sha256:0123", (3, 12)),
        ("localhost:5000/mirror/python:3.10", (3, 10)),
        ("localhost:5000/mirror/python", (3, 0)),
        ("python", (3, 0)),
        ("python:3", (3, 0)),
        ("python:slim", (3, 0)),
        ("python:latest", (3, 0)),
        ("python:2.7", (2, 7)),
        ("registry.access.redhat.com/ubi9/python-311:latest", (3, 11)),
        ("registry.redhat.io/ubi8/python-39:1-117", (3, 9)),
        ("ubi9/python-312-minimal", (3, 12)),
        ("quay.io/sclorg/python-3.12", (3, 12)),
        ("alpine:3.11", None),
        ("tensorflow/tensorflow:2.16", None),
        ("my-python-tool:1", None),
        ("python-app:3.11", None),
        ("gcr.io/python/tool:3.11", None),
    ],
)
def test_a_name_says_the_version(image: str, wanted: tuple[int, int] | None) -> None:
    assert wanted_by(image) == wanted


def test_our_own_interpreter_comes_first_if_it_is_new_enough() -> None:
    asked: list[str] = []
    found = Interpreters(lambda program: asked.append(program))  # type: ignore[func-returns-value]
    assert found.at_least((3, 9)) == Interpreter.own()
    assert asked == []


def test_a_newer_one_is_looked_for_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / f"python3.{sys.version_info[1] + 3}"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    newer = Interpreter("/there/python", (3, sys.version_info[1] + 3, 1))
    found = Interpreters(lambda path: newer if path == str(program) else None)
    assert found.at_least((3, sys.version_info[1] + 1)) == newer
    assert found.at_least((3, sys.version_info[1] + 4)) is None
    assert found.newest() == newer.text


def test_a_program_that_does_not_answer_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python3.19"
    program.write_text("#!/bin/sh\necho 'pyenv: python3.19: command not found' >&2; exit 127\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    assert Interpreters().at_least((3, 19)) is None


def test_python_2_is_never_there() -> None:
    assert Interpreters().at_least((2, 7)) is None
