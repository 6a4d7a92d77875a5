"""Experiments, uploads and lists of runs on every database: all fields sort and filter, totals are right."""

import json
from itertools import count

import pytest

from tuneline.errors import AlreadyExistsError, ConflictError, NotFoundError, PreconditionError, UserError
from tuneline.plan.events import (
    AttemptStarted,
    CancelRequested,
    Child,
    RunEnded,
    RunRetried,
    RunStarted,
    TaskCached,
    TaskSucceeded,
)
from tuneline.plan.listing import parse
from tuneline.record import artifact_lists, experiments, run_lists, uploads
from tuneline.record.experiments import NewExperiment
from tuneline.record.runs import ACTIVE, NewRun
from tuneline.record.uploads import NewPipeline, NewVersion
from tuneline.types import RunId

SPEC = {"pipelineInfo": {"name": "p"}, "root": {"dag": {"tasks": {}}}}


@pytest.fixture
def add(record):
    """Makes ended runs, a second apart."""
    ticks = count(1_800_000_000)

    def make(id, experiment="", ends="SUCCEEDED", **more):
        at = float(next(ticks))
        values = {"display_name": f"Run {id}", **more}
        new = NewRun(RunId(id), id, "", {**SPEC, "made": id}, {}, experiment=experiment, **values)
        record.runs.create(new, at)
        if ends:
            record.runs.append(record.runs.lease(id), [RunStarted(), RunEnded(ends)], at + 0.5)
        return id

    return make


def walk(listed, fields, **asked):
    """All ids, page by page; each page says the same total."""
    found, token = [], ""
    while True:
        rows, token, total = listed(parse(fields, page_token=token, page_size=2, **asked))
        found += [row["id"] for row in rows]
        if not token:
            assert total == len(found)
            return found


def test_every_field_of_every_list_sorts_forth_and_back(record, add):
    for id in "abc":
        add(id)
        record.experiments.create(NewExperiment(f"e{id}", f"E {id}"), 5.0)
        record.uploads.create(
            NewPipeline(f"p{id}", f"P {id}"), 5.0, NewVersion(f"v{id}", f"p{id}", "v", SPEC)
        )
    lists = [
        (record.run_lists.page, run_lists.FIELDS, 3),
        (record.experiments.page, experiments.FIELDS, 4),
        (record.uploads.page, uploads.PIPELINES, 3),
        (lambda listing: record.uploads.page_of_versions("pa", listing), uploads.VERSIONS, 1),
        (record.artifacts.page, artifact_lists.FIELDS, 0),
    ]
    for listed, fields, size in lists:
        for field, kind in fields.kinds.items():
            forth = walk(listed, fields, sort_by=field)
            assert len(set(forth)) == size, field
            assert walk(listed, fields, sort_by=f"{field} desc") == forth[::-1]
            value = {"timestampValue": "2026-01-01T00:00:00Z"} if kind == "time" else {"stringValue": "a"}
            for operation in ("EQUALS", "NOT_EQUALS", "GREATER_THAN", "LESS_THAN_EQUALS"):
                asked = {"predicates": [{"operation": operation, "key": field, **value}]}
                rows, _, total = listed(parse(fields, filter=json.dumps(asked)))
                assert len(rows) == total


def total(record, experiment="", **equals):
    asked = [{"operation": 1, "key": key, "stringValue": value} for key, value in equals.items()]
    listing = parse(run_lists.FIELDS, filter=json.dumps({"predicates": asked}))
    rows, _, said = record.run_lists.page(listing, experiment)
    assert said == len(rows)
    return said


def test_totals_follow_every_change(record, add):
    record.experiments.create(NewExperiment("e1", "one"), 5.0)
    default = record.experiments.default()
    for id, experiment in (("a", "e1"), ("b", "e1"), ("c", "")):
        add(id, experiment)
    assert (total(record), total(record, "e1"), total(record, default)) == (3, 2, 1)
    record.run_lists.archive("a")
    record.run_lists.archive("a")
    assert total(record, "e1", storage_state="ARCHIVED") == 1
    record.experiments.archive("e1")
    assert total(record, "e1", storage_state="ARCHIVED") == 2
    with pytest.raises(PreconditionError, match="un-archived first"):
        record.run_lists.unarchive("a")
    record.experiments.unarchive("e1")
    record.run_lists.unarchive("a")
    assert total(record, storage_state="AVAILABLE") == 2
    record.run_lists.hide("a")
    assert (total(record), total(record, "e1"), total(record, state="succeeded")) == (2, 1, 2)
    assert record.run_lists.purge(ACTIVE) == ["a"]
    assert (total(record), total(record, "e1")) == (2, 1)
    record.experiments.delete("e1")
    assert total(record, "e1") == 1
    with pytest.raises(NotFoundError, match="Experiment nowhere"):
        record.run_lists.page(parse(run_lists.FIELDS), "nowhere")
    add("d", ends="")
    record.runs.discard("d")
    assert total(record) == 2


def test_a_refused_run_is_not_counted_and_any_number_without_a_project_is(record, new_run):
    record.runs.create(new_run("r1", project="mine"), 1.0)
    with pytest.raises(ConflictError):
        record.runs.create(new_run("r2", project="mine"), 2.0)
    for id in ("r3", "r4"):
        record.runs.create(new_run(id, project=""), 3.0)
    assert total(record) == 3


def test_a_run_keeps_its_states_in_order(record, add):
    add("a", ends="")
    lease = record.runs.lease("a")
    for event in (
        RunStarted(),
        CancelRequested("ann"),
        RunEnded("CANCELED"),
        RunRetried("ann", ()),
        RunStarted(),
    ):
        record.runs.append(lease, [event], 5.0)
    states = [entry["state"] for entry in record.run_lists.get("a")["history"]]
    assert states == ["PENDING", "RUNNING", "CANCELING", "CANCELED", "RUNNING"]


def test_the_default_experiment_stays(record):
    default = record.experiments.default()
    with pytest.raises(ConflictError, match="cannot be deleted"):
        record.experiments.delete(default)
    assert record.experiments.get(default)["name"] == "Default"
    with pytest.raises(AlreadyExistsError):
        record.experiments.create(NewExperiment("x", "DEFAULT"), 1.0)


def test_a_spec_is_kept_once_and_goes_with_its_last_user(record, add):
    same = {"pipelineInfo": {"name": "same"}, "root": {}}
    record.uploads.create(NewPipeline("p", "P"), 1.0, NewVersion("v1", "p", "one", same))
    record.uploads.add_version(NewVersion("v2", "p", "two", same), 2.0)
    rows = [record.uploads.version(id) for id in ("v1", "v2")]
    assert len({row["spec"] for row in rows}) == 1
    assert json.loads(rows[0]["spec_text"]) == same
    assert record.uploads.newest_version("p")["id"] == "v2"
    add("a")
    digest = record.run_lists.get("a")["pipeline"]
    assert json.loads(record.run_lists.specs([digest])[digest])["made"] == "a"
    record.run_lists.hide("a")
    record.run_lists.purge(ACTIVE)
    assert record.run_lists.specs([digest]) == {}


def test_tags_go_with_what_they_are_on(record):
    tags = {"team": "ops", "stage": "Prod"}
    record.uploads.create(
        NewPipeline("p", "P", tags=tags), 1.0, NewVersion("v", "p", "v", SPEC, tags={"a": "b"})
    )
    assert record.uploads.get("p")["tags"] == tags
    found = '{"predicates":[{"operation":1,"key":"tags.stage","stringValue":"Prod"}]}'
    assert walk(record.uploads.page, uploads.PIPELINES, filter=found) == ["p"]
    assert walk(record.uploads.page, uploads.PIPELINES, filter=found.replace("Prod", "prod")) == []
    record.uploads.update("p", {"description": "d"}, {"only": "one"})
    assert record.uploads.get("p")["tags"] == {"only": "one"}
    with pytest.raises(UserError, match="existing pipeline versions"):
        record.uploads.delete("p", cascade=False)
    record.uploads.delete("p", cascade=True)
    record.uploads.create(NewPipeline("p", "P"), 1.0)
    assert record.uploads.get("p")["tags"] == {}


def test_a_run_that_others_read_leaves_its_artifacts_when_it_is_deleted(record, add, outputs):
    from_cache = _cached(record, outputs)
    record.run_lists.hide("made")
    assert record.run_lists.purge(ACTIVE) == []
    with pytest.raises(NotFoundError):
        record.run_lists.get("made")
    assert record.runs.artifacts([from_cache])[from_cache]["run"] == "made"
    record.run_lists.hide("took")
    assert set(record.run_lists.purge(ACTIVE)) == {"took", "made"}


def _cached(record, outputs):
    """A run that made an artifact, and one that took it from the cache; the artifact's id."""
    tasks = (Child("fetch", "task", "fetch"),)
    for id in ("made", "took"):
        record.runs.create(NewRun(RunId(id), id, "", SPEC, {}, tasks=tasks), 1.0)
    lease = record.runs.lease("made")
    began = AttemptStarted("fetch", 1, 7, 1.0, "/f/1")
    ended = TaskSucceeded("fetch", 1, outputs("data"), "key")
    record.runs.append(lease, [RunStarted(), began, ended, RunEnded("SUCCEEDED")], 2.0)
    hit = record.runs.find("key")
    taken = TaskCached("fetch", hit.outputs, "key", hit.run, hit.task)
    lease = record.runs.lease("took")
    record.runs.append(lease, [RunStarted(), taken, RunEnded("SUCCEEDED")], 4.0)
    return hit.outputs.artifacts["data"][0].id
