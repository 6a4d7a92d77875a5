"""Every way in which a command can end, as an exit code and words on stderr."""

import os
import subprocess
import sys

import click
import pytest

from tuneline.cli.errors import LOG, guarded
from tuneline.errors import ConflictError, SpecError


def raising(error: BaseException):
    def command() -> None:
        raise error

    return command


def test_an_error_of_ours_is_told_with_every_fault_and_the_hint(capsys):
    error = SpecError("The project has 2 faults.", hint="See the docs.", details=["a:1: x", "a:2: y"])
    assert guarded(raising(error)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "error: The project has 2 faults.", "  a:1: x", "  a:2: y", "hint: See the docs.",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "error, code",
    [
        (ConflictError("taken"), 1),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (click.UsageError("wrong"), 2),
    ],
)
def test_each_kind_of_end_has_its_code(error, code):
    assert guarded(raising(error)) == code


def test_a_fault_of_ours_is_one_line_with_its_traceback_in_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TUNELINE_HOME", str(tmp_path))
    monkeypatch.delenv("TUNELINE_DEBUG", raising=False)
    assert guarded(raising(KeyError("lost"))) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: tuneline broke: KeyError: 'lost'\n")
    assert "Traceback" not in said
    assert str(tmp_path / LOG) in said
    assert "KeyError: 'lost'" in (tmp_path / LOG).read_text()


def test_debug_shows_the_traceback_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TUNELINE_HOME", str(tmp_path))
    monkeypatch.setenv("TUNELINE_DEBUG", "1")
    assert guarded(raising(KeyError("lost"))) == 1
    assert "Traceback" in capsys.readouterr().err


def test_what_the_system_refuses_names_the_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TUNELINE_HOME", str(tmp_path))
    assert guarded(lambda: (tmp_path / "no" / "such").read_text()) == 1
    assert capsys.readouterr().err.startswith(
        f"error: The system refused ({tmp_path / 'no' / 'such'}): No such file"
    )


def test_a_reader_that_closes_the_pipe_is_no_error():
    """A real pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "tuneline", "config-schema"]
    ended = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (0, "")
