"""How far a run is, in words: plain values in, text out."""

import pytest
from tests.cli.runs import AT, CREATED, run, task

from tuneline.cli.progress import changes, doing, duration, seconds_between, sparkline, time_left, tracked


def looks(*progress, seconds=1.0, attempts=1, **numbers):
    """The task and its track after one look a second at each `(done, total, unit)`."""
    tracks, shown = {}, None
    for number, point in enumerate(progress):
        shown = task("tune", "RUNNING", seconds=seconds, attempts=attempts, progress=point)
        shown["progress"] |= numbers
        tracks = tracked(tracks, run("RUNNING", shown), AT + number)
    return shown, tracks["tune"]


def test_a_training_tells_steps_loss_speed_and_time_left():
    shown, track = looks((10, 48, "steps"), (12, 48, "steps"), loss=0.4311, tokens_per_s=362.4)
    assert doing(shown, track) == "12 of 48 steps  loss 0.431  362 tokens/s  18 s left"


def test_time_left_goes_by_what_was_seen_not_by_loading_or_by_a_resumed_checkpoint():
    """At the first look 40 of 48 steps were there, after 100 s. Since then it made one a second."""
    shown, track = looks((40, 48, "steps"), (41, 48, "steps"), (42, 48, "steps"), seconds=102.0)
    assert time_left(track, shown) == 6.0
    assert time_left(*reversed(looks((40, 48, "steps")))) is None
    assert time_left(*reversed(looks((40, None, "steps"), (41, None, "steps")))) is None


def test_another_attempt_begins_a_new_track():
    _, track = looks((10, 48, "steps"), (12, 48, "steps"), loss=1.0)
    again = task("tune", "RUNNING", attempts=2, progress=(5, 48, "steps"))
    assert tracked({"tune": track}, run("RUNNING", again), AT + 9)["tune"].points == ((AT + 9, 5.0),)


def test_an_ended_task_says_how_far_it_came_and_keeps_its_track():
    _, track = looks((10, 48, "steps"), (12, 48, "steps"), loss=1.0)
    ended = task("tune", "SUCCEEDED", progress=(48, 48, "steps"))
    assert doing(ended, track) == "48 of 48 steps"
    assert tracked({"tune": track}, run("RUNNING", ended), AT) == {"tune": track}
    assert tracked({}, run("RUNNING", ended), AT) == {}


@pytest.mark.parametrize(
    "progress, said",
    [
        ((1_250_000, 3_400_000, "bytes"), "1.2 of 3.4 MB"),
        ((1_250_000, None, "bytes"), "1.2 MB"),
        ((900, 2_500, "bytes"), "0.9 of 2.5 kB"),
        ((1200, None, "rows"), "1,200 rows"),
        ((0, 64, "prompts"), "0 of 64 prompts"),
    ],
)
def test_amounts_are_told_in_their_unit(progress, said):
    assert doing(task("x", "RUNNING", progress=progress)) == said


def test_a_task_that_waits_for_its_next_attempt_says_when_and_why():
    error = {"message": "the server answered 503"}
    said = doing(task("fetch", "PENDING", attempts=1, retry_at=CREATED, error=error))
    assert said.startswith("attempt 2 at ")
    assert said.endswith("; the last one: the server answered 503")


def test_plain_lines_tell_each_start_and_end_once():
    first = run("RUNNING", task("fetch", "RUNNING"), task("prepare", "PENDING"))
    second = run(
        "RUNNING", task("fetch", "SUCCEEDED", seconds=1.24), task("prepare", "CACHED", reason="the same")
    )
    last = run("FAILED", *second["tasks"], task("tune", "FAILED", seconds=70, error={"message": "no"}))
    assert changes(None, first) == ["fetch: started"]
    assert changes(first, second) == ["fetch: done in 1.2 s", "prepare: cached: the same"]
    assert changes(second, second) == []
    assert changes(second, last) == ["tune: FAILED in 1:10: no"]


def test_a_second_attempt_is_told_as_one():
    before = run("RUNNING", task("fetch", "RUNNING"))
    assert changes(before, run("RUNNING", task("fetch", "RUNNING", attempts=2))) == [
        "fetch: started (attempt 2)"
    ]


@pytest.mark.parametrize(
    "seconds, said",
    [
        (None, ""),
        (0.04, "0.0 s"),
        (9.9, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (187, "3:07"),
        (3727, "1:02:07"),
    ],
)
def test_durations_are_short(seconds, said):
    assert duration(seconds) == said


def test_seconds_between_goes_up_to_now_while_there_is_no_end():
    assert seconds_between(CREATED, None, AT + 5) == 5.0
    assert seconds_between(CREATED, "2026-11-18T11:06:41.500Z", AT) == 1.5
    assert seconds_between(None, None, AT) is None


def test_a_sparkline_spans_lowest_to_highest_in_its_width():
    assert sparkline((3.0, 2.0, 1.0), 20) == "█▅▁"
    assert len(sparkline(tuple(float(n) for n in range(500)), 20)) == 20
    assert sparkline((1.0, 1.0), 20) == "▁▁"
    assert sparkline((1.0,), 20) == ""
