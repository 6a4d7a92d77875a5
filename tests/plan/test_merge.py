"""`release.merge` in a project: the line has a task more, and only then."""

from pathlib import Path

import pytest

from tuneline.errors import SpecError
from tuneline.plan.compile import compile_project, line_of
from tuneline.spec.project import apply, load, parse
from tuneline_ir import parse as parse_ir

EXAMPLE = Path(__file__).parents[2] / "examples" / "movie-reviews"


def test_a_merged_release_has_a_task_more_whose_model_is_verified():
    loaded = load(EXAMPLE)
    plain = [step.name for step in line_of(loaded.project)]
    merged = line_of(apply(loaded, {"release.merge": "true"}).project)
    names = [step.name for step in merged]
    assert "merge" not in plain
    assert [name for name in names if name != "merge"] == plain
    verify = next(step for step in merged if step.name == "verify")
    assert ("merged", "merge", "merged") in [(one.name, one.task, one.output) for one in verify.inputs]


def test_it_compiles_with_everything_else_that_changes_the_line():
    asked = {"release.merge": "true", "gate": '["latency.p95 <= 1"]'}
    spec = compile_project(apply(load(EXAMPLE), asked).project)
    tasks = parse_ir(spec).tasks
    assert {"merge", "verify", "measure"} <= set(tasks)


@pytest.mark.parametrize(
    "more, said",
    [
        ("train: {method: full}", "`release.merge` has no effect with `train.method: full`"),
        ("train: {entry: train.py:main}", "`release.merge` has no effect with `train.entry`"),
    ],
)
def test_where_there_is_no_adapter_it_is_a_fault(tmp_path, more, said):
    (tmp_path / "train.py").write_text("def main(): ...\n")
    data = "data: {source: r.csv, prompt: '{x}', completion: '{y}'}"
    text = f"name: a\nbase_model: b\n{data}\nrelease: {{merge: true}}\n"
    with pytest.raises(SpecError) as caught:
        parse(text + more, tmp_path)
    assert any(said in line for line in caught.value.details)
