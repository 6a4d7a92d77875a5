"""What is counted of request lines: each once, whatever is cut, rotated or restarted, and by its meaning."""

import json
import random
from dataclasses import dataclass

import pytest

from tuneline.control import tally
from tuneline.control.tally import Cursor, Tally
from tuneline.plan.rollout import begin
from tuneline.plan.rollout_plan import RolloutPlan
from tuneline.plan.rollouts import Underway
from tuneline.plan.sequential import NOTHING
from tuneline.record.record import Record

PLAN = RolloutPlan(shadow=True, metrics=("errors", "slow", "agreement"), slow_ms=100.0)


@dataclass(frozen=True)
class Score:
    n: int
    request_id: str
    score: float
    at: float = 0.0


class Scores(list):
    """A double of our Protocol `FeedbackSource`."""

    def since(self, endpoint, n, limit=10_000):
        return [each for each in self if each.n > n][:limit]


def line(number, candidate=False, status=200, ms=10.0, **more):
    version = "m@1.0.1" if candidate else "m@1.0.0"
    body = {"at": 1000.0 + number, "id": str(number), "release": version, "status": status, "ms": ms, **more}
    return json.dumps(body) + "\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "segments").mkdir()
    return tmp_path


def write(folder, *lines, segment=1):
    with (folder / "segments" / f"{segment:08d}.jsonl").open("a") as file:
        file.write("".join(lines))


def underway(plan=PLAN, step=0, cursor=None, since=0.0):
    state = begin(plan, 0.0)
    state = type(state)(**{**vars(state), "step": step, "since": since})
    return Underway("e-1", "e", "m@1.0.1", "m@1.0.0", plan, state, cursor or {}, 0, 0.0)


def total(observed, metric):
    return sum((batch[metric] for batch in observed.batches if metric in batch), NOTHING)


def test_each_line_is_counted_once_however_files_are_cut_and_servers_restart(folder):
    chance, text, cursor, counted, wanted = random.Random(3), "", Cursor(), NOTHING, [0, 0, 0, 0]
    for number in range(400):
        candidate, failed = chance.random() < 0.3, chance.random() < 0.2
        text += line(number, candidate, 500 if failed else 200)
        wanted[0 if candidate else 2] += 1
        wanted[1 if candidate else 3] += failed
        last = number % 100 == 99  # of its file
        cut = len(text) if last else chance.randrange(len(text) + 1)  # in the middle of a line
        write(folder, text[:cut], segment=1 + number // 100)
        text = text[cut:]
        if chance.random() < 0.2:
            reader = Tally(folder, underway(cursor=cursor.to_json()), None)  # a server that was just started
            observed, cursor = reader.read(Cursor.from_json(json.loads(json.dumps(cursor.to_json()))), 0.0)
            counted += total(observed, "errors")
    observed, cursor = Tally(folder, underway(cursor=cursor.to_json()), None).read(cursor, 0.0)
    counted += total(observed, "errors")
    assert [counted.candidate_n, counted.candidate_sum, counted.stable_n, counted.stable_sum] == wanted


def test_what_each_status_means(folder):
    write(folder, *[line(n, True, status) for n, status in enumerate((200, 404, 429, 499, 500, 503, 0))])
    observed, _ = Tally(folder, underway(), None).read(Cursor(slow_ms=100.0), 0.0)
    errors = total(observed, "errors")
    assert (errors.candidate_n, errors.candidate_sum, observed.errors) == (7, 4.0, 4)
    assert total(observed, "slow").candidate_n == 1


def test_slow_counts_answers_and_those_who_hung_up_after_the_bound(folder):
    rows = [(200, 50.0), (200, 150.0), (499, 150.0), (499, 50.0), (500, 150.0)]
    write(folder, *[line(n, False, status, ms) for n, (status, ms) in enumerate(rows)])
    write(
        folder, line(9, ms=900.0, retries=1)
    )  # the candidate died with it: that is not the stable one's time
    observed, _ = Tally(folder, underway(), None).read(Cursor(slow_ms=100.0), 0.0)
    slow = total(observed, "slow")
    assert (slow.stable_n, slow.stable_sum) == (3, 2.0)


def test_requests_that_named_their_release_and_those_of_others_are_left_out(folder):
    write(folder, line(1, True, override=True), line(2), line(3, release="m@0.9.0"), line(4, release=""))
    observed, _ = Tally(folder, underway(), None).read(Cursor(), 0.0)
    assert (observed.candidate, observed.stable) == (0, 1)


def test_copies_count_for_the_candidate_and_say_whether_it_agrees(folder):
    rows = [line(n, True, shadow_of="a", agrees=agrees) for n, agrees in enumerate((True, False, True, None))]
    write(folder, *rows)
    observed, _ = Tally(folder, underway(), None).read(Cursor(), 0.0)
    agreement = total(observed, "agreement")
    assert (agreement.candidate_n, agreement.candidate_sum) == (3, 2.0)
    assert agreement.stable_sum == pytest.approx(2.7)
    assert observed.candidate == 4


def test_lines_of_before_a_step_are_a_batch_of_their_own_and_not_of_the_step(folder):
    write(folder, *[line(n, n % 2 == 0) for n in range(10)])
    observed, _ = Tally(folder, underway(since=1006.0), None).read(Cursor(), 0.0)
    assert [batch["errors"].candidate_n for batch in observed.batches] == [3, 2]
    assert (observed.candidate, observed.stable) == (2, 2)


def test_the_bound_of_slow_is_the_stable_releases_own_where_none_is_given(folder):
    plan = RolloutPlan(metrics=("errors", "slow"))
    write(folder, *[line(n, ms=float(n)) for n in range(60)])
    reader = Tally(folder, underway(plan), None)
    cursor = reader.first()
    assert (cursor.slow_ms, len(cursor.times)) == (0.0, 60)
    assert reader.read(cursor, 0.0)[0].batches == ()  # what came before the rollout is not counted
    write(folder, *[line(100 + n, ms=10.0) for n in range(60)])
    _, cursor = reader.read(cursor, 0.0)
    assert cursor.slow_ms == 1.5 * 55.0 + 1.0
    assert cursor.times == ()


def test_a_score_counts_once_for_the_arm_of_its_request_and_waits_for_its_line(folder):
    scores = Scores([Score(1, "1", 1.0), Score(2, "2", 0.0, at=100.0), Score(3, "1", 0.0)])
    write(folder, line(1, True))
    reader = Tally(folder, underway(), scores)
    observed, cursor = reader.read(Cursor(), 101.0)
    assert (total(observed, "feedback").candidate_n, cursor.score) == (1, 1)
    write(folder, line(2))
    again = Tally(folder, underway(cursor=cursor.to_json()), scores)  # which remembers what was scored
    observed, cursor = again.read(cursor, 102.0)
    feedback = total(observed, "feedback")
    assert (feedback.candidate_n, feedback.stable_n, cursor.score) == (0, 1, 3)
    scores.append(Score(4, "never seen", 1.0, at=102.0))
    assert again.read(cursor, 103.0)[1].score == 3
    assert again.read(cursor, 113.0)[1].score == 4


def test_a_score_that_is_given_anew_counts_no_second_time_for_the_next_server(folder):
    record = Record(f"sqlite:///{folder / 'tuneline.db'}")
    record.migrate()
    record.feedback.add("e", "1", 0.0, "", "ann", 100.0)
    write(folder, line(1, True))
    observed, cursor = Tally(folder, underway(), record.feedback).read(Cursor(), 101.0)
    assert total(observed, "feedback").candidate_n == 1
    record.feedback.add("e", "1", 1.0, "", "ann", 102.0)
    observed, _ = Tally(folder, underway(cursor=cursor.to_json()), record.feedback).read(cursor, 103.0)
    assert total(observed, "feedback").candidate_n == 0
    record.close()


def test_much_at_once_is_read_in_parts(folder, monkeypatch):
    monkeypatch.setattr(tally, "LOOK_BYTES", 2000)
    write(folder, *[line(n, n % 2 == 0) for n in range(100)])
    reader, cursor, looks, found = Tally(folder, underway(), None), Cursor(), 0, 0
    behind = True
    while behind:
        observed, cursor = reader.read(cursor, 0.0)
        looks, found, behind = looks + 1, found + observed.candidate, observed.behind
    assert (found, looks > 3) == (50, True)


def test_segments_that_several_workers_write_at_once_are_all_read_to_their_ends(folder):
    reader, cursor, found = Tally(folder, underway(), None), Cursor(), 0
    for number in range(0, 40, 4):
        write(folder, line(number, True), line(number + 1), segment=1)
        write(folder, line(number + 2), line(number + 3, True), segment=2)
        observed, cursor = reader.read(cursor, 0.0)
        found += observed.candidate
    assert (found, set(cursor.offsets)) == (20, {"00000001.jsonl", "00000002.jsonl"})
    (folder / "segments" / "00000001.jsonl").unlink()  # the router keeps the newest only
    assert set(reader.read(cursor, 0.0)[1].offsets) == {"00000002.jsonl"}
