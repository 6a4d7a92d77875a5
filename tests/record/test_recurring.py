"""Recurring runs on record: marks that move with runs, and what disabling, changing and deleting leave."""

from dataclasses import replace

import pytest

from tuneline.errors import ConflictError, NotFoundError, UserError
from tuneline.plan.listing import parse
from tuneline.plan.recurring import StaleTick
from tuneline.record.recurring import FIELDS, NewRecurring, counted, took
from tuneline.types import RunId

SPEC = {"pipelineInfo": {"name": "line"}, "schemaVersion": "2.1.0", "root": {"dag": {"tasks": {}}}}


def new(id="s", **changes):
    made = NewRecurring(id=id, display_name=id, trigger={"every_s": 60}, first_mark=1000, spec=SPEC)
    return replace(made, **changes)


def run_of(new_run, id, recurring="s", project=""):
    return replace(new_run(id, project), recurring_run=recurring)


def tick(record, made, mark, at, id="s"):
    record.runs.create(made, 5.0, lambda db: took(db, id, mark, at))


def test_it_is_kept_as_it_was_made(record):
    row = record.recurring.create(new(parameters={"x": 1.5}, description="d", catch_up=False), 7.0)
    assert (row["mark"], row["origin"], row["made"], row["enabled"]) == (1000, 1000, 0, 1)
    assert (row["parameters"], row["no_catchup"], row["created_at"]) == ({"x": 1.5}, 1, 7.0)
    assert row["experiment"] == record.experiments.default()
    assert record.recurring.spec("s") == SPEC
    (standing,) = record.recurring.standings()
    assert (standing.id, standing.mark, standing.active, standing.catch_up) == ("s", 1000, 0, False)
    with pytest.raises(NotFoundError, match="Recurring run x not found"):
        record.recurring.get("x")


def test_a_tick_and_its_run_are_stored_together_or_not_at_all(record, new_run):
    record.recurring.create(new(), 7.0)
    tick(record, run_of(new_run, "r1"), 1000, 1060)
    row = record.recurring.get("s")
    assert (row["mark"], row["last_tick"], row["made"]) == (1060, 1060, 1)
    with pytest.raises(StaleTick):
        tick(record, run_of(new_run, "r2"), 1000, 1060)
    with pytest.raises(NotFoundError):
        record.runs.get(RunId("r2"))
    assert record.recurring.get("s")["made"] == 1
    assert record.recurring.last_run("s")["id"] == "r1"


def test_a_run_that_is_refused_leaves_the_tick_due(record, new_run):
    record.recurring.create(new(project="reviews"), 7.0)
    record.runs.create(new_run("by-hand", "reviews"), 5.0)
    with pytest.raises(ConflictError, match="one run at a time"):
        tick(record, run_of(new_run, "r1", project="reviews"), 1000, 1060)
    assert record.recurring.get("s")["mark"] == 1000


def test_active_runs_are_counted_by_recurring_run(record, new_run):
    record.recurring.create(new("a"), 7.0)
    record.recurring.create(new("b"), 8.0)
    tick(record, run_of(new_run, "r1", "a"), 1000, 1060, "a")
    tick(record, run_of(new_run, "r2", "a"), 1060, 1120, "a")
    record.runs.create(new_run("other", ""), 5.0)
    assert [(each.id, each.active) for each in record.recurring.standings()] == [("a", 2), ("b", 0)]


def test_what_passed_while_it_was_disabled_is_not_due_when_it_is_enabled(record):
    record.recurring.create(new(), 7.0)
    record.recurring.enable("s", False, 2000.0)
    assert record.recurring.standings() == []
    with pytest.raises(StaleTick), record.runs._store.write() as db:
        took(db, "s", 1000, 1060)
    record.recurring.enable("s", True, 5000.9)
    assert record.recurring.get("s")["mark"] == 5000
    assert record.recurring.get("s")["updated_at"] == 5000.9


def test_enabling_what_is_enabled_changes_nothing(record):
    record.recurring.create(new(), 7.0)
    record.recurring.enable("s", True, 5000.0)
    assert (record.recurring.get("s")["mark"], record.recurring.get("s")["updated_at"]) == (1000, 7.0)


def test_a_start_in_the_future_outlives_being_disabled(record):
    record.recurring.create(new(first_mark=9000), 7.0)
    record.recurring.enable("s", False, 10.0)
    record.recurring.enable("s", True, 20.0)
    assert record.recurring.get("s")["mark"] == 9000


def test_another_trigger_begins_anew_and_anything_else_goes_on_where_it_was(record, new_run):
    record.recurring.create(new(), 7.0)
    tick(record, run_of(new_run, "r1"), 1000, 1060)
    row, changed = record.recurring.change(new(first_mark=4000), 8.0)
    assert (changed, row["mark"], row["updated_at"]) == (False, 1060, 7.0)
    row, changed = record.recurring.change(new(first_mark=4000, project_text="two"), 9.0)
    assert (changed, row["mark"], row["project_text"], row["made"]) == (True, 1060, "two", 1)
    row, changed = record.recurring.change(new(first_mark=4000, trigger={"every_s": 70}), 10.0)
    assert (changed, row["mark"], row["origin"]) == (True, 4000, 4000)


def test_a_tick_that_cannot_run_is_dealt_with_and_says_why(record):
    record.recurring.create(new(), 7.0)
    record.recurring.failed("s", 1060, {"message": "no such image"}, 9.0)
    row = record.recurring.get("s")
    assert (row["mark"], row["last_tick"], row["made"]) == (1060, 1060, 0)
    assert row["error"] == {"message": "no such image", "at": 9.0}
    record.recurring.failed("s", 1000, {"message": "late"}, 10.0)
    assert record.recurring.get("s")["error"]["message"] == "no such image"


def test_archiving_an_experiment_disables_only_its_own(record):
    record.recurring.create(new("a"), 7.0)
    record.recurring.create(new("b", experiment="other"), 8.0)
    record.recurring.disable_of(record.experiments.default(), 9.0)
    assert [each.id for each in record.recurring.standings()] == ["b"]


def test_deleting_it_keeps_its_runs_and_their_spec(record, new_run):
    record.recurring.create(new(), 7.0)
    tick(record, run_of(new_run, "r1"), 1000, 1060)
    record.recurring.delete("s")
    assert record.runs.get(RunId("r1"))["recurring_run"] == "s"
    with pytest.raises(NotFoundError):
        record.recurring.delete("s")


def test_a_run_asked_for_by_hand_is_counted_and_moves_no_mark(record, new_run):
    record.recurring.create(new(), 7.0)
    record.runs.create(run_of(new_run, "r1"), 5.0, lambda db: counted(db, "s"))
    row = record.recurring.get("s")
    assert (row["mark"], row["made"], row["last_tick"]) == (1000, 1, None)


def test_changes_and_ended_runs_wake_who_waits(record):
    woken = []
    with record.recurring.listening(lambda: woken.append(1)):
        record.recurring.create(new(), 7.0)
        record.recurring.enable("s", False, 8.0)
        record.recurring.enable("s", False, 8.0)
        record.recurring.delete("s")
    assert len(woken) == 3


def test_pages_are_filtered_and_sorted_as_kubeflow_s_are(record):
    for number, name in enumerate(["Alpha", "beta", "gamma"]):
        record.recurring.create(new(f"s{number}", display_name=name, enabled=number != 1), float(number))

    def page(**asked):
        rows, token, total = record.recurring.page(parse(FIELDS, **asked))
        return [row["display_name"] for row in rows], token, total

    names, token, total = page(page_size=2, sort_by="created_at desc")
    assert (names, total) == (["gamma", "beta"], 3)
    assert page(page_size=2, page_token=token)[0] == ["Alpha"]
    named = '{"predicates":[{"operation":"EQUALS","key":"display_name","stringValue":"alpha"}]}'
    assert page(filter=named)[0] == ["Alpha"]
    off = '{"predicates":[{"operation":1,"key":"status","stringValue":"DISABLED"}]}'
    assert page(filter=off)[0] == ["beta"]
    with pytest.raises(UserError, match="unrecognized field 'trigger'"):
        page(filter='{"predicates":[{"operation":1,"key":"trigger","stringValue":"x"}]}')
    rows, _, total = record.recurring.page(parse(FIELDS), "another experiment")
    assert (rows, total) == ([], 0)
