"""The example's files are what they are made from."""

import importlib.util
from pathlib import Path

import pytest

from tuneline.export.components import STEPS, component_yaml

EXAMPLE = Path(__file__).parents[2] / "examples" / "issue-titles"


@pytest.mark.parametrize("name", STEPS)
def test_the_components_are_those_of_this_tuneline(name):
    kept = (EXAMPLE / "components" / f"{name}.yaml").read_text(encoding="utf-8")
    assert kept == component_yaml(name), f"run `tuneline component {name}`"


def test_the_issues_are_those_that_the_script_writes(tmp_path):
    spec = importlib.util.spec_from_file_location("write_issues", EXAMPLE / "data" / "write_issues.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    made = list(script.rows())
    kept = (EXAMPLE / "data" / "issues.csv").read_text(encoding="utf-8")
    assert len({body for _, _, body in made}) == len(made) == 360
    assert all(title in kept and body in kept for _, title, body in made)
