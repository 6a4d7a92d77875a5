"""docs/cli.md is what the commands say, and leaves nothing out."""

import importlib.util
import re
from dataclasses import fields
from pathlib import Path

import pytest

from tuneline.cli import exits
from tuneline.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("generate_cli", DOCS / "generate_cli.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def text():
    return (DOCS / "cli.md").read_text(encoding="utf-8")


def test_the_help_in_the_docs_is_current(generator, text):
    assert generator.generated(text) == text, "run `python docs/generate_cli.py`"


def test_every_command_is_documented(generator, text):
    assert sorted(generator.commands()) == sorted(generator.described(text))


def test_every_setting_is_documented(text):
    for field in fields(Settings):
        assert f"| `TUNELINE_{field.name.upper()}` |" in text


def test_every_exit_code_is_documented(text):
    codes = {value for name, value in vars(exits).items() if name.isupper()}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)} == codes
