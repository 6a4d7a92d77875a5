"""The router's figures, for `/router/metrics`. Whichever worker is asked adds up those of all."""

import bisect
from collections import Counter
from collections.abc import Mapping
from typing import Any

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_KINDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "requests_total": ("counter", ("release", "code")),
    "override_requests_total": ("counter", ("release", "code")),
    "rejected_total": ("counter", ("revision", "reason")),
    "mirrored_total": ("counter", ("revision", "agrees")),
    "mirrors_dropped_total": ("counter", ("reason",)),
    "retries_total": ("counter", ()),
    "request_lines_dropped_total": ("counter", ()),
    "requests_in_flight": ("gauge", ("revision",)),
    "queued_requests": ("gauge", ("revision",)),
    "mirrors_in_flight": ("gauge", ()),
    "workers": ("gauge", ()),
    "traffic_generation": ("gauge", ()),
}
"""Each figure's kind and labels. Those without labels are shown when they are 0, too."""
_SECONDS = "tuneline_router_request_duration_seconds"


class Metrics:
    """Counters since the process began."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._seconds: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def count(self, release: str, status: int, seconds: float) -> None:
        """One request ended."""
        self._counts["requests_total", release, str(status)] += 1
        buckets = self._seconds.get(release)
        if buckets is None:
            buckets = self._seconds[release] = [0] * (len(BUCKETS_S) + 1)
            self._sums[release] = 0.0
        buckets[bisect.bisect_left(BUCKETS_S, seconds)] += 1
        self._sums[release] += seconds

    def more(self, name: str, *labels: str, by: int = 1) -> None:
        """Something else happened. name: of `_KINDS`, with its labels."""
        self._counts[name, *labels] += by

    def to_json(self) -> dict[str, Any]:
        """As JSON, for `add` in another process."""
        counts = [[*key, number] for key, number in self._counts.items()]
        return {"counts": counts, "seconds": self._seconds, "sums": self._sums}

    def add(self, body: Mapping[str, Any]) -> None:
        """Add another process' figures. Raises: KeyError, TypeError, ValueError if they are none."""
        for *key, number in body["counts"]:
            self._counts[tuple(map(str, key))] += int(number)
        for release, buckets in body["seconds"].items():
            mine = self._seconds.get(release, [0] * len(buckets))
            self._seconds[release] = [a + b for a, b in zip(mine, buckets, strict=True)]
            self._sums[release] = self._sums.get(release, 0.0) + body["sums"][release]

    def text(self, generation: int) -> str:
        """Prometheus' text format."""
        lines: list[str] = []
        self._counts["traffic_generation",] = generation
        for name, (kind, labels) in _KINDS.items():
            lines.append(f"# TYPE tuneline_router_{name} {kind}")
            found = sorted(key for key in self._counts if key[0] == name)
            for key in found or ([] if labels else [(name,)]):
                pairs = ",".join(
                    f'{label}="{_safe(value)}"' for label, value in zip(labels, key[1:], strict=True)
                )
                lines.append(
                    f"tuneline_router_{name}{'{' + pairs + '}' if pairs else ''} {self._counts[key]}"
                )
        return "\n".join([*lines, *self._histogram()]) + "\n"

    def _histogram(self) -> list[str]:
        lines = [f"# TYPE {_SECONDS} histogram"]
        for release, buckets in sorted(self._seconds.items()):
            total = 0
            for bound, count in zip((*BUCKETS_S, "+Inf"), buckets, strict=True):
                total += count
                lines.append(f'{_SECONDS}_bucket{{release="{_safe(release)}",le="{bound}"}} {total}')
            lines.append(f'{_SECONDS}_sum{{release="{_safe(release)}"}} {self._sums[release]:.6f}')
            lines.append(f'{_SECONDS}_count{{release="{_safe(release)}"}} {total}')
        return lines


def _safe(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
