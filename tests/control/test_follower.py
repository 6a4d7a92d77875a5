"""What a follower makes of engines that lag and break: looks are scripted, events kept in memory."""

import threading
import time

import pytest
from tests.execute.doubles import EventLog, pipeline, submitted

from tuneline.control.remote import RemoteRuns
from tuneline.errors import ForbiddenError, NetworkError, NotFoundError, SpecError, UnauthenticatedError
from tuneline.plan.events import RunEnded, RunHandedOver
from tuneline.plan.nodes import Context
from tuneline.plan.remote import Made, Seen, SeenTask, State
from tuneline.plan.schedule import fold
from tuneline.settings import Settings
from tuneline_ir import parse

IR = pipeline({"a": {}, "b": {"after": ["a"]}})
GOOD = Seen(
    State.SUCCEEDED,
    tasks=(SeenTask("a", State.SUCCEEDED, 0, 1, 2), SeenTask("b", State.SUCCEEDED, 0, 20, 21)),
    started_at=1, finished_at=22,
)  # fmt: skip
BAD = Seen(
    State.FAILED,
    tasks=(SeenTask("a", State.SUCCEEDED, 0, 1, 2), SeenTask("b", State.FAILED, 0, 3, 4, "no")),
    started_at=1, finished_at=5,
)  # fmt: skip


class Scripted:
    """A Remote that answers each look with the next line of a script; the last one stays."""

    def __init__(self, *looks):
        self.looks, self.begun, self.retried = list(looks), [], 0
        self.taken = threading.Semaphore(0)

    def begin(self, run):
        self.begun.append(run.name)
        return "there-1", "http://there/1"

    def look(self, id):
        found = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        self.taken.release()
        if isinstance(found, Exception):
            raise found
        return found

    def made(self, id, pipeline, tasks):
        return {name: Made() for name in tasks}

    def log(self, id, task):
        raise NotFoundError("the pod is gone")

    def cancel(self, id):
        raise SpecError("it has ended")

    def retry(self, id):
        self.retried += 1

    def close(self):
        pass


class Plain:
    """Outputs as they were told."""

    def completed(self, run, id, engine, pipeline, task, told):
        return told


@pytest.fixture
def following(tmp_path):
    """`following(remote)`: the runs that it executes, and their events."""
    made = []

    def begin(remote, log=None):
        log = EventLog() if log is None else log
        runs = RemoteRuns(
            log, log, Settings(home=tmp_path), lambda engine, login: remote, Plain(), look_s=0.001
        )
        made.append(runs)
        return runs, log

    yield begin
    for runs in made:
        runs.stop()


def new():
    body = {"kind": "kubeflow", "url": "http://there"}
    return submitted("r", IR).__class__(**{**vars(submitted("r", IR)), "runner": body})


def ended(log, count=1):
    """The events, once the run has ended that often."""
    deadline = time.monotonic() + 10
    while sum(isinstance(event, RunEnded) for event in log.of("r")) < count:
        assert time.monotonic() < deadline, log.of("r")
        time.sleep(0.002)
    return log.of("r")


def statuses(events):
    state = fold(Context(parse(IR), {}), events)
    return {path: str(node.status) for path, node in state.tasks.items() if path}


def test_the_old_end_of_what_is_tried_again_is_not_told_twice(following):
    """An engine may say for a while that the run goes on, and still how its tasks ended before."""
    runs, log = following(Scripted(BAD))
    runs.start(new(), log.lease("r"))
    ended(log)
    while runs.holds("r"):
        time.sleep(0.002)
    lagging = Seen(State.RUNNING, tasks=BAD.tasks, started_at=1)
    again = Scripted(BAD, lagging, lagging, GOOD)
    runs, _ = following(again, log)
    runs.retry(new(), log.lease("r"), "ann")
    events = ended(log, 2)
    assert again.retried == 1
    assert statuses(events) == {"a": "SUCCEEDED", "b": "SUCCEEDED"}
    kinds = [event.kind for event in events]
    assert kinds.count("attempt_failed") == 1
    assert kinds[kinds.index("run_retried") :] == [
        "run_retried",
        "attempt_started",
        "task_succeeded",
        "run_ended",
    ]


@pytest.mark.parametrize(
    "trouble",
    [
        NetworkError("away"), UnauthenticatedError("expired"), ForbiddenError("not any more"),
        SpecError("a login page"), RuntimeError("a fault of ours"),
    ],
)  # fmt: skip
def test_trouble_is_waited_for(following, trouble):
    remote = Scripted(Seen(State.RUNNING), trouble, GOOD)
    runs, log = following(remote)
    runs.start(new(), log.lease("r"))
    assert statuses(ended(log)) == {"a": "SUCCEEDED", "b": "SUCCEEDED"}
    assert remote.begun == ["r"]


def test_a_run_that_is_not_there_any_more_has_failed(following):
    runs, log = following(Scripted(Seen(State.RUNNING), NotFoundError("no such run", hint="it was deleted")))
    runs.start(new(), log.lease("r"))
    events = ended(log)
    assert (events[-1].state, events[-1].error["message"]) == ("FAILED", "no such run")


def test_a_lease_that_was_taken_ends_the_following_and_nothing_else(following):
    remote = Scripted(Seen(State.RUNNING))
    runs, log = following(remote)
    runs.start(new(), log.lease("r"))
    log.lease("r")  # another server's
    remote.looks = [GOOD]
    while runs.holds("r"):
        time.sleep(0.002)
    assert not any(isinstance(event, RunEnded) for event in log.of("r"))


def test_a_run_is_handed_over_once_and_its_lost_log_is_said(following, tmp_path):
    remote = Scripted(GOOD)
    runs, log = following(remote)
    runs.start(new(), log.lease("r"))
    events = ended(log)
    assert events[0] == RunHandedOver("kubeflow", "http://there", "there-1", "http://there/1")
    assert "no log of this task: the pod is gone" in (tmp_path / "runs/r/a/1/log.txt").read_text()
    other = Scripted(GOOD)
    runs, _ = following(other, log)
    runs.start(new(), log.lease("r"))
    assert (remote.begun, other.begun) == (["r"], [])
