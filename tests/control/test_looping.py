"""A loop of the server: it looks when it is woken, when its sleep is over, and after what goes wrong."""

import logging
import threading
import time
from contextlib import contextmanager
from queue import Queue

import pytest

from tuneline.control.looping import Loop
from tuneline.errors import ResourceError

LONG_S = 60.0


class Looked:
    """What is looked after: gives the next of `sleeps`, or raises it, then sleeps long."""

    def __init__(self, *sleeps):
        self.sleeps = list(sleeps)
        self.times = Queue()
        self.wake, self.listened = None, 0

    def look(self):
        sleep = self.sleeps.pop(0) if self.sleeps else LONG_S
        self.times.put(time.monotonic())
        if isinstance(sleep, Exception):
            raise sleep
        return sleep

    @contextmanager
    def listening(self, wake):
        self.wake, self.listened = wake, self.listened + 1
        try:
            yield
        finally:
            self.listened -= 1

    def next(self):
        return self.times.get(timeout=10)


@pytest.fixture
def begin():
    loops = []

    def begin(looked, **options):
        loops.append(Loop("films", looked.look, looked.listening, **options))
        loops[-1].start()
        return loops[-1]

    yield begin
    for loop in loops:
        loop.stop()


def test_it_looks_at_once_after_its_sleep_and_when_something_changed(begin):
    looked = Looked(0.05)
    begin(looked)
    first, second = looked.next(), looked.next()
    assert second - first >= 0.05
    looked.wake()
    assert looked.next() >= second


def test_a_change_during_a_look_is_not_missed(begin):
    looked = Looked()
    inside, go_on = threading.Event(), threading.Event()
    look = looked.look

    def slow():
        inside.set()
        assert go_on.wait(10)
        return look()

    looked.look = slow
    begin(looked)
    assert inside.wait(10)
    looked.wake()
    go_on.set()
    looked.next()
    looked.next()


def test_it_says_what_went_wrong_and_looks_again(begin, caplog):
    looked = Looked(ResourceError("The disk is full."), ValueError("no film"))
    with caplog.at_level(logging.ERROR, "tuneline.control"):
        begin(looked, retry_s=0.01)
        for _ in range(3):
            looked.next()
    full, odd = caplog.records
    assert (full.getMessage(), full.exc_info) == (
        "films cannot be looked at; trying again: The disk is full.",
        None,
    )
    assert odd.getMessage() == "films cannot be looked at; trying again"
    assert str(odd.exc_info[1]) == "no film"


def test_stopping_waits_for_the_look_under_way_and_listens_no_more(begin):
    looked = Looked()
    made, seen = Queue(), []

    def look():
        loop = made.get(timeout=10)
        looked.times.put(0.0)
        while not loop.stopped:
            time.sleep(0.001)
        seen.append("the end")
        return 0.0

    looked.look = look
    loop = begin(looked)
    made.put(loop)
    looked.next()
    loop.stop()
    assert (seen, looked.listened) == (["the end"], 0)


def test_one_that_was_never_started_can_be_stopped():
    Loop("films", lambda: LONG_S).stop()
