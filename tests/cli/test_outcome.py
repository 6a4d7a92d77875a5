"""The report of any pipeline, and the words about what is nested; from runs as the API gives them."""

import io

import pytest
from rich.console import Console
from tests.cli.runs import run, task

from tuneline.cli import outcome
from tuneline.cli.logs import chosen
from tuneline.cli.picture import picture
from tuneline.cli.progress import changes, doing, inside_of, rest_of
from tuneline.cli.report import failures
from tuneline.errors import NotFoundError

ERROR = {"code": "error", "message": "It broke.", "hint": "Mend it.", "details": [], "retry": False}


def nested(name, state, kind="task", under="", depth=0, **more):
    inside = more.pop("inside", None)
    shown = {"kind": kind, "under": under, "depth": depth, "closed": inside is not None, "inside": inside}
    return task(name, state, parent=under or None, **shown, **more)


def tasks():
    loop = {"tasks": {"SUCCEEDED": 4, "FAILED": 1}, "iterations": {"SUCCEEDED": 2, "FAILED": 1}}
    return [
        nested("prepare", "CACHED", reason="the same as task prepare of run x", seconds=0.1),
        nested(
            "inner", "SUCCEEDED", "dag", inside={"tasks": {"SUCCEEDED": 1}, "iterations": {}}, seconds=2.0
        ),
        nested("inner/print", "SUCCEEDED", under="inner", depth=1, seconds=1.0),
        nested("loop", "FAILED", "loop", inside=loop, error=ERROR, seconds=3.0),
        nested("loop/2/print", "FAILED", under="loop", depth=1, error=ERROR, seconds=1.5),
        nested("report", "SKIPPED", reason="`loop` failed"),
    ]


def ended(state="FAILED", **more):
    outputs = {
        "parameters": {"Output": 7, "rows": [1, "a"], "text": "x" * 500},
        "artifacts": {"model": [{"type": "system.Model", "uri": "/m"}],
                      "parts": [{"type": "system.Dataset", "uri": uri} for uri in ("/a", "/b")]},
    }  # fmt: skip
    found = {
        "project": "",
        "display_name": "third try",
        "outputs": outputs,
        "rest": {},
        "warnings": ["mind this"],
        "name": "n",
    }
    return run(state, *tasks()) | found | more


def test_the_report_has_the_tasks_what_was_skipped_and_why_and_what_it_put_out():
    assert outcome.lines(ended(rest={"PENDING": 4000})) == [
        "third try: run 20261118-110640-abc123 failed in 3:41",
        "",
        "  prepare    cached            the same as task prepare of run x",
        "  inner      succeeded  2.0 s  1 of 1 tasks",
        "    print    succeeded  1.0 s",
        "  loop       failed     3.0 s  2 of 3 iterations, 1 FAILED",
        "    2/print  failed     1.5 s  It broke.",
        "  report     skipped           `loop` failed",
        "  and 4,000 more tasks: 4,000 waiting",
        "",
        "It put out:",
        "  Output = 7",
        '  rows = [1, "a"]',
        f"  text = {'x' * 200} ...",
        "  model: system.Model /m",
        "  parts[0]: system.Dataset /a",
        "  parts[1]: system.Dataset /b",
        "  note: mind this",
    ]


def test_only_what_was_executed_itself_is_told_as_failed():
    assert [name for name, _ in failures(ended())] == ["loop/2/print"]
    assert [found["name"] for found in outcome.failures(tasks())] == ["loop/2/print"]


def test_the_object_has_outputs_and_all_tasks():
    found = outcome.json_object(ended("SUCCEEDED"))
    assert (found["exit_code"], found["outputs"]["parameters"]["Output"]) == (0, 7)
    assert found["tasks"][3]["kind"] == "loop"


def test_a_project_has_its_own_report():
    assert not outcome.is_line(ended())
    assert outcome.is_line(ended(project="reviews"))


def test_the_picture_moves_nested_tasks_in_and_counts_the_others():
    console = Console(width=90, record=True, file=io.StringIO())
    console.print(picture(ended(rest={"PENDING": 9}), {}, 0.0))
    lines = console.export_text().splitlines()
    assert any(line.startswith("✓   print") for line in lines)
    assert any("2 of 3 iterations, 1 FAILED" in line for line in lines)
    assert lines[-1].strip() == "and 9 more tasks: 9 waiting"


def test_words_about_what_is_inside():
    assert inside_of(task("a", "RUNNING")) == ""
    open_graph = nested("d", "RUNNING", "dag", inside={"tasks": {"RUNNING": 1}, "iterations": {}}) | {
        "closed": False
    }
    assert doing(open_graph) == ""
    assert rest_of({}) == ""


def test_plain_lines_do_not_tell_of_what_is_in_a_loop_but_that_it_failed():
    loop = nested("l", "RUNNING", "loop", inside={"tasks": {}, "iterations": {"PENDING": 3}})
    before = run("RUNNING", loop, nested("l/0", "PENDING", under="l", urgent=True))
    assert changes(before, run("RUNNING", loop, nested("l/0", "RUNNING", under="l", urgent=True))) == []
    failed = nested("l/0", "FAILED", under="l", urgent=True, error=ERROR)
    assert changes(before, run("RUNNING", loop, failed)) == ["l/0: FAILED: It broke."]


def test_a_log_is_found_by_path_by_last_name_or_by_what_it_is_in():
    found = [
        {"name": "a", "parent": None, "kind": "task"},
        {"name": "l", "parent": None, "kind": "loop"},
        {"name": "l/0", "parent": "l", "kind": "iteration"},
        {"name": "l/0/print", "parent": "l/0", "kind": "task"},
        {"name": "l/1", "parent": "l", "kind": "iteration"},
        {"name": "l/1/print", "parent": "l/1", "kind": "task"},
        {"name": "d", "parent": None, "kind": "dag"},
        {"name": "d/train", "parent": "d", "kind": "task"},
        {"name": "e", "parent": None, "kind": "dag"},
    ]
    assert chosen(found, None, "r") == ["a", "l/0/print", "l/1/print", "d/train"]
    assert chosen(found, "l", "r") == ["l/0/print", "l/1/print"]
    assert chosen(found, "train", "r") == ["d/train"]
    with pytest.raises(NotFoundError) as wrong:
        chosen(found, "print", "r")
    assert wrong.value.hint == "Nearest: l/0/print, l/1/print."
    with pytest.raises(NotFoundError, match="Nothing in `e`"):
        chosen(found, "e", "r")
    with pytest.raises(NotFoundError) as wrong:
        chosen(found, "trian", "r")
    assert "tuneline runs show r --all" in wrong.value.hint or "d/train" in wrong.value.hint
