"""Request lines and scores, counted for a rollout: what came since the last look, by metric and by arm.

Reads the segments that the router writes, from where the last look ended; that place (`Cursor`) is kept in
the record with what the counts became, in one transaction, so nothing is counted twice or lost however the
server ends. A line that is not whole yet is read again later. Limits: segments that the router deleted before
they were read are lost; a score counts if its request is one of the last 200,000 of the rollout, and the
first score of a request counts.
"""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tuneline.plan.rollout import Observed
from tuneline.plan.rollouts import FeedbackSource, Score, Underway
from tuneline.plan.sequential import NOTHING, Counts

LOOK_BYTES = 4 * 1024 * 1024
"""Read at one look at most."""
SLICE = 64
"""Requests in a batch: many small ones show more than a large one."""
LEARN = 100
"""Answers of the stable release whose times make the bound of `slow`."""
PATIENCE_S = 10.0
"""How long a score waits for its request's line."""
KNOWN = 200_000
"""Requests whose arm is remembered for scores."""
REMEMBER = 4
"""Segments that are read again for that after a restart, the newest."""


@dataclass(frozen=True)
class Cursor:
    """What was read so far. JSON-able."""

    offsets: Mapping[str, int] = field(default_factory=dict)
    """Bytes read of each segment that there is. Several may grow at once: each worker of a router has its
    own."""
    score: int = 0
    """Number of the last score."""
    slow_ms: float = 0.0
    """A slow answer takes longer; 0: not known yet."""
    times: tuple[float, ...] = ()
    """Milliseconds of the stable release's answers, until there are enough."""

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Cursor":
        """What `to_json` wrote; empty: the beginning."""
        return cls(**{**body, "times": tuple(body.get("times", ()))}) if body else cls()


@dataclass
class _Slice:
    """Requests in a row, under the same weights."""

    lines: int = 0
    counts: dict[str, Counts] = field(default_factory=dict)

    def add(self, metric: str, candidate: bool, value: float) -> None:
        """One observation."""
        one = Counts(1, value, 0, 0.0) if candidate else Counts(0, 0.0, 1, value)
        self.counts[metric] = self.counts.get(metric, NOTHING) + one


class Tally:
    """Counts for one rollout, while this server lives."""

    def __init__(self, folder: Path, rollout: Underway, feedback: FeedbackSource | None) -> None:
        """folder: the endpoint's. What an earlier server counted is not counted again."""
        self._segments = folder / "segments"
        self._rollout, self._feedback = rollout, feedback
        self._arms: dict[str, bool] = {}
        self._scored: set[str] = set()
        self._remember(Cursor.from_json(rollout.cursor))

    def first(self) -> Cursor:
        """Where to begin: at the end of what is there; earlier answers of the stable release make the bound
        of `slow`."""
        plan, names = self._rollout.plan, _names(self._segments)
        offsets = {name: _size(self._segments / name) for name in names}
        cursor = Cursor(offsets, self._last_score(), plan.slow_ms)
        for text in _last_lines(self._segments, names):
            line = _parsed(text)
            if cursor.slow_ms == 0 and line is not None and line.get("release") == self._rollout.stable:
                cursor = self._learned(cursor, line)
        return cursor

    def read(self, cursor: Cursor, now: float) -> tuple[Observed, Cursor]:
        """What came since `cursor`, and the cursor after it; `Observed` without the candidate's state."""
        state, slices = self._rollout.state, [_Slice()]
        answered, errors = [0, 0], 0  # stable, candidate
        lines, after, behind = self._lines(cursor)
        later = False
        for line in lines:
            if not later and line["at"] >= state.since:
                slices.append(_Slice())
                later = True
            if slices[-1].lines >= SLICE:
                slices.append(_Slice())
            candidate = self._arm(line)
            if candidate is None:
                continue
            self._know(line, candidate)
            after = self._learned(after, line) if not candidate else after
            if state.step >= 0:
                self._count(slices[-1], line, candidate, after.slow_ms)
                answered[candidate] += later
                errors += candidate and _failed(line["status"])
        if state.step >= 0:
            after = self._scores(slices, after, now, behind)
        batches = tuple(each.counts for each in slices if each.counts)
        return Observed(batches, answered[1], answered[0], errors, behind=behind), after

    def follow(self, rollout: Underway) -> None:
        """The same rollout, as it was saved last."""
        self._rollout = rollout

    # Lines

    def _lines(self, cursor: Cursor) -> tuple[list[dict[str, Any]], Cursor, bool]:
        found: list[dict[str, Any]] = []
        left, offsets = LOOK_BYTES, {}
        for name in _names(self._segments):
            start = cursor.offsets.get(name, 0)
            data = _read(self._segments / name, start, left) if left > 0 else b""
            whole = data[: data.rfind(b"\n") + 1]
            offsets[name] = start + len(whole)
            found += [line for text in whole.splitlines() if (line := _parsed(text)) is not None]
            left -= len(data)
        found.sort(key=lambda line: float(line["at"]))
        return found, replace(cursor, offsets=offsets), left <= 0

    def _arm(self, line: Mapping[str, Any]) -> bool | None:
        """True: the candidate's. None: nobody's, or of a request that named its release."""
        if line.get("override"):
            return None
        release = line.get("release")
        if release == self._rollout.release:
            return True
        return False if release == self._rollout.stable and not line.get("shadow_of") else None

    def _know(self, line: Mapping[str, Any], candidate: bool) -> None:
        if not line.get("shadow_of"):
            self._arms[line["id"]] = candidate
            if len(self._arms) > KNOWN:
                del self._arms[next(iter(self._arms))]

    def _learned(self, cursor: Cursor, line: Mapping[str, Any]) -> Cursor:
        """The bound of `slow`, once enough of the stable release's answers were seen."""
        if cursor.slow_ms or not 200 <= line["status"] < 400 or line.get("override"):
            return cursor
        times = (*cursor.times, float(line["ms"]))
        if len(times) < LEARN:
            return replace(cursor, times=times)
        usual = sorted(times)[int(len(times) * 0.95)]
        return replace(cursor, slow_ms=round(1.5 * usual + 1.0, 3), times=())

    def _count(self, into: _Slice, line: Mapping[str, Any], candidate: bool, slow_ms: float) -> None:
        status, ms = line["status"], line["ms"]
        into.lines += 1
        into.add("errors", candidate, float(_failed(status)))
        answered = 200 <= status < 400 or (status == 499 and ms > slow_ms)
        # whoever hung up after the bound waited longer than it; what was asked again waited for somebody else
        if slow_ms and answered and not line.get("retries"):
            into.add("slow", candidate, float(ms > slow_ms))
        if candidate and line.get("shadow_of") and line.get("agrees") is not None:
            into.add("agreement", True, float(line["agrees"]))
            into.add("agreement", False, self._rollout.plan.min_agreement)

    # Scores

    def _scores(self, slices: list[_Slice], cursor: Cursor, now: float, behind: bool) -> Cursor:
        if self._feedback is None:
            return cursor
        for row in self._feedback.since(self._rollout.endpoint, cursor.score):
            candidate = self._arms.get(row.request_id)
            if candidate is None and (behind or now - row.at < PATIENCE_S):
                break  # its line is still to come
            if candidate is not None and row.request_id not in self._scored:
                self._scored.add(row.request_id)
                if slices[-1].lines >= SLICE:
                    slices.append(_Slice())
                slices[-1].lines += 1
                slices[-1].add("feedback", candidate, row.score)
            cursor = replace(cursor, score=row.n)
        return cursor

    def _last_score(self) -> int:
        last = 0
        for row in self._all_scores(0):
            last = row.n
        return last

    def _all_scores(self, after: int) -> Iterator[Score]:
        while self._feedback is not None:
            rows: Sequence[Score] = self._feedback.since(self._rollout.endpoint, after)
            if not rows:
                return
            yield from rows
            after = rows[-1].n

    def _remember(self, cursor: Cursor) -> None:
        """Which arm had which request, and what was scored, as an earlier server knew it."""
        if self._feedback is None:
            return
        for name, end in sorted(cursor.offsets.items())[-REMEMBER:]:
            for text in _read(self._segments / name, 0, end).splitlines():
                line = _parsed(text)
                candidate = None if line is None else self._arm(line)
                if line is not None and candidate is not None and line["at"] >= self._rollout.started_at:
                    self._know(line, candidate)
        rows = itertools.takewhile(lambda row: row.n <= cursor.score, self._all_scores(0))
        self._scored = {row.request_id for row in rows if row.request_id in self._arms}


def _failed(status: int) -> bool:
    """5xx, answers that were cut off (0), and 429: there was no room. What else a client does wrong (4xx), or
    hangs up on (499), is none."""
    return status >= 500 or status in (0, 429)


def _parsed(text: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
        line["at"], line["status"], line["ms"] = float(line["at"]), int(line["status"]), float(line["ms"])
        line["id"] = str(line["id"])
    except (ValueError, KeyError, TypeError):  # half a line that a full disk left
        return None
    return dict(line)


def _names(segments: Path) -> list[str]:
    """The files, in order."""
    return sorted(path.name for path in segments.glob("*.jsonl") if path.stem.isdigit())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _read(path: Path, start: int, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(most)
    except FileNotFoundError:  # deleted by the router meanwhile
        return b""


def _last_lines(segments: Path, names: Sequence[str]) -> list[bytes]:
    """The lines at the end of the newest segments, half a megabyte."""
    found: list[bytes] = []
    for name in names[-2:]:
        start = max(0, _size(segments / name) - 256 * 1024)
        lines = _read(segments / name, start, 256 * 1024).splitlines()
        found += lines[1:] if start else lines
    return found
