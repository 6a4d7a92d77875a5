"""What the router tells about its requests: counters for `/router/metrics`, and a line a request in segment
files.

Counting is a dictionary and a list; writing happens in a thread about once a second. Lines that cannot be
written (a full disk) are dropped and counted, never waited for.
"""

import bisect
import json
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEGMENT_BYTES = 16 * 1024 * 1024
MAX_SEGMENTS = 64
"""Older ones are deleted: a gigabyte of request lines is kept."""
MAX_LINES = 200_000
"""Lines held in memory at most."""
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


@dataclass(slots=True)
class RequestLine:
    """One request, as it ended."""

    at: float
    """Unix seconds when it began."""
    id: str
    release: str
    """Empty if no revision was asked."""
    revision: str
    method: str
    path: str
    """Without the query, which may hold secrets."""
    status: int
    """What the client was answered; 499: it hung up first; 0: its answer was cut off."""
    ms: float
    bytes_in: int
    """Of the request's body."""
    bytes_out: int
    """Of the response's body."""
    sticky: str
    """A digest of the sticky key; empty if there was none."""
    retries: int
    override: bool = False
    """Whether the caller named the revision: such a request counts in no statistics."""
    shadow_of: str = ""
    """The revision whose request this is a copy of: that one's line has the same `id`."""
    agrees: bool | None = None
    """Of a copy: whether both answers were equal; None: that cannot be told."""
    request: str | None = None
    """The request's body, only where the endpoint keeps bodies."""
    response: str | None = None

    def text(self) -> str:
        """As JSON, with its newline; the fields from `override` on only where they say something."""
        body: dict[str, Any] = {
            "at": round(self.at, 6), "id": self.id, "release": self.release, "revision": self.revision,
            "method": self.method, "path": self.path, "status": self.status, "ms": round(self.ms, 3),
            "bytes_in": self.bytes_in, "bytes_out": self.bytes_out, "sticky": self.sticky,
            "retries": self.retries,
        }  # fmt: skip
        if self.override:
            body["override"] = True
        if self.shadow_of:
            body["shadow_of"], body["agrees"] = self.shadow_of, self.agrees
        if self.request is not None:
            body["request"] = self.request
        if self.response is not None:
            body["response"] = self.response
        return json.dumps(body, separators=(",", ":")) + "\n"


class Metrics:
    """Counters since the process began."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.retries = 0
        self.dropped_lines = 0
        self._seconds: dict[str, list[int]] = {}
        self._sums: Counter[str] = Counter()

    def count(self, release: str, status: int, seconds: float) -> None:
        """One request ended."""
        self.requests[release, status] += 1
        buckets = self._seconds.get(release)
        if buckets is None:
            buckets = self._seconds[release] = [0] * (len(BUCKETS_S) + 1)
        buckets[bisect.bisect_left(BUCKETS_S, seconds)] += 1
        self._sums[release] += seconds  # type: ignore[assignment] # a Counter adds floats as well

    def text(self, in_flight: dict[str, int], generation: int) -> str:
        """Prometheus' text format. in_flight: by revision id."""
        lines = ["# TYPE tuneline_router_requests_total counter"]
        lines += [
            f'tuneline_router_requests_total{{release="{release}",code="{code}"}} {count}'
            for (release, code), count in sorted(self.requests.items())
        ]
        name = "tuneline_router_request_duration_seconds"
        lines.append(f"# TYPE {name} histogram")
        for release, buckets in sorted(self._seconds.items()):
            total = 0
            for bound, count in zip((*BUCKETS_S, "+Inf"), buckets, strict=True):
                total += count
                lines.append(f'{name}_bucket{{release="{release}",le="{bound}"}} {total}')
            lines.append(f'{name}_sum{{release="{release}"}} {self._sums[release]:.6f}')
            lines.append(f'{name}_count{{release="{release}"}} {total}')
        lines.append("# TYPE tuneline_router_requests_in_flight gauge")
        lines += [
            f'tuneline_router_requests_in_flight{{revision="{revision}"}} {count}'
            for revision, count in sorted(in_flight.items())
        ]
        for name, kind, value in (
            ("retries_total", "counter", self.retries),
            ("request_lines_dropped_total", "counter", self.dropped_lines),
            ("traffic_generation", "gauge", generation),
        ):
            lines += [f"# TYPE tuneline_router_{name} {kind}", f"tuneline_router_{name} {value}"]
        return "\n".join(lines) + "\n"


class Segments:
    """`segments/00000001.jsonl` and so on: appended to, rotated by size. A new process begins a new one."""

    def __init__(self, folder: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._lines: deque[str] = deque()
        self._number = 0
        self._size = 0

    def add(self, line: RequestLine) -> bool:
        """Keep `line` for the next `write`; False if it had to be dropped.

        It becomes text here, a little with each request: a thread that did a second's worth at once would
        keep Python's lock for milliseconds.
        """
        if len(self._lines) >= MAX_LINES:
            return False
        self._lines.append(line.text())
        return True

    def write(self) -> int:
        """Append what was added; how many lines were lost because that failed. In any thread."""
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        if not lines:
            return 0
        data = "".join(lines).encode()
        try:
            self._append(data)
        except OSError:
            self._number = 0  # what was written of it may end in half a line
            return len(lines)
        return 0

    def _append(self, data: bytes) -> None:
        if self._number == 0 or self._size >= self._segment_bytes:
            self._next()
        with (self._folder / f"{self._number:08d}.jsonl").open("ab") as file:
            file.write(data)
        self._size += len(data)

    def _next(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        there = sorted(path for path in self._folder.glob("*.jsonl") if path.stem.isdigit())
        self._number, self._size = int(there[-1].stem) + 1 if there else 1, 0
        for old in there[: -MAX_SEGMENTS + 1]:
            old.unlink(missing_ok=True)
