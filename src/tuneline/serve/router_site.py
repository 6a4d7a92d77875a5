"""One router process's state: traffic, connections, requests under way, copies, counters."""

import asyncio
import functools
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from tuneline.errors import TunelineError
from tuneline.serve import traffic as traffic_file
from tuneline.serve.router_client import Connection
from tuneline.serve.router_exchange import Exchange
from tuneline.serve.router_kept import Held
from tuneline.serve.router_log import RequestLine, Segments
from tuneline.serve.router_metrics import Metrics
from tuneline.serve.router_mirror import Mirrors, Original
from tuneline.serve.router_places import Places
from tuneline.serve.router_ports import Ended
from tuneline.serve.router_protocol import RequestHead
from tuneline.serve.router_renaming import path_of, renames
from tuneline.serve.router_upstream import Pool
from tuneline.serve.router_workers import Notes, Workers
from tuneline.serve.traffic import ACK_FILE, TRAFFIC_FILE, Revision, Traffic

POLL_S = 0.02
IDLE_CLIENT_S = 75.0
HEAD_S = 60.0
"""How long a request's head may take to come."""
DRAIN_IDLE_S = 0.3
"""How long an idle client may still send a request after SIGTERM; it is then told to connect anew."""


class Router:
    """One process's state: traffic, connections, requests under way, counters."""

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop, worker: int, of: int | None) -> None:
        """worker: 0 for the one that answers for all. of: how many there are; None: as traffic.json says."""
        self.loop = loop
        self.traffic = Traffic("", -1)
        self.pool = Pool(loop)
        self.draining = False
        self.places = Places(worker, of or 1)
        self.held = Held()
        self.mirrors = Mirrors(self)
        self.notes = Notes(folder)
        self.workers: Workers | None = None
        """The other workers, where this is their parent."""
        self.sticky_names: Mapping[bytes, int] = {}
        self.override_name = b""
        self.renaming = False
        self._own_paths: frozenset[bytes] = frozenset()
        self._folder, self._worker, self._of = folder, worker, of
        self._seen: tuple[int, int, int] | None = None
        self._said: tuple[int, dict[str, int]] | None = None
        self._in_flight: Counter[str] = Counter()
        self._exchanges: set[Exchange] = set()
        self._connections: set[Connection] = set()
        self._metrics = Metrics()
        self._shown: dict[str, Any] | None = None
        self._segments = Segments(folder / "segments")

    # What connections and exchanges call

    def opened(self, connection: Connection) -> None:
        """A client came."""
        self._connections.add(connection)

    def closed(self, connection: Connection) -> None:
        """It went."""
        self._connections.discard(connection)

    def began(self, exchange: Exchange) -> None:
        """A request came."""
        self._exchanges.add(exchange)

    def moved(self, before: Revision | None, after: Revision | None) -> None:
        """A request counts for another revision now."""
        if before is not None:
            self._in_flight[before.id] -= 1
        if after is not None:
            self._in_flight[after.id] += 1

    def over(self, exchange: Ended, line: RequestLine) -> None:
        """A request ended; now its copy may go to the shadow."""
        self._exchanges.discard(cast(Exchange, exchange))
        if line.override:
            self.count("override_requests_total", line.release, str(line.status))
        else:
            self._metrics.count(line.release, line.status, line.ms / 1000)
        if line.retries:
            self._metrics.more("retries_total", by=line.retries)
        self._keep(line)
        kept = exchange.kept
        if kept is None:
            return
        if kept.shadow and exchange.answered and line.revision != kept.shadow:
            self.mirrors.begin(Original(exchange.head, exchange.host, line, kept))
        else:
            kept.free()

    def rejected(self, revision: Revision, reason: str) -> None:
        """A request found no place."""
        self.count("rejected_total", revision.id, reason)

    def count(self, name: str, *labels: str) -> None:
        """One more of a figure."""
        self._metrics.more(name, *labels)

    def mirrored(self, line: RequestLine) -> None:
        """A copy was answered and compared."""
        self.count("mirrored_total", line.revision, json.dumps(line.agrees))
        self._keep(line)

    def _keep(self, line: RequestLine) -> None:
        if not self._segments.add(line):
            self.count("request_lines_dropped_total")

    def malformed(self, status: int) -> None:
        """Something came that is no request."""
        self._metrics.count("", status, 0.0)

    def own_answer(self, head: RequestHead) -> tuple[int, bytes, bytes] | None:
        """Status, content type and body of what `owns` says; None if there is no such thing."""
        path = path_of(head.target)
        if path == b"/" and head.method in (b"GET", b"HEAD") and self.traffic.page:
            return 200, b"text/html; charset=utf-8", page()
        if path == b"/router/health":
            return 200, b"application/json", json.dumps(self._health()).encode()
        if path == b"/router/metrics":
            return 200, b"text/plain; version=0.0.4; charset=utf-8", self._figures().encode()
        return None

    def owns(self, head: RequestHead) -> bool:
        """Whether a request is answered here, whatever is served."""
        if head.target.startswith(b"/router/"):
            return True
        return bool(self._own_paths) and path_of(head.target) in self._own_paths

    # The world

    def look(self) -> None:
        """Apply the newest traffic, if there is any newer, and say how far draining is."""
        path = self._folder / TRAFFIC_FILE
        try:
            status = os.stat(path)
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            if seen != self._seen:
                self._seen = seen
                self._apply(traffic_file.read(path))
        except FileNotFoundError:
            pass
        except (OSError, TunelineError) as error:
            _say(f"traffic.json cannot be read, the last one holds: {error}")
        if self.workers is not None:
            self.workers.look(1 if self.draining else self.count_of_workers)
        self._acknowledge()

    @property
    def count_of_workers(self) -> int:
        """How many there shall be, this one among them."""
        return self._of or self.traffic.workers

    def sweep(self) -> None:
        """End what took too long, on either side; and what is left of workers that are dead."""
        if self._worker == 0:
            self.notes.sweep()
        for exchange in list(self._exchanges):
            exchange.check_time(time.monotonic())
        now = self.loop.time()
        for connection in list(self._connections):
            quiet_s = now - connection.quiet_since
            if (connection.idle and quiet_s > IDLE_CLIENT_S) or (connection.stalled and quiet_s > HEAD_S):
                connection.close()
        self.pool.sweep({(each.host, each.port) for each in self.traffic.revisions})
        self._shown = self._with_gauges().to_json() if self.count_of_workers > 1 else None

    def write_lines(self) -> None:
        """Append the request lines since the last call to their segment, and show figures to other workers.
        In any thread."""
        lost = self._segments.write()
        if lost:
            self.loop.call_soon_threadsafe(lambda: self._metrics.more("request_lines_dropped_total", by=lost))
        if self._shown is not None:
            self.notes.say_metrics(self._shown)

    async def drain(self, within_s: float) -> None:
        """Let what is under way end; then close every connection."""
        self.draining = True
        begun = self.loop.time()
        if self.workers is not None:
            self.workers.end()
        while self._others or self._connections:
            if (spent_s := self.loop.time() - begun) >= within_s:
                break
            for connection in list(self._connections):
                if connection.idle and spent_s > DRAIN_IDLE_S:
                    connection.close()
            await asyncio.sleep(POLL_S)
            self.look()
        for connection in list(self._connections):
            connection.close()
        self.mirrors.withdraw("stopped")
        while self._others and self.loop.time() - begun < within_s + 1:  # they end by themselves as well
            await asyncio.sleep(POLL_S)
            self.look()
        if self.workers is not None:
            self.workers.kill()
        self.notes.leave()
        self._shown = None
        await asyncio.sleep(0)

    @property
    def _others(self) -> int:
        return self.workers.count if self.workers is not None else 0

    def _apply(self, traffic: Traffic) -> None:
        if traffic.generation < self.traffic.generation:
            _say(
                f"generation {traffic.generation} is older than {self.traffic.generation}, and is not applied"
            )
            return
        self.traffic = traffic
        shadow = traffic.shadow.revision if traffic.shadow else ""
        asked = {each for each in traffic.revisions if each.weight > 0 or each.id == shadow}
        self.pool.sweep({(each.host, each.port) for each in asked})
        names = [name.lower().encode("latin-1") for name in traffic.sticky_headers]
        self.sticky_names = {name: rank for rank, name in reversed(list(enumerate(names)))}
        self.override_name = traffic.override_header.lower().encode("latin-1")
        self.renaming = renames(traffic)
        paths = (*traffic.closed, *(["/"] if traffic.page else []))
        self._own_paths = frozenset(path.encode() for path in paths)
        self.places.share(self.count_of_workers)
        self.mirrors.follow()
        for waiting in self.places.everybody():
            cast(Exchange, waiting).reconsider()
        for revision in self.places.queued:
            self.places.admit(revision, traffic.limits)

    def _acknowledge(self) -> None:
        """Say what is applied when the generation changed, or a count of a revision that gets nothing new."""
        if self.traffic.generation < 0:
            return
        asked = {each.id for each in self.traffic.revisions if each.weight > 0}
        counts = {each.id: self._in_flight[each.id] for each in self.traffic.revisions}
        counts |= {name: count for name, count in self._in_flight.items() if name not in counts and count}
        generation = self.traffic.generation
        if self.workers is not None:
            agreed = self.workers.agreed(generation, counts)
            if agreed is None:
                return
            generation, counts = agreed
        state = (generation, {name: count for name, count in counts.items() if name not in asked and count})
        if state == self._said:
            return
        try:
            if self._worker == 0:
                body = {"generation": generation, "pid": os.getpid(), "in_flight": counts}
                traffic_file.replace_json(self._folder / ACK_FILE, body)
            else:
                self.notes.say(generation, counts)
            self._said = state
        except OSError as error:
            _say(f"what is applied cannot be written: {error}")
        for name in [name for name, count in self._in_flight.items() if not count]:
            del self._in_flight[name]

    def _with_gauges(self) -> Metrics:
        metrics = Metrics()
        metrics.add(self._metrics.to_json())
        for name, numbers in (
            ("requests_in_flight", self._in_flight),
            ("queued_requests", self.places.queued),
        ):
            for revision, number in numbers.items():
                metrics.more(name, revision, by=number)
        metrics.more("mirrors_in_flight", by=len(self.mirrors))
        metrics.more("workers")
        return metrics

    def _figures(self) -> str:
        metrics = self._with_gauges()
        if self.count_of_workers > 1:
            for each in self.notes.metrics_of_others():
                with suppress(KeyError, TypeError, ValueError):
                    metrics.add(each)
        return metrics.text(self.traffic.generation)

    def _health(self) -> dict[str, object]:
        return {
            "status": "draining" if self.draining else "ok",
            "endpoint": self.traffic.endpoint,
            "generation": self.traffic.generation,
            "pid": os.getpid(),
            "workers": self.count_of_workers,
            "revisions": [
                {
                    "id": each.id,
                    "release": each.release,
                    "weight": each.weight,
                    "in_flight": self._in_flight[each.id],
                }
                for each in self.traffic.revisions
            ],
        }


@functools.cache
def page() -> bytes:
    """The page to talk to the endpoint."""
    return files("tuneline.serve").joinpath("static/index.html").read_bytes()


def _say(text: str) -> None:
    print(f"router {os.getpid()}: {text}", file=sys.stderr, flush=True)  # noqa: T201 - its log is stderr
