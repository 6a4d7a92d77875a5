"""`tuneline drift` against a real API over a real record, and the report that it writes."""

import json
import re
import socket
import threading

import pytest
import uvicorn
from tests.control.drifting import CALM, World

from tuneline.cli.drift_report import bars, line
from tuneline.web import create_app


@pytest.fixture
def world(tmp_path, monkeypatch, tuneline):
    """A server in a thread, about 0.3 s with the record and the runner behind it."""
    made = World(tmp_path)
    listening = socket.create_server(("127.0.0.1", 0))
    served = uvicorn.Server(uvicorn.Config(create_app(made.platform), lifespan="off", log_config=None))
    thread = threading.Thread(target=served.run, kwargs={"sockets": [listening]})
    thread.start()
    monkeypatch.setenv("TUNELINE_URL", f"http://127.0.0.1:{listening.getsockname()[1]}")
    yield made
    made.platform.close()
    served.should_exit = True
    thread.join()
    listening.close()
    made.close()


def test_the_table_and_the_report_tell_what_drifted_since_when(world, tuneline, tmp_path):
    world.go_live(retrain=False)
    for texts in (CALM, CALM, CALM, ("<script>alert(1)</script> refund", "where & when")):
        world.hour(texts)
    ended = tuneline("drift", "reviews", "--report", "drift.html")
    assert ended.code == 0, ended.err
    words = next(row for row in ended.out.splitlines() if row.startswith("prompt_words "))
    assert re.match(r"prompt_words +drift +2026-03-01 15:10:00Z ", words)
    assert re.search(r"^output_label +none ", ended.out, re.MULTILINE)
    assert "any alarm within 30 days has a chance of at most 0.05 (6.9e-05 a look)" in ended.err
    assert "ALERT since 2026-03-01 16:00:00Z: requests of reviews@1.0.0 drifted: " in ended.err
    page = (tmp_path / "drift.html").read_text()
    assert page.count("<svg") == 14  # two for each of the seven that have values
    assert not re.search(r"https?:|src=|<script|<link|@import", page)
    assert "refund" in page
    found = json.loads(tuneline("drift", "reviews", "--json").out)
    assert found["windows"][-1]["findings"]["prompt_words"]["verdict"] == "drift"
    told = json.dumps([entry.body for entry in world.record.ledger.entries()])
    assert "refund" not in told + found["alert"]["why"]
    assert found["alert"]["detectors"] == found["alerts"][0]["detectors"]


def test_before_the_first_window_it_says_what_is_waited_for(world, tuneline, tmp_path):
    world.go_live(retrain=False)
    world.hour(count=120)
    ended = tuneline("drift", "reviews", "--report", str(tmp_path / "early.html"))
    assert (ended.code, ended.out) == (0, "")
    assert "No window of reviews was looked at yet." in ended.err
    assert "The next reference has 120 of 400 requests." in ended.err
    assert "<h1>Drift of reviews: reviews@1.0.0</h1>" in (tmp_path / "early.html").read_text()


def test_an_endpoint_that_is_not_there_and_a_report_that_cannot_be_written_are_told(world, tuneline):
    missing = tuneline("drift", "nowhere")
    assert missing.code == 1
    assert "There is no endpoint `nowhere`" in missing.err
    world.go_live(retrain=False)
    unwritten = tuneline("drift", "reviews", "--report", "no/such/folder.html")
    assert unwritten.code == 1
    assert "The report no/such/folder.html cannot be written" in unwritten.err


def test_bars_stand_on_the_axis_and_are_as_high_as_their_shares():
    found = bars({"labels": ["a", "b"], "reference": [1.0, 0.0], "window": [0.5, 0.5]})
    assert [rect["h"] for rect in found["rects"]] == [128, 64, 0, 64]
    assert all(rect["y"] + rect["h"] == 136 for rect in found["rects"])
    assert bars({}) is None


def test_a_line_leaves_out_windows_without_a_value_and_ends_at_the_floor():
    def window(p):
        finding = {"p": p, "value": 1.0, "verdict": "none" if p != 0 else "drift"}
        return {"at": "2026-03-01T12:00:00Z", "release": "m@1.0.0", "findings": {"errors": finding}}

    found = line([window(1.0), window(None), window(0.0)], "errors", 1e-5)
    assert [(dot["x"], dot["y"]) for dot in found["dots"]] == [(46, 136), (434, 8)]
    assert found["limit"] == pytest.approx(136 - 128 * 5 / 9, abs=0.1)
    assert line([window(None)], "errors", 1e-5) is None
