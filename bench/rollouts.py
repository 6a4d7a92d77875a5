"""Requests while releases are deployed, tried, promoted, taken back, crash and are restarted: none may fail.

    python bench/rollouts.py [--requests 100000] [--events 50] [--connections 8]

Record, controller, holder and router are the real ones; the runtimes are small HTTP servers of this script,
so that what is measured is the traffic and not a model. Load comes from another process, over connections
that are kept. A request fails if its answer is not 200, not whole, or does not come. As every HTTP client
does, it asks again if a kept connection was closed before a byte of an answer came; how often is printed.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tuneline.control import processes
from tuneline.control.endpoints import Controller
from tuneline.control.launching import warm_up
from tuneline.plan.endpoints import Desired, ReleaseFacts
from tuneline.plan.rollout_plan import RolloutPlan
from tuneline.record.record import Record
from tuneline.record.releases import Proposal
from tuneline.record.rollouts import Asked
from tuneline.types import digest_json

PLAN = RolloutPlan(
    stages=(10.0, 50.0), every_s=0.3, min_requests=50, slow_ms=60.0, margins={"errors": 0.1, "slow": 0.1}
)
NEVER = PLAN.changed(min_requests=10**9)
"""Decides nothing by itself but to roll back."""


class Launching:
    """This script as every release's runtime; some releases are slow."""

    def check(self, release: ReleaseFacts, desired: Desired) -> None:
        """Nothing to prove."""

    def command(self, release: ReleaseFacts, desired: Desired, port: int) -> list[str]:
        """This script, serving."""
        slow = "slow" in str(release.manifest.get("rows_digest"))
        return [sys.executable, __file__, "--serve", str(port), "--slow-ms", "120" if slow else "0"]

    def environment(self, release: ReleaseFacts) -> Mapping[str, str]:
        """Nothing."""
        return {}

    def is_ready(self, release: ReleaseFacts, port: int) -> bool:
        """Its `/health`."""
        return processes.is_healthy(port)

    def warm_up(self, release: ReleaseFacts, port: int) -> None:
        """One request."""
        warm_up(release.model, port)


class Home:
    """Record and controller, and the events."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = Record(f"sqlite:///{folder / 'record.db'}")
        self.record.migrate()
        self.number = 0
        self.up()

    def up(self) -> None:
        """A controller, as a server has one."""
        self.controller = Controller(
            self.record.endpoints,
            self.folder / "endpoints",
            launching=Launching(),
            rollouts=self.record.rollouts,
        )
        self.controller.start()

    def propose(self, *, approved: bool, slow: bool = False) -> str:
        """A fresh release; approved, it is wanted at once."""
        self.number += 1
        live = self.record.endpoints.live("e")
        rows = f"{'slow' if slow else 'quick'} {self.number}"
        proposal = Proposal(
            model="m", package_uri="/", package_digest=digest_json(rows), base_uri="/",
            base_digest=digest_json(""), manifest={"model": "m", "base": {}, "rows_digest": rows},
            verdict={"passed": True, "rules": []}, proof={"passed": True}, report={},
            deploy={"endpoint": "e", "port": 0, "keep_s": 5.0}, live_digest=live.digest if live else "",
            approved=approved, why="bench", run="", project_digest="", by="bench",
        )  # fmt: skip
        return self.record.releases.propose(proposal, time.time()).release

    def asked(self) -> Asked:
        """Now."""
        return Asked("bench", "bench", time.time())

    def seen(self) -> dict[str, object]:
        """What the controller saw last."""
        return self.record.endpoints.observed("e")

    def revision(self, release: str) -> dict[str, object]:
        """As the controller saw it last; empty if there is none."""
        found = self.seen().get("revisions") or []
        return next((each for each in found if each["release"] == release), {})

    def until(self, condition: object, what: str) -> None:
        """Wait for it, a minute at most."""
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, (what, self.seen(), self.record.rollouts.latest("e"))
            time.sleep(0.02)

    def live(self) -> str:
        """The live release; empty if there is none."""
        live = self.record.endpoints.live("e")
        return live.release if live else ""

    def until_live(self, release: str) -> None:
        """It is, and answers."""
        self.until(lambda: self.live() == release and self.seen().get("phase") == "live", f"{release} live")

    def until_ended(self, status: str) -> None:
        """The rollout under way."""
        self.until(lambda: self.record.rollouts.latest("e")["status"] == status, status)

    def tried(self, plan: RolloutPlan = NEVER, *, slow: bool = False) -> str:
        """A release that has its part."""
        release = self.propose(approved=False, slow=slow)
        self.record.rollouts.start("e", release, plan, self.asked(), True)
        self.until(lambda: float(self.revision(release).get("weight", 0)) > 0, f"{release} tried")
        return release

    # Events

    def deploy(self) -> None:
        """A switch."""
        self.until_live(self.propose(approved=True))

    def canary(self) -> None:
        """Promoted by its tests."""
        release = self.tried(PLAN)
        self.until_ended("promoted")
        self.until_live(release)

    def promote(self) -> None:
        """By hand."""
        release = self.tried()
        self.record.rollouts.end("e", "promote", self.asked())
        self.until_live(release)

    def rollback(self) -> None:
        """To the release before, by hand."""
        self.until_live(self.record.rollouts.go_back("e", None, self.asked()))

    def take_back(self) -> None:
        """What is tried, by hand."""
        release = self.tried()
        self.record.rollouts.end("e", "rollback", self.asked())
        self.until(lambda: not self.revision(release), "stopped")

    def slow(self) -> None:
        """Rolled back by its tests."""
        release = self.propose(approved=False, slow=True)
        self.record.rollouts.start("e", release, PLAN, self.asked(), True)
        self.until_ended("rolled_back")
        self.until(lambda: not self.revision(release), "stopped")

    def crash(self) -> None:
        """The candidate is killed and comes back."""
        release = self.tried()
        os.kill(int(self.revision(release)["pid"]), signal.SIGKILL)
        self.until(lambda: not float(self.revision(release).get("weight", 0)), "without its part")
        self.until(lambda: float(self.revision(release).get("weight", 0)) > 0, "back")
        self.record.rollouts.end("e", "rollback", self.asked())
        self.until(lambda: not self.revision(release), "stopped")

    def live_killed(self) -> None:
        """The live runtime is killed and comes back."""
        pid = self.revision(self.live())["pid"]
        os.kill(int(pid), signal.SIGKILL)
        self.until(
            lambda: (
                self.revision(self.live()).get("state") == "live" and self.revision(self.live())["pid"] != pid
            ),
            "live again",
        )

    def server_gone(self) -> None:
        """Nobody controls for a second, in the middle of a canary."""
        release = self.tried()
        self.controller.stop()
        time.sleep(1.0)
        self.up()
        self.record.rollouts.end("e", "promote", self.asked())
        self.until_live(release)

    def router_restarted(self) -> None:
        """SIGTERM to the router: it ends what it has, and the next one takes the socket."""
        file = self.folder / "endpoints" / "e" / "holder.json"
        pid = json.loads(file.read_text())["router_pid"]
        os.kill(pid, signal.SIGTERM)
        self.until(lambda: json.loads(file.read_text() or "{}").get("router_pid") != pid, "the next router")


EVENTS = (Home.deploy, Home.canary, Home.promote, Home.rollback, Home.take_back, Home.slow, Home.crash,
          Home.live_killed, Home.server_gone, Home.router_restarted)  # fmt: skip


async def load(port: int, wanted: int, connections: int) -> None:
    """Ask until `wanted` were answered and stdin ended; print what came of it."""
    count: Counter[str] = Counter()
    failures: list[str] = []
    slowest = 0.0
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), lambda: sys.stdin.readline() or over.set())

    async def ask(streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bool:
        """One request; whether the connection is kept."""
        reader, writer = streams
        writer.write(b"POST /v1/ask HTTP/1.1\r\nhost: e\r\ncontent-length: 2\r\n\r\n{}")
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").lower().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        body = await reader.readexactly(int(fields["content-length"]))
        status = lines[0].split()[1]
        count[status] += 1
        if status != "200" or body != b'{"fine": true}':
            failures.append(f"{status} {body[:200]!r}")
        return fields.get("connection") != "close"

    async def one() -> None:
        nonlocal slowest
        streams, fresh = None, True
        while not (over.is_set() and count.total() >= wanted):
            begun = time.monotonic()
            try:
                if streams is None:
                    streams, fresh = await asyncio.open_connection("127.0.0.1", port), True
                kept = await ask(streams)
            except (OSError, asyncio.IncompleteReadError) as error:
                empty = not isinstance(error, asyncio.IncompleteReadError) or not error.partial
                if streams is not None and not fresh and empty:
                    count["asked again"] += 1
                else:
                    failures.append(repr(error))
                kept = False
            slowest, fresh = max(slowest, time.monotonic() - begun), False
            if not kept and streams is not None:
                streams[1].close()
                streams = None
            await asyncio.sleep(0.003)

    await asyncio.gather(*(one() for _ in range(connections)))
    print(json.dumps({"count": count, "failures": failures, "slowest_s": slowest}))


async def serve(port: int, slow_ms: float) -> None:
    """A runtime: `/health` and one answer. SIGTERM lets what it has end."""
    stop, busy = asyncio.Event(), 0

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal busy
        try:
            while not stop.is_set():
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                busy += 1
                length = next(
                    (line for line in head.split("\r\n") if line.startswith("content-length:")), ":0"
                )
                await reader.readexactly(int(length.partition(":")[2]))
                if "/v1/ask" in head:
                    await asyncio.sleep(slow_ms / 1000)
                writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{"fine": true}')
                await writer.drain()
                busy -= 1
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    server.close()
    while busy > 0:
        await asyncio.sleep(0.01)


def measure(folder: Path, requests: int, events: int, connections: int) -> bool:
    """Whether nothing failed."""
    home = Home(folder)
    took: dict[str, list[float]] = {}
    try:
        home.deploy()
        home.deploy()
        port = str(home.seen()["port"])
        words = [sys.executable, __file__, "--load", port, "--requests", str(requests)]
        asking = subprocess.Popen(
            [*words, "--connections", str(connections)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        begun, chance = time.monotonic(), random.Random(1)
        for number in range(events):
            event = EVENTS[number % len(EVENTS)]
            at = time.monotonic()
            event(home)
            took.setdefault(event.__name__, []).append(time.monotonic() - at)
            time.sleep(chance.random() / 2)
        said, _ = asking.communicate("")
        seconds = time.monotonic() - begun
    finally:
        home.controller.stop(all=True)
    found = json.loads(said)
    answers = sum(n for status, n in found["count"].items() if status.isdigit())
    print(f"{answers} answers over {events} events in {seconds:.0f} s, {len(found['failures'])} failed")
    print(f"  {found['count']}, the longest took {found['slowest_s']:.2f} s")
    for name, times in took.items():
        mean = sum(times) / len(times)
        print(f"  {name:17} {len(times)} times, {mean:.2f} s on average, {max(times):.2f} at most")
    for failure in found["failures"][:5]:
        print(f"  {failure}")
    entries, faults = home.record.ledger.head()[0], len(home.record.ledger.verify())
    print(f"  the ledger of {entries} entries has {faults} faults")
    home.record.close()
    return not found["failures"] and answers >= requests


def main() -> None:
    """Exit with 1 if a request failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=50)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--serve", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--slow-ms", type=float, default=0.0, help=argparse.SUPPRESS)
    parser.add_argument("--load", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve, options.slow_ms))
    elif options.load:
        asyncio.run(load(options.load, options.requests, options.connections))
    else:
        with tempfile.TemporaryDirectory(prefix="tuneline-bench-") as name:
            sys.exit(0 if measure(Path(name), options.requests, options.events, options.connections) else 1)


if __name__ == "__main__":
    main()
