"""The tag of an exported pipeline: the same for what a run may give, another for everything else."""

import json

import pytest
from tests.execute.doubles import pipeline

from tuneline_ir.likeness import safe, tag_of


def made(default: str = "a", command: str = "true"):
    ir = pipeline({"one": {"sh": command}})
    parameter = {"parameterType": "STRING", "defaultValue": default}
    return ir | {"root": ir["root"] | {"inputDefinitions": {"parameters": {"x": parameter}}}}


def test_a_default_and_where_tasks_run_do_not_change_it_and_all_else_does():
    tag = tag_of(made())
    assert tag.startswith("tuneline:")
    assert len(tag) == len("tuneline:") + 12
    assert tag_of(made("b")) == tag
    assert tag_of(json.dumps(made())) == tag
    placed = {"pipeline_spec": made(), "platform_spec": {"platforms": {"kubernetes": {}}}}
    assert tag_of(placed) == tag
    assert tag_of(made(command="false")) != tag
    assert tag_of(pipeline({"one": {}})) != tag


def test_it_leaves_the_pipeline_as_it_is():
    ir = made()
    before = json.dumps(ir)
    tag_of(ir)
    assert json.dumps(ir) == before


@pytest.mark.parametrize(
    ("name", "id"),
    [("movie-reviews", "movie-reviews"), ("my  pipeline!", "my_pipeline_"), ("ÄÖ 1.2", "_1.2")],
)
def test_what_airflow_takes_not_is_one_sign_however_much_it_is(name: str, id: str) -> None:
    assert safe(name) == id
