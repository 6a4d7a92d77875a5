"""The project file's documentation and published schema say what the code does."""

import json
import re
from pathlib import Path

import pytest
import yaml

from tuneline.spec.project import load, parse
from tuneline.spec.schema import schema_text
from tuneline.spec.sections import KEYS, REQUIRED
from tuneline.steps.conversations import COLUMNS
from tuneline.steps.shapes import REASONS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/project-file.md").read_text()
ROWS = {match[1]: match[0] for match in re.finditer(r"^\| `([a-z0-9_.]+)` \|.*$", PAGE, re.MULTILINE)}


def test_the_published_schema_is_current():
    assert (ROOT / "docs/project.schema.json").read_text() == schema_text()


@pytest.mark.parametrize("path", KEYS)
def test_every_key_is_documented_with_its_default_and_meaning(path):
    key, row = KEYS[path], ROWS[path]
    assert key.doc in row
    if key.default is REQUIRED:
        assert "must be given" in row
    elif key.choices and isinstance(key.default, str) or type(key.default) is int:
        assert f"`{key.default}`" in row
    elif isinstance(key.default, bool):
        assert f"`{str(key.default).lower()}`" in row
    elif isinstance(key.default, float) and key.kind != "duration":
        assert f"`{key.default:g}`" in row
    for choice in key.choices:
        assert f"`{choice}`" in row


def test_no_key_is_documented_that_is_not_there():
    known = {*KEYS, *REASONS, *COLUMNS, "prompt"}
    assert set(ROWS) <= known


def test_every_reason_is_documented():
    assert set(REASONS[1:]) <= set(ROWS)


def test_the_page_s_example_is_the_example():
    text = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1]
    example = load(ROOT / "examples/movie-reviews").project
    assert parse(text, ROOT / "examples/movie-reviews").project == example


def test_the_example_fits_the_schema_s_keys():
    body = json.loads(schema_text())
    for section, value in yaml.safe_load((ROOT / "examples/movie-reviews/tuneline.yaml").read_text()).items():
        known = body["properties"][section]
        if known.get("type") == "object":
            assert set(value) <= set(known["properties"])
