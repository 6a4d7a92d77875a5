"""Events in, views out; leases; the cache; lineage."""

import pytest
from sqlalchemy import event, select

from tuneline.errors import ConflictError, NotFoundError
from tuneline.plan import events as e
from tuneline.plan.events import Lease, LeaseLost
from tuneline.record.schema import artifacts, links


def states(record, run="r1"):
    return {row["name"]: row["state"] for row in record.runs.tasks(run)}


def finish(record, lease, outputs, at=10.0):
    """The whole story of the two tasks."""
    record.runs.append(lease, [e.RunStarted(), e.AttemptStarted("fetch", 1, 9, 1.0, "/f/1", "key-f")], at)
    record.runs.append(lease, [e.TaskSucceeded("fetch", 1, outputs("data", "d"), "key-f")], at + 1)
    read = e.Read({}, {"data": (f"{lease.run}/fetch/1/data",)})
    record.runs.append(lease, [e.AttemptStarted("tune", 1, 9, 1.0, "/t/1", "key-t", read)], at + 2)
    record.runs.append(lease, [e.TaskSucceeded("tune", 1, outputs("adapter", "a"), "key-t")], at + 3)
    record.runs.append(lease, [e.RunEnded("SUCCEEDED")], at + 4)


def test_a_new_run_has_all_its_tasks_pending(record, new_run):
    record.runs.create(new_run(), 1.0)
    assert record.runs.get("r1")["state"] == "PENDING"
    assert states(record) == {"fetch": "PENDING", "tune": "PENDING"}
    assert record.runs.ir("r1")["pipelineInfo"]["name"] == "line"


def test_a_second_run_of_a_project_is_refused_by_name_while_the_first_is_active(record, new_run):
    record.runs.create(new_run("r1"), 1.0)
    with pytest.raises(ConflictError, match="r1"):
        record.runs.create(new_run("r2"), 2.0)
    record.runs.create(new_run("r3", project="other"), 3.0)
    record.runs.append(record.runs.lease("r1"), [e.RunEnded("FAILED")], 4.0)
    record.runs.create(new_run("r2"), 5.0)
    assert [row["id"] for row in record.runs.newest(10)] == ["r2", "r3", "r1"]
    assert [row["id"] for row in record.runs.newest(10, "reviews")] == ["r2", "r1"]
    assert [row["id"] for row in record.runs.active()] == ["r3", "r2"]


def test_events_come_back_as_they_were_and_in_order(record, new_run, outputs):
    record.runs.create(new_run(), 1.0)
    lease = record.runs.lease("r1")
    written = [
        e.RunStarted(),
        e.AttemptStarted("fetch", 1, 9, 1.5, "/f/1", "k"),
        e.AttemptFailed("fetch", 1, None, {"code": "network", "message": "cut"}, lost=True, retry_at=3.0),
        e.TaskSucceeded("fetch", 2, outputs(), "k"),
        e.TaskCached("tune", outputs("adapter"), "k2", "r0", "tune"),
        e.TaskSkipped("tune", "why"),
        e.CancelRequested("ann"),
        e.TaskCanceled("tune", 1),
        e.RunRetried("ann", ("tune",)),
        e.RunEnded("FAILED", {"code": "internal"}),
    ]
    stored = record.runs.append(lease, written, 2.0)
    assert [item.seq for item in stored] == list(range(1, 11))
    assert [item.event for item in record.runs.events("r1")] == written
    assert [item.seq for item in record.runs.events("r1", after=8)] == [9, 10]


def test_views_follow_the_events(record, new_run, outputs):
    record.runs.create(new_run(), 1.0)
    lease = record.runs.lease("r1")
    record.runs.append(lease, [e.RunStarted(), e.AttemptStarted("fetch", 1, 9, 1.0, "/f/1")], 2.0)
    assert (record.runs.get("r1")["state"], states(record)["fetch"]) == ("RUNNING", "RUNNING")
    record.runs.append(lease, [e.AttemptFailed("fetch", 1, 1, {"code": "network"}, retry_at=4.0)], 3.0)
    row = record.runs.tasks("r1")[0]
    assert (row["state"], row["retry_at"], row["error"]) == ("PENDING", 4.0, {"code": "network"})
    record.runs.append(lease, [e.AttemptStarted("fetch", 2, 9, 1.0, "/f/2")], 4.0)
    record.runs.append(lease, [e.TaskSucceeded("fetch", 2, outputs())], 6.0)
    row = record.runs.tasks("r1")[0]
    assert (row["state"], row["attempts"], row["error"], row["retry_at"]) == ("SUCCEEDED", 2, None, None)
    assert (row["started_at"], row["finished_at"], row["outputs"]["parameters"]) == (2.0, 6.0, {"n": 1})
    record.runs.append(lease, [e.AttemptStarted("tune", 1, 9, 1.0, "/t/1")], 7.0)
    record.runs.append(lease, [e.AttemptFailed("tune", 1, 1, {"code": "invalid_data"})], 8.0)
    record.runs.append(lease, [e.RunEnded("FAILED", {"code": "invalid_data"})], 9.0)
    assert states(record) == {"fetch": "SUCCEEDED", "tune": "FAILED"}
    assert record.runs.get("r1")["error"] == {"code": "invalid_data"}
    record.runs.append(lease, [e.RunRetried("ann", ("tune",))], 10.0)
    assert (record.runs.get("r1")["state"], states(record)["tune"]) == ("RUNNING", "PENDING")


def test_a_canceled_run_leaves_no_task_pending(record, new_run):
    record.runs.create(new_run(), 1.0)
    lease = record.runs.lease("r1")
    record.runs.append(lease, [e.RunStarted(), e.AttemptStarted("fetch", 1, 9, 1.0, "/f/1")], 2.0)
    record.runs.append(
        lease, [e.CancelRequested("ann"), e.TaskCanceled("fetch", 1), e.RunEnded("CANCELED")], 3.0
    )
    assert states(record) == {"fetch": "CANCELED", "tune": "CANCELED"}


def test_a_run_that_took_too_long_leaves_no_task_pending(record, new_run):
    record.runs.create(new_run(), 1.0)
    lease = record.runs.lease("r1")
    late = [e.CancelRequested(e.DEADLINE), e.RunEnded("FAILED", {"code": "deadline"})]
    record.runs.append(lease, [e.RunStarted(), *late], 2.0)
    assert states(record) == {"fetch": "CANCELED", "tune": "CANCELED"}


def test_a_scheduler_that_was_taken_over_from_writes_nothing(record, new_run):
    record.runs.create(new_run(), 1.0)
    old, new = record.runs.lease("r1"), record.runs.lease("r1")
    with pytest.raises(LeaseLost):
        record.runs.append(old, [e.RunStarted()], 2.0)
    assert list(record.runs.events("r1")) == []
    assert record.runs.get("r1")["state"] == "PENDING"
    record.runs.append(new, [e.RunStarted()], 2.0)
    with pytest.raises(LeaseLost):
        record.runs.append(Lease("nowhere", 1), [e.RunStarted()], 2.0)


def test_the_cache_gives_the_newest_success_with_a_key(record, new_run, outputs):
    assert record.runs.find("key-t") is None
    for id in ("r1", "r2"):
        record.runs.create(new_run(id), 1.0)
        finish(record, record.runs.lease(id), outputs, 10.0 if id == "r1" else 20.0)
    hit = record.runs.find("key-t")
    assert (hit.run, hit.task, hit.outputs.parameters) == ("r2", "tune", {"n": 1})
    (ref,) = hit.outputs.artifacts["adapter"]
    assert (ref.id, ref.uri) == ("r2/tune/1/adapter", "/tmp/a")


def test_lineage_links_what_a_task_read_and_a_cached_task_shares_its_sources_artifacts(
    record, new_run, outputs
):
    record.runs.create(new_run("r1"), 1.0)
    finish(record, record.runs.lease("r1"), outputs)
    record.runs.create(new_run("r2"), 20.0)
    lease = record.runs.lease("r2")
    hit = record.runs.find("key-f")
    assert hit is not None  # its artifact's id is known although the event did not say it
    read = e.Read({}, {"data": (hit.outputs.artifacts["data"][0].id,)})
    cached = e.TaskCached("fetch", hit.outputs, "key-f", hit.run, hit.task)
    record.runs.append(lease, [cached, e.AttemptStarted("tune", 1, 9, 1.0, "/t/1", read=read)], 21.0)
    with record.runs._store.read() as db:
        found = {(row.execution, row.direction, row.artifact) for row in db.execute(select(links))}
        kept = db.execute(select(artifacts.c.id)).scalars().all()
    assert ("r1/tune/1", "input", "r1/fetch/1/data") in found
    assert ("r1/tune/1", "output", "r1/tune/1/adapter") in found
    assert ("r2/fetch/cached-1", "output", "r1/fetch/1/data") in found
    assert ("r2/tune/1", "input", "r1/fetch/1/data") in found
    assert sorted(kept) == ["r1/fetch/1/data", "r1/tune/1/adapter"]


def test_points_of_a_curve_are_numbered_and_the_last_one_is_the_progress(record, new_run):
    record.runs.create(new_run(), 1.0)
    record.runs.series(
        "r1", "tune", [{"type": "progress", "done": 1, "loss": 2.0}, {"type": "note", "message": "hi"}]
    )
    record.runs.series("r1", "tune", [{"type": "progress", "done": 2, "loss": float("inf")}])
    assert [n for n, _ in record.runs.points("r1", "tune")] == [1, 2, 3]
    assert record.runs.points("r1", "tune", after=2) == [
        (3, {"type": "progress", "done": 2, "loss": float("inf")})
    ]
    assert record.runs.tasks("r1")[1]["progress"]["done"] == 2


def test_a_retry_makes_an_ended_run_active_unless_another_one_is(record, new_run):
    record.runs.create(new_run("r1"), 1.0)
    record.runs.append(record.runs.lease("r1"), [e.RunEnded("FAILED")], 2.0)
    record.runs.create(new_run("r2"), 3.0)
    with pytest.raises(ConflictError, match="r2"):
        record.runs.reopen("r1")
    record.runs.append(record.runs.lease("r2"), [e.RunEnded("FAILED")], 4.0)
    assert record.runs.reopen("r1").token == 2
    assert record.runs.get("r1")["state"] == "PENDING"


def test_a_run_is_made_active_again_once(record, new_run):
    record.runs.create(new_run("r1", project=""), 1.0)
    record.runs.append(record.runs.lease("r1"), [e.RunEnded("FAILED")], 2.0)
    lease = record.runs.reopen("r1")
    with pytest.raises(ConflictError, match="r1 has not ended"):
        record.runs.reopen("r1")
    record.runs.append(lease, [e.RunRetried("ann", ("tune",))], 3.0)  # the first one's right still holds


def test_a_retry_forgets_what_is_in_its_graphs_with_few_statements_however_wide_it_is(record, new_run):
    record.runs.create(new_run("r1"), 1.0)
    lease = record.runs.lease("r1")
    children = tuple(e.Child(f"fetch/{n}", "dag", str(n)) for n in range(100))
    inner = (e.Child("fetch/0/x", "task", "x"),)
    opened = [e.GraphStarted("fetch", 1, children, True), e.GraphStarted("fetch/0", 1, inner)]
    failed = [e.AttemptFailed(name, 1, 1, {}) for name in ("fetch/0/x", "fetch/0", "fetch")]
    record.runs.append(lease, [e.RunStarted(), *opened, *failed, e.RunEnded("FAILED")], 2.0)
    said = []
    engine = record.runs._store.engine
    event.listen(engine, "before_cursor_execute", lambda *told: said.append(told[2]))
    record.runs.append(lease, [e.RunRetried("ann", tuple(child.path for child in children))], 3.0)
    assert len(said) < 20
    assert states(record) == {"fetch": "RUNNING", "tune": "CANCELED"} | {
        child.path: "PENDING" for child in children
    }


def test_an_unknown_run_is_said_to_be_unknown(record):
    for ask in (record.runs.get, record.runs.ir, record.runs.lease):
        with pytest.raises(NotFoundError, match="nowhere"):
            ask("nowhere")


def test_an_append_wakes_those_who_wait_for_the_run(record, new_run):
    woken = []
    record.runs.create(new_run(), 1.0)
    lease = record.runs.lease("r1")
    with record.changes.listening("r1", lambda: woken.append(1)):
        record.runs.append(lease, [e.RunStarted()], 2.0)
    record.runs.append(lease, [e.RunEnded("FAILED")], 3.0)
    assert woken == [1]


def test_a_refused_run_is_forgotten_unless_something_happened_in_it(record, new_run):
    record.runs.create(new_run("r1"), 1.0)
    assert record.runs.discard("r1")
    assert record.runs.newest(10) == []
    record.runs.create(new_run("r2"), 1.0)
    record.runs.append(record.runs.lease("r2"), [e.RunStarted()], 2.0)
    assert not record.runs.discard("r2")
    assert [row["id"] for row in record.runs.newest(10)] == ["r2"]
