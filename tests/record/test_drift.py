"""Windows, alerts and the runs they start, on both databases."""

import pytest

from tuneline.errors import ConflictError, NotFoundError
from tuneline.record import drift
from tuneline.record.drift import NewWindow


@pytest.fixture
def live(record, proposal):
    """An endpoint with a live release, as it is watched."""
    made = record.releases.propose(proposal(), 10.0)
    record.endpoints.went_live("reviews", made.release, "", "approved", "ann", 20.0)
    return record.drift.watched()[0]


def window(at, *drifted):
    names = ("errors", "feedback")
    findings = [
        {
            "detector": name, "verdict": "drift" if name in drifted else "none", "value": 0.5,
            "p": 1e-8 if name in drifted else 0.5, "threshold": 1e-5, "reference_n": 200, "window_n": 100,
            "said": "users' words",
        }
        for name in names
    ]  # fmt: skip
    return NewWindow(at, at - 50, at - 1, 100, findings, drifted, f"{drifted} drifted" if drifted else "")


def looked(record, live, at, *drifted):
    return record.drift.looked(live, at, {"after": at}, {"digest": "d"}, {}, window(at, *drifted))


def kinds(record):
    return [entry.kind for entry in record.ledger.entries()]


def test_an_alert_opens_once_gathers_detectors_and_ends_with_a_calm_window(record, live):
    assert (live.release, live.spell, live.live_from) == ("reviews@1.0.0", 1, 20.0)
    assert looked(record, live, 100.0) is None
    assert looked(record, live, 200.0, "errors") == "reviews-1-2"
    assert looked(record, live, 300.0, "feedback") is None
    assert record.drift.open_alert("reviews")["detectors"] == ["errors", "feedback"]
    looked(record, live, 400.0)
    assert record.drift.open_alert("reviews") is None
    assert looked(record, live, 500.0, "errors") == "reviews-1-5"
    alerts = record.drift.alerts("reviews")
    assert [(alert["at"], alert["ended_at"]) for alert in alerts] == [(500.0, None), (200.0, 400.0)]
    assert [row["n"] for row in record.drift.windows("reviews")] == [5, 4, 3, 2, 1]
    assert kinds(record)[-3:] == ["drift", "drift_ended", "drift"]
    told = record.ledger.entries()[-1].body
    assert '"p":1e-08' in told
    assert "users' words" not in told
    assert record.drift.watch("reviews")["looked_at"] == 500.0


def test_an_alert_starts_one_run_and_another_only_after_a_while(record, live):
    first = looked(record, live, 100.0, "errors")
    with record._store.write() as db:
        drift.retrained(db, first, "run-1", 0.0, 110.0)
    assert record.drift.last_retrain("reviews") == 110.0
    with pytest.raises(ConflictError, match="has one"), record._store.write() as db:
        drift.retrained(db, first, "run-2", 1000.0, 1110.0)
    looked(record, live, 200.0)
    second = looked(record, live, 300.0, "errors")
    with pytest.raises(ConflictError, match="one was recent"), record._store.write() as db:
        drift.retrained(db, second, "run-2", 100.0, 310.0)
    assert record.drift.open_alert("reviews")["run"] == ""
    with record._store.write() as db:
        drift.retrained(db, second, "run-2", 110.0, 320.0)
    assert [alert["run"] for alert in record.drift.alerts("reviews")] == ["run-2", "run-1"]
    with pytest.raises(NotFoundError), record._store.write() as db:
        drift.retrained(db, "gone", "run-3", 0.0, 1.0)
    assert kinds(record).count("retrain") == 2


def test_old_windows_are_forgotten_and_alerts_are_not(record, live, monkeypatch):
    monkeypatch.setattr(drift, "KEPT_WINDOWS", 3)
    for at in range(100, 700, 100):
        looked(record, live, float(at), *(["errors"] if at == 100 else []))
    assert [row["n"] for row in record.drift.windows("reviews")] == [6, 5, 4]
    assert len(record.drift.alerts("reviews")) == 1


def test_an_app_is_not_watched(record, live):
    with record._store.write() as db:
        db.execute(drift.endpoints.update().values(deploy={"runtime": "app"}))
    assert record.drift.watched() == []
