"""Python files to IR by the real SDK in a child; and what is told where there is none."""

import os
import sys
from pathlib import Path

import pytest
import yaml

from tuneline.cli.compiling import Target, compiled, interpreters, target_of
from tuneline.errors import MissingPartError, NotFoundError, SettingError, SpecError

TWO = """
from kfp import dsl

@dsl.component
def add(a: int, b: int) -> int:
    return a + b

@dsl.pipeline
def first(n: int = 1):
    add(a=n, b=1)

@dsl.pipeline(name="the-second")
def second(n: int):
    first(n=n)

print("this is no part of the pipeline")
"""


def without(tmp_path):
    """A Python in which KFP's SDK cannot be imported."""
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    script.chmod(0o755)
    return script


@pytest.mark.parametrize(
    "text, target",
    [("p.py", Target(Path("p.py"))), ("a/p.py:f", Target(Path("a/p.py"), "f")), ("p.yaml", None), (".", None),
     ("p.py:", Target(Path("p.py"))), ("demo:x", None)],
)  # fmt: skip
def test_a_python_file_is_known_by_its_name(text, target):
    assert target_of(text) == target


def test_a_file_compiles_by_the_function_that_is_named(tmp_path, kfp_python):
    """A real interpreter with KFP's SDK, 1 s: nothing else knows its compiler."""
    file = tmp_path / "p.py"
    file.write_text(TWO)
    text = compiled(Target(file, "second"), [without(tmp_path), kfp_python], False, os.environ)
    assert yaml.safe_load(text)["pipelineInfo"]["name"] == "the-second"
    with pytest.raises(SpecError, match="defines 2 pipelines") as wrong:
        compiled(Target(file), [kfp_python], False, os.environ)
    assert f"{file}:first, {file}:second" in wrong.value.hint
    with pytest.raises(SpecError, match="no pipeline `third`"):
        compiled(Target(file, "third"), [kfp_python], False, os.environ)


def test_what_the_sdk_says_is_told_from_the_users_line_on(tmp_path, kfp_python):
    file = tmp_path / "p.py"
    file.write_text(TWO.replace("add(a=n, b=1)", "add(a=n, c=1)"))
    with pytest.raises(SpecError, match="does not compile: TypeError") as wrong:
        compiled(Target(file), [kfp_python], True, os.environ)
    assert str(file) in wrong.value.details[0]
    file.write_text("x = 1\n")
    with pytest.raises(SpecError, match="no pipeline"):
        compiled(Target(file), [kfp_python], True, os.environ)


def test_without_the_sdk_it_is_told_where_was_looked_and_what_to_install(tmp_path):
    file = tmp_path / "p.py"
    file.write_text(TWO)
    with pytest.raises(MissingPartError) as wrong:
        compiled(Target(file), [without(tmp_path)], False, os.environ)
    assert "pip install kfp==" in wrong.value.hint
    assert str(tmp_path / "python") in wrong.value.details[0]
    with pytest.raises(SettingError, match="--kfp-python"):
        compiled(Target(file), [tmp_path / "nowhere"], True, os.environ)
    with pytest.raises(NotFoundError):
        compiled(Target(tmp_path / "q.py"), [], False, os.environ)


def test_interpreters_are_looked_for_from_the_named_one_outward(tmp_path):
    assert interpreters(Path("/x/python"), tmp_path, {}) == [Path("/x/python")]
    of_home = tmp_path / "environments" / "kfp" / "bin" / "python"
    of_home.parent.mkdir(parents=True)
    of_home.symlink_to(sys.executable)
    found = interpreters(None, tmp_path, {"PATH": "", "VIRTUAL_ENV": str(tmp_path)})
    assert (found[0], found[-1]) == (Path(sys.executable), of_home)
