"""Drift as the API tells it, and the run that an alert may start. `platform.drift`.

The run is the one that made the live release, started again as it was: same pipeline, parameters, project and
gate. It and the alert's mark are one transaction, so an alert starts at most one, whatever is killed when.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tuneline.actions.pipelines import new_run_id
from tuneline.actions.starting import Starter
from tuneline.actions.views import moment
from tuneline.errors import ConflictError, NotFoundError, TransientError, TunelineError
from tuneline.execute.submitted import read_secrets
from tuneline.plan.drift import chance_per_look, chance_per_test, looks_in_period
from tuneline.plan.drift_watch import settings_of, since
from tuneline.record.drift import retrained
from tuneline.record.record import Record
from tuneline.record.runs import NewRun
from tuneline.spec.sections import Drift
from tuneline.types import Clock, RunId

LOG = logging.getLogger("tuneline.actions")
Json = dict[str, Any]
Row = Mapping[Any, Any]


class DriftActions:
    """Drift of one home's endpoints. Thread-safe."""

    def __init__(self, record: Record, starter: Starter, home: Path, clock: Clock) -> None:
        self._record = record
        self._starter = starter
        self._home = home
        self._clock = clock

    def of(self, endpoint: str, limit: int = 500) -> Json:
        """What is watched, the newest window's findings, alerts, and p-values over time.

        Raises: NotFoundError if there is no such endpoint.
        """
        row, watch = self._record.endpoints.get(endpoint), self._record.drift.watch(endpoint)
        settings = settings_of(row["deploy"] or {})
        windows = self._record.drift.windows(endpoint, limit)
        spell = watch["spell"] if watch else None
        mine = [window for window in windows if window["spell"] == spell]
        alerts = [_alert(alert) for alert in self._record.drift.alerts(endpoint)]
        return {
            "endpoint": endpoint,
            "release": watch["release"] if watch else None,
            "settings": _settings(settings),
            "state": (watch["state"] or {}) if watch else {"phase": "not watched yet"},
            "looked_at": moment(watch["looked_at"]) if watch else None,
            "reference": _reference(watch["reference"]) if watch else None,
            "window": _window(mine) if mine else None,
            "alert": next((alert for alert in alerts if alert["ended_at"] is None), None),
            "alerts": alerts,
            "windows": [_point(window) for window in reversed(windows)],
        }

    def retrain(self, alert: Row, settings: Drift) -> str:
        """Start the run of an alert, if it may be now; its id, or "" with the reason noted at the alert."""
        if alert["run"]:
            return ""
        last, now = self._record.drift.last_retrain(alert["endpoint"]), self._clock()
        if last is not None and now < last + settings.retrain_every_s:
            return self._not_yet(alert, f"a run was started {moment(last)}: the next may be from "
                                        f"{moment(last + settings.retrain_every_s)} on")  # fmt: skip
        try:
            new = self._again(alert["release"], now)
            self._starter.start(
                new,
                lambda db: retrained(db, alert["id"], new.id, now - settings.retrain_every_s, now),
            )
        except (ConflictError, NotFoundError) as error:
            return self._not_yet(alert, error.message)
        except TransientError:
            raise
        except TunelineError as error:
            LOG.error("drift alert %s: its run cannot start: %s", alert["id"], error.message)
            return self._not_yet(alert, error.message)
        LOG.info("drift alert %s: run %s", alert["id"], new.id)
        return str(new.id)

    def _again(self, release: str, now: float) -> NewRun:
        """The run that made `release`, once more. Raises: NotFoundError if it is not on record here."""
        made = self._record.releases.get(release)["run"]
        try:
            row = self._record.runs.get(RunId(made), deleted=True)
        except NotFoundError as error:
            raise NotFoundError(f"The run that made {release} is not on record: {made or 'none'}.") from error
        run = new_run_id(now)
        secrets = read_secrets(self._home / "runs" / row["id"])
        return NewRun(
            id=run,
            name=f"{row['project']}-{run}",
            project=row["project"],
            ir=self._record.runs.ir(RunId(row["id"])),
            parameters={**(row["parameters"] or {}), **secrets},
            project_text=row["project_text"],
            project_path=row["project_path"],
            project_digest=row["project_digest"],
            experiment=row["experiment"],
            plugins_input=row["plugins_input"],
        )

    def _not_yet(self, alert: Row, note: str) -> str:
        if alert["note"] != note:
            self._record.drift.note(alert["id"], note)
        return ""


def _settings(settings: Drift) -> Json:
    return {
        "every_s": settings.every_s,
        "settle_s": settings.settle_s,
        "window": settings.window,
        "alpha": settings.alpha,
        "detectors": list(settings.detectors),
        "retrain": settings.retrain,
        "retrain_every_s": settings.retrain_every_s,
        "looks_in_30_days": looks_in_period(settings.every_s),
        "alpha_per_look": chance_per_look(settings),
        "alpha_per_test": chance_per_test(settings),
    }


def _reference(found: Row | None) -> Json | None:
    if found is None:
        return None
    times = {"from": moment(found["from_at"]), "to": moment(found["to_at"])}
    return {"requests": found["requests"], **times, "digest": found["digest"], "source": found["source"]}


def _window(windows: Sequence[Row]) -> Json:
    """The newest, with since when each detector says drift."""
    newest = windows[0]
    findings = []
    for finding in newest["findings"]:
        first = since(windows, finding["detector"]) if finding["verdict"] == "drift" else None
        findings.append({**finding, "since": moment(first["from_at"]) if first else None})
    return {
        "n": newest["n"],
        "at": moment(newest["at"]),
        "from": moment(newest["from_at"]),
        "to": moment(newest["to_at"]),
        "requests": newest["requests"],
        "counts": newest["counts"] or {},
        "findings": findings,
    }


def _point(window: Row) -> Json:
    findings = {each["detector"]: {key: each[key] for key in ("value", "p", "verdict")}
                for each in window["findings"]}  # fmt: skip
    times = {"at": moment(window["at"]), "from": moment(window["from_at"]), "to": moment(window["to_at"])}
    return {
        "n": window["n"], "release": window["release"], **times, "requests": window["requests"],
        "drifted": bool(window["drifted"]), "findings": findings,
    }  # fmt: skip


def _alert(alert: Row) -> Json:
    return {
        "id": alert["id"],
        "release": alert["release"],
        "at": moment(alert["at"]),
        "ended_at": moment(alert["ended_at"]),
        "detectors": alert["detectors"],
        "why": alert["why"],
        "run": alert["run"] or None,
        "run_at": moment(alert["run_at"]),
        "note": alert["note"],
    }
