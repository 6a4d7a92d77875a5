"""The loop of drift: a thread of the server that compares what each live release is asked with its reference.

The reference is the first requests after the release went live (twice a window), kept as a file of features
beside the endpoint, with its digest on record. All else is in the record, so the server may be killed at any
moment: a window is looked at once, and an alert starts at most one run.
"""

import logging
import os
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tuneline.control.looping import Loop
from tuneline.errors import ConflictError, TunelineError
from tuneline.plan.drift import REFERENCE_WINDOWS, chance_per_test, judge
from tuneline.plan.drift_watch import (
    chosen,
    one_a_session,
    packed,
    settings_of,
    unpacked,
    why,
    with_feedback,
)
from tuneline.plan.samples import Sample, sample
from tuneline.record.drift import DriftRecord, NewWindow, Watched
from tuneline.spec.sections import Drift
from tuneline.types import Clock, digest_bytes

if TYPE_CHECKING:
    from tuneline.control.request_rows import Line

LOG = logging.getLogger("tuneline.control")
PERIOD_S = 5.0
"""Between two glances at what is due."""
FOLDER = "drift"
"""Below an endpoint's folder: its references."""

KEPT = 3
"""References kept of an endpoint: those of the last releases."""

Scores = Callable[[str, Collection[str]], Mapping[str, float]]
"""Feedback from 0 to 1 of an endpoint's requests, by request id."""


class Retrainer(Protocol):
    """Starts the run of an alert; `actions.drift.DriftActions` is one."""

    def retrain(self, alert: Mapping[Any, Any], settings: Drift) -> str:
        """The run's id, or "" if it may not be now."""
        ...


def no_scores(endpoint: str, ids: Collection[str]) -> Mapping[str, float]:
    """Where nobody gives feedback."""
    return {}


class FeedbackRow(Protocol):
    """One score."""

    n: int
    request_id: str
    score: float


class FeedbackStore(Protocol):
    """Where feedback is kept."""

    def since(self, endpoint: str, n: int, limit: int = ...) -> list[Any]:
        """Scores numbered above `n`, in order."""
        ...


def scores_of(store: FeedbackStore, limit: int = 10_000) -> Scores:
    """Scores of a feedback table: the mean of a request's, where it has several."""

    def scores(endpoint: str, ids: Collection[str]) -> Mapping[str, float]:
        wanted, found, n = set(ids), dict[str, list[float]](), 0
        while page := store.since(endpoint, n, limit):
            n = page[-1].n
            for row in page:
                if row.request_id in wanted:
                    found.setdefault(row.request_id, []).append(float(row.score))
        return {id: sum(each) / len(each) for id, each in found.items()}

    return scores


class DriftLoop:
    """Looks after drift at all endpoints of one home."""

    def __init__(
        self,
        store: DriftRecord,
        retrainer: Retrainer,
        folder: Path,
        scores: Scores = no_scores,
        clock: Clock = time.time,
    ) -> None:
        """folder: of all endpoints, one below it each."""
        self._store, self._retrainer, self._folder = store, retrainer, folder
        self._scores, self._clock = scores, clock
        self.loop = Loop("drift", self.look_once)

    def look_once(self) -> float:
        """Look at every endpoint whose time has come, and start runs that alerts wait for; seconds until the
        next look."""
        for watched in self._store.watched():
            if self.loop.stopped:
                break
            settings = settings_of(watched.deploy)
            try:
                if settings.detectors:
                    self._look_at(watched, settings)
                    self._retrain(watched, settings)
            except TunelineError as error:
                LOG.error("drift of %s: %s", watched.endpoint, error.message)
            except Exception:  # one that breaks must not keep the others from being watched
                LOG.exception("drift of %s: trying again", watched.endpoint)
        return PERIOD_S

    def _look_at(self, watched: Watched, settings: Drift) -> None:
        from tuneline.control import request_rows  # noqa: PLC0415 - polars, which no idle server needs

        now, before = self._clock(), self._store.watch(watched.endpoint)
        if before is None or before["spell"] != watched.spell:
            state: dict[str, Any] = {"after": watched.live_from - 1e-6}
            reference = None
        else:
            if before["looked_at"] <= now < before["looked_at"] + settings.every_s:
                return
            state, reference = dict(before["state"] or {}), before["reference"]
        until, after = now - settings.settle_s, float(state["after"])
        # younger requests are left to the next look: their lines may not be there yet
        found = request_rows.lines(
            self._place(watched), watched.release, after, until, first=reference is None
        )
        apart = one_a_session(found.lines)
        counts = {"requests": found.total, "same_session": len(found.lines) - len(apart)}
        wanted = settings.window * (REFERENCE_WINDOWS if reference is None else 1)
        phase = "reference" if reference is None else "window"
        if len(apart) < wanted:
            state |= {"phase": phase, "have": len(apart), "of": wanted}
            self._keep(watched, now, state, reference, settings)
        elif reference is None:
            self._begin(watched, settings, apart[:wanted], now)
        else:
            self._compare(watched, settings, reference, chosen(apart, wanted), (now, after, until), counts)

    def _begin(self, watched: Watched, settings: Drift, lines: "list[Line]", now: float) -> None:
        """Make the reference of the release's first requests."""
        data = packed(self._samples(watched, lines))
        file = self._file(watched)
        file.parent.mkdir(parents=True, exist_ok=True)
        scratch = file.with_name(f".{file.name}.{os.getpid()}")
        scratch.write_bytes(data)
        scratch.replace(file)
        for old in sorted(file.parent.glob("*.json.gz"), key=lambda each: each.stat().st_mtime)[:-KEPT]:
            old.unlink(missing_ok=True)
        reference = {
            "digest": digest_bytes(data),
            "requests": len(lines),
            "from_at": lines[0].at,
            "to_at": lines[-1].at,
            "source": "the first requests after it went live",
        }
        state = {"after": lines[-1].at, "phase": "window", "have": 0, "of": settings.window}
        self._keep(watched, now, state, reference, settings)

    def _compare(
        self,
        watched: Watched,
        settings: Drift,
        reference: Mapping[str, Any],
        lines: "list[Line]",
        times: tuple[float, float, float],
        counts: dict[str, Any],
    ) -> None:
        """Judge one window. times: now, and the bounds it lies between."""
        now, _, until = times
        try:
            earlier = self._reference(watched, reference)
        except (OSError, ConflictError) as error:
            LOG.warning("drift of %s: the reference is lost, a new one begins: %s", watched.endpoint, error)
            state = {"after": until, "phase": "reference", "have": 0, "lost": str(error)}
            self._keep(watched, now, state | {"of": settings.window * REFERENCE_WINDOWS}, None, settings)
            return
        samples = self._samples(watched, lines)
        findings = judge(earlier, samples, settings.detectors, chance_per_test(settings))
        window = NewWindow(
            at=now,
            from_at=lines[0].at,
            to_at=lines[-1].at,
            requests=len(samples),
            findings=[finding.to_json() for finding in findings],
            drifted=[finding.detector for finding in findings if finding.drifted],
            why=why(watched.release, findings),
            counts=counts | {"unknown": sum(not one.known for one in samples)},
        )
        state = {"after": until, "phase": "window", "have": 0, "of": settings.window}
        opened = self._keep(watched, now, state, reference, settings, window)
        if opened:
            LOG.warning("drift alert %s: %s", opened, window.why)

    def _retrain(self, watched: Watched, settings: Drift) -> None:
        alert = self._store.open_alert(watched.endpoint) if settings.retrain else None
        if alert is not None and not alert["run"] and alert["spell"] == watched.spell:
            self._retrainer.retrain(alert, settings)

    def _samples(self, watched: Watched, lines: "list[Line]") -> list[Sample]:
        from tuneline.control import request_rows  # noqa: PLC0415 - polars

        samples = [sample(row) for row in request_rows.rows(self._place(watched), lines)]
        return with_feedback(samples, self._scores(watched.endpoint, [one.id for one in samples]))

    def _reference(self, watched: Watched, known: Mapping[str, Any]) -> list[Sample]:
        """Raises: OSError, ConflictError if it is gone or was changed."""
        data = self._file(watched).read_bytes()
        if digest_bytes(data) != known["digest"]:
            raise ConflictError(f"{self._file(watched)} was changed.")
        return unpacked(data)

    def _keep(
        self,
        watched: Watched,
        now: float,
        state: Mapping[str, Any],
        reference: Mapping[str, Any] | None,
        settings: Drift,
        window: NewWindow | None = None,
    ) -> str | None:
        kept = {**vars(settings), "detectors": list(settings.detectors)}
        return self._store.looked(watched, now, state, reference, kept, window)

    def _place(self, watched: Watched) -> Path:
        return self._folder / watched.endpoint

    def _file(self, watched: Watched) -> Path:
        return self._place(watched) / FOLDER / f"{watched.spell}.json.gz"
