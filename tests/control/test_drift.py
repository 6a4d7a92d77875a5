"""Drift from Parquet files to an alert and a run: real files, record, platform, runner; the test's clock."""

import json
from types import SimpleNamespace

import polars as pl
import pytest
from tests.control.drifting import CALM, IR, OTHER, WINDOW, World

from tuneline.control import request_rows
from tuneline.control.drift import scores_of
from tuneline.record.request_files import write_part


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.close()


def verdicts(view):
    return {each["detector"]: each["verdict"] for each in view["window"]["findings"]}


def test_drifted_requests_lead_to_an_alert_and_one_run_of_the_project(world):
    """The whole way, about 1 s: the run is a real one."""
    made = world.trained()
    world.go_live(run=made)
    assert world.hour()["state"] | {"after": 0} == {"after": 0, "phase": "reference", "have": 200, "of": 400}
    calm = world.hour()
    assert calm["reference"]["requests"] == 400
    calm = world.hour()
    assert verdicts(calm)["prompt_words"] == "none"
    assert verdicts(calm)["confidence"] == "too few"
    assert (calm["alert"], world.runs()) == (None, [made])

    drifted = world.hour(OTHER)
    assert verdicts(drifted)["prompt_words"] == verdicts(drifted)["prompt_new_words"] == "drift"
    assert verdicts(drifted)["output_label"] == "none"
    alert = drifted["alert"]
    assert "prompt_words" in alert["why"]
    assert alert["run"] == world.runs()[0] != made
    assert world.ended(alert["run"]) == "SUCCEEDED"
    again = world.platform.run(alert["run"])
    assert again["project"] == "reviews"
    assert world.record.runs.ir(alert["run"]) == world.record.runs.ir(made)

    still = world.hour(OTHER)
    assert still["alert"]["id"] == alert["id"]
    assert len(world.runs()) == 2
    words = next(each for each in still["window"]["findings"] if each["detector"] == "prompt_words")
    assert words["since"] == drifted["window"]["from"]
    assert world.hour()["alert"] is None
    assert world.kinds()[-3:] == ["drift", "retrain", "drift_ended"]
    assert world.platform.verify_ledger()["ok"]


def test_a_second_alert_within_the_day_waits_and_says_why(world):
    world.go_live(run=world.trained())
    for texts in (CALM, CALM, OTHER, CALM):
        world.hour(texts)
    waiting = world.hour(OTHER)["alert"]
    assert (waiting["run"], len(world.runs())) == (None, 2)
    assert "the next may be from 2026-03-02T" in waiting["note"]
    world.ended(world.runs()[0])
    for _ in range(23):
        world.hour(OTHER, 0)
    assert world.view()["alert"]["run"] == world.runs()[0]
    assert len(world.runs()) == 3


def test_no_run_is_started_while_one_of_the_project_is_under_way(world):
    made = world.trained()
    world.go_live(run=made)
    world.hour(), world.hour()
    slow = json.loads(json.dumps(IR).replace("echo trained", "while ! test -e go; do sleep 0.05; done"))
    slow = json.loads(json.dumps(slow).replace("test -e go", f"test -e {world.home}/go"))
    busy = world.platform.submit(slow, {}, {"name": "reviews", "text": "", "path": "", "digest": ""})["id"]
    alert = world.hour(OTHER)["alert"]
    assert (alert["run"], world.runs()) == (None, [busy, made])
    assert busy in alert["note"]
    (world.home / "go").touch()
    assert world.ended(busy) == "SUCCEEDED"
    world.loop.look_once()
    assert world.view()["alert"]["run"] == world.runs()[0]
    assert len(world.runs()) == 3


def test_a_server_killed_between_looks_goes_on_and_looks_at_nothing_twice(world):
    world.go_live(run="", retrain=False)
    world.hour(), world.hour(), world.hour()
    world.loop = world.new_loop()
    world.loop.look_once()
    assert len(world.view()["windows"]) == 1
    view = world.hour(OTHER)
    assert [window["drifted"] for window in view["windows"]] == [False, True]
    assert view["windows"][1]["from"] > view["windows"][0]["to"]
    assert view["alert"]["run"] is None


def test_a_new_release_has_a_reference_of_its_own_and_ends_the_alert(world):
    world.go_live(retrain=False)
    for texts in (CALM, CALM, OTHER):
        world.hour(texts)
    assert world.view()["alert"]
    release = world.go_live("b", retrain=False)
    view = world.hour(OTHER, release=release)
    assert (view["release"], view["alert"], view["reference"]) == (release, None, None)
    world.hour(OTHER, release=release)
    assert world.hour(OTHER, release=release)["window"]["n"] == 1
    assert world.view()["alert"] is None


def test_copies_overrides_other_releases_and_further_requests_of_a_session_do_not_count(world):
    world.go_live(retrain=False)
    world.now += 3600
    rows = world.ask(CALM, 300)
    world.write([row | {"shadow_of": "r"} for row in rows])
    world.ask(CALM, 100, release="reviews@9.9.9")
    world.ask(CALM, 100, override=True)
    world.ask(CALM, 100, sticky="one")
    world.ask(CALM, 100, method="GET")
    world.loop.look_once()
    assert world.view()["state"]["have"] == 301


def test_a_lost_reference_is_said_and_made_anew(world):
    world.go_live(retrain=False)
    world.hour(), world.hour()
    (world.home / "endpoints/reviews/drift/1.json.gz").write_bytes(b"changed")
    view = world.hour()
    assert "was changed" in view["state"]["lost"]
    assert (view["reference"], view["window"]) == (None, None)
    world.hour(), world.hour()
    assert world.hour()["window"]["n"] == 1


def test_worse_feedback_and_errors_are_drift_and_better_ones_are_not(world):
    world.go_live(retrain=False)
    for share in (0.9, 0.9, 0.5, 1.0):
        first = world.count
        world.scores |= {f"q{first + n + 1}": float(n < share * WINDOW) for n in range(WINDOW)}
        view = world.hour(status=200 if share != 0.5 else 503)
        if share == 0.5:
            assert (verdicts(view)["feedback"], verdicts(view)["errors"]) == ("drift", "drift")
            assert verdicts(view)["output_label"] == "too few"
    assert (verdicts(view)["feedback"], verdicts(view)["errors"]) == ("none", "none")


def test_a_damaged_file_is_left_out(world):
    world.go_live(retrain=False)
    world.now += 3600
    world.ask(CALM, 100)
    world.write(world.rows(CALM, 50)).write_bytes(b"PAR1 no")
    world.loop.look_once()
    assert world.view()["state"]["have"] == 100


def test_a_request_in_a_file_and_in_what_that_was_merged_into_counts_once(world):
    world.go_live(retrain=False)
    world.now += 3600
    first, second = world.ask(CALM, 30), world.ask(CALM, 30)
    folder, day = world.home / "endpoints/reviews/requests", "2026-03-01"
    write_part(folder, day, (1, 2), pl.DataFrame(first + second), 1)
    world.loop.look_once()
    assert len(list((folder / day).glob("*.parquet"))) == 3
    assert world.view()["state"]["have"] == 60


def test_of_more_requests_than_are_held_some_of_all_hours_are_kept_and_all_are_counted(world, monkeypatch):
    monkeypatch.setattr(request_rows, "MAX_LINES", 50)
    world.now += 3600
    world.ask(CALM, 200)
    world.ask(CALM, 200)
    bounds = (world.home / "endpoints/reviews", "reviews@1.0.0", 0.0, world.now)
    kept = request_rows.lines(*bounds)
    assert (len(kept.lines), kept.total) == (50, 400)
    assert 10 < sum(int(line.id[1:]) > 200 for line in kept.lines) < 40
    assert [line.at for line in kept.lines] == sorted(line.at for line in kept.lines)
    first = request_rows.lines(*bounds, first=True)
    assert max(line.at for line in first.lines) < world.now - 2500


def test_scores_are_the_mean_of_a_request_s_over_all_pages_of_the_table():
    given = [("a", 1.0), ("b", 0.0), ("a", 0.0), ("c", 1.0)]
    rows = [SimpleNamespace(n=n, request_id=id, score=score) for n, (id, score) in enumerate(given, 1)]
    store = SimpleNamespace(since=lambda endpoint, n, limit: [row for row in rows if row.n > n][:limit])
    assert scores_of(store, limit=2)("e", ["a", "b"]) == {"a": 0.5, "b": 0.0}


def test_a_request_counts_once_it_has_settled_and_looks_may_be_seconds_apart(world):
    world.go_live(retrain=False, every_s=10.0, settle_s=2.0)
    world.now += 5
    world.write([row | {"at": world.now - age} for age in (3.0, 1.0) for row in world.ask(CALM, 1)])
    world.loop.look_once()
    assert world.view()["state"]["have"] == 1
    world.now += 9
    world.loop.look_once()
    assert world.view()["state"]["have"] == 1  # not due yet
    world.now += 1
    world.loop.look_once()
    assert world.view()["state"]["have"] == 2
