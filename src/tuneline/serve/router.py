"""The router of one endpoint: `python -m tuneline.serve.router --dir FOLDER --fd N`, where file descriptor N
is the listening socket.

It knows the world through `traffic.json` alone, looked at every 20 ms, and goes on with the last generation
when nobody writes it any more. It says in `ack.json` which generation it applies and how many requests each
revision still has. SIGTERM: it takes no new connection, ends what is under way within `--drain-s`, and exits
with 0; it does the same when its parent, the holder of the socket, is gone.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import uvloop

from tuneline.errors import TunelineError
from tuneline.serve import traffic as traffic_file
from tuneline.serve.router_client import Connection
from tuneline.serve.router_exchange import Exchange
from tuneline.serve.router_log import Metrics, RequestLine, Segments
from tuneline.serve.router_protocol import RequestHead
from tuneline.serve.router_upstream import Pool
from tuneline.serve.traffic import ACK_FILE, TRAFFIC_FILE, Revision, Traffic

POLL_S = 0.02
SWEEP_S = 1.0
IDLE_CLIENT_S = 75.0
HEAD_S = 60.0
"""How long a request's head may take to come."""
DRAIN_IDLE_S = 0.3
"""How long an idle client may still send a request after SIGTERM; it is then told to connect anew."""


class Router:
    """One process's state: traffic, connections, requests under way, counters."""

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.traffic = Traffic("", -1)
        self.pool = Pool(loop)
        self.draining = False
        self._folder = folder
        self._seen: tuple[int, int, int] | None = None
        self._said: tuple[int, dict[str, int]] | None = None
        self._in_flight: Counter[str] = Counter()
        self._exchanges: set[Exchange] = set()
        self._connections: set[Connection] = set()
        self._metrics = Metrics()
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

    def over(self, exchange: object, line: RequestLine) -> None:
        """A request ended."""
        self._exchanges.discard(exchange)
        self._metrics.count(line.release, line.status, line.ms / 1000)
        self._metrics.retries += line.retries
        if not self._segments.add(line):
            self._metrics.dropped_lines += 1

    def malformed(self, status: int) -> None:
        """Something came that is no request."""
        self._metrics.count("", status, 0.0)

    def own_answer(self, head: RequestHead) -> tuple[int, bytes, bytes] | None:
        """Status, content type and body of `/router/...`; None if there is no such thing."""
        path = head.target.partition(b"?")[0]
        if path == b"/router/health":
            return 200, b"application/json", json.dumps(self._health()).encode()
        if path == b"/router/metrics":
            text = self._metrics.text(dict(self._in_flight), self.traffic.generation)
            return 200, b"text/plain; version=0.0.4; charset=utf-8", text.encode()
        return None

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
        self._acknowledge()

    def sweep(self) -> None:
        """End what took too long, on either side."""
        for exchange in list(self._exchanges):
            exchange.check_time(time.monotonic())
        now = self.loop.time()
        for connection in list(self._connections):
            quiet_s = now - connection.quiet_since
            if (connection.idle and quiet_s > IDLE_CLIENT_S) or (connection.stalled and quiet_s > HEAD_S):
                connection.close()
        self.pool.sweep({(each.host, each.port) for each in self.traffic.revisions})

    def write_lines(self) -> None:
        """Append the request lines since the last call to their segment. In any thread."""
        self._metrics.dropped_lines += self._segments.write()

    async def drain(self, within_s: float) -> None:
        """Let what is under way end; then close every connection."""
        self.draining = True
        begun = self.loop.time()
        while self._connections and (spent_s := self.loop.time() - begun) < within_s:
            for connection in list(self._connections):
                if connection.idle and spent_s > DRAIN_IDLE_S:
                    connection.close()
            await asyncio.sleep(POLL_S)
            self.look()
        for connection in list(self._connections):
            connection.close()
        await asyncio.sleep(0)

    def _apply(self, traffic: Traffic) -> None:
        if traffic.generation < self.traffic.generation:
            _say(
                f"generation {traffic.generation} is older than {self.traffic.generation}, and is not applied"
            )
            return
        self.traffic = traffic
        self.pool.sweep({(each.host, each.port) for each in traffic.revisions if each.weight > 0})

    def _acknowledge(self) -> None:
        """Write ack.json when the generation changed, or a count of a revision that gets nothing new."""
        asked = {each.id for each in self.traffic.revisions if each.weight > 0}
        draining = {name: count for name, count in self._in_flight.items() if name not in asked and count}
        state = (self.traffic.generation, draining)
        if state == self._said or self.traffic.generation < 0:
            return
        counts = {each.id: self._in_flight[each.id] for each in self.traffic.revisions} | draining
        body = {"generation": self.traffic.generation, "pid": os.getpid(), "in_flight": counts}
        try:
            traffic_file.replace_json(self._folder / ACK_FILE, body)
            self._said = state
        except OSError as error:
            _say(f"ack.json cannot be written: {error}")
        for name in [name for name, count in self._in_flight.items() if not count]:
            del self._in_flight[name]

    def _health(self) -> dict[str, object]:
        return {
            "status": "draining" if self.draining else "ok",
            "endpoint": self.traffic.endpoint,
            "generation": self.traffic.generation,
            "pid": os.getpid(),
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


async def serve(folder: Path, listening: socket.socket, drain_s: float) -> None:
    """Route until SIGTERM, SIGINT, or the end of the parent."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    router = Router(folder, loop)
    router.look()
    server = await loop.create_server(lambda: Connection(router), sock=listening, backlog=4096)
    parent = os.getppid()
    writing: asyncio.Future[None] | None = None
    swept = loop.time()
    while not stop.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), POLL_S)
        router.look()
        if os.getppid() != parent:
            _say("the holder of the socket is gone; draining")
            break
        if loop.time() - swept >= SWEEP_S:
            swept = loop.time()
            router.sweep()
            if writing is None or writing.done():
                writing = loop.run_in_executor(None, router.write_lines)
    server.close()
    await router.drain(drain_s)
    if writing is not None:
        await writing
    router.write_lines()


def main(arguments: Sequence[str]) -> int:
    """Route until told to stop. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tuneline.serve.router", description="Route one endpoint."
    )
    parser.add_argument("--dir", type=Path, required=True, help="the endpoint's folder, with traffic.json")
    parser.add_argument("--fd", type=int, required=True, help="file descriptor of the listening socket")
    parser.add_argument("--drain-s", type=float, default=30.0, help="what open requests may take at the end")
    options = parser.parse_args(arguments)
    listening = socket.socket(fileno=options.fd)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(options.dir, listening, options.drain_s))
    return 0


def _say(text: str) -> None:
    print(f"router {os.getpid()}: {text}", file=sys.stderr, flush=True)  # noqa: T201 - its log is stderr


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
