"""Real holders, routers and (model-less) runtimes; the record is a double of our own Protocol."""

import http.client
import json
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from tests.living import living

from tuneline.control import processes
from tuneline.control.endpoints import Controller
from tuneline.control.launching import warm_up
from tuneline.errors import ConflictError, NotFoundError, ProofError
from tuneline.plan.endpoints import Desired, Live, ReleaseFacts

PROGRAM = Path(__file__).with_name("runtime_program.py")


class Store:
    """`EndpointStore` in memory; what it keeps outlives any controller."""

    def __init__(self):
        self.lock = threading.RLock()
        self.wanted = {}
        self.seen = {}
        self.lives = {}
        self.history = []
        self.since = {}
        self.wakes = []

    def want(self, release, *, endpoint="e", live_digest=None, **more):
        with self.lock:
            before = self.wanted.get(endpoint) or Desired(endpoint, 0, None, "", why="asked for", by="ann")
            live = self.lives.get(endpoint)
            digest = live_digest if live_digest is not None else (live.digest if live else "")
            self.wanted[endpoint] = replace(
                before, generation=before.generation + 1, release=release, live_digest=digest, **more
            )
        for wake in self.wakes:
            wake()

    def desired(self):
        with self.lock:
            return [self.wanted[name] for name in sorted(self.wanted)]

    def release(self, release):
        if release.startswith("gone"):
            raise NotFoundError(f"There is no release {release}.")
        return ReleaseFacts(release, release.partition("@")[0], Path(), digest(release), Path(), {}, {})

    def live(self, endpoint):
        return self.lives.get(endpoint)

    def observed(self, endpoint):
        return json.loads(json.dumps(self.seen.get(endpoint, {})))

    def observe(self, endpoint, observed, at):
        with self.lock:
            self.seen[endpoint] = json.loads(json.dumps(observed))
        for wake in self.wakes:
            wake()

    def went_live(self, endpoint, release, live_digest, why, by, at):
        with self.lock:
            live = self.lives.get(endpoint)
            if live and live.release == release:
                return
            if (live.digest if live else "") != live_digest:
                raise ConflictError("Another release is live.")
            self.lives[endpoint] = Live(release, digest(release))
            self.history.append((release, why, by))
            self.since[endpoint] = at

    def retire(self, endpoint, why, by, at):
        if self.lives.pop(endpoint, None):
            self.history.append((None, why, by))

    @contextmanager
    def listening(self, wake):
        self.wakes.append(wake)
        yield
        self.wakes.remove(wake)


def digest(release):
    return f"sha256:{release}"


class Launching:
    """The tests' program instead of a model. Releases are told apart by name: `bad@..` ends at once."""

    def __init__(self):
        self.started = []
        self.more = {}
        """Options of the program, by release."""

    def check(self, release, desired):
        if release.model == "unproven":
            raise ProofError("Serving it this way was never proven.", hint="Run the project again.")

    def command(self, release, desired, port):
        self.started.append(release.release)
        more = {"bad": ["--fail"], "stuck": ["--never-ready"]}.get(release.model, [])
        more = self.more.get(release.release, more)
        return [sys.executable, str(PROGRAM), "--port", str(port), "--release", release.release, *more]

    def environment(self, release):
        return {}

    def is_ready(self, release, port):
        return processes.is_healthy(port)

    def warm_up(self, release, port):
        warm_up(release.model, port)


class World:
    """A home with endpoints, and a server's controller that may come and go."""

    def __init__(self, folder):
        self.folder, self.store, self.launching = folder, Store(), Launching()
        self.controller = None

    def up(self, **more):
        options = {"drain_s": 5.0, "start_timeout_s": 30.0} | more
        self.controller = Controller(self.store, self.folder, launching=self.launching, **options)
        self.controller.start()

    def server_dies(self):
        """As far as anybody outside can tell: its controller does nothing more."""
        self.controller.stop()

    def seen(self, endpoint="e"):
        return self.store.observed(endpoint)

    def until(self, condition, within_s=20.0):
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, self.seen()
            time.sleep(0.01)

    def until_live(self, release, endpoint="e", within_s=20.0):
        def is_live():
            seen = self.seen(endpoint)
            live = self.store.live(endpoint)
            return seen.get("phase") == "live" and live and live.release == release

        self.until(is_live, within_s)

    def until_phase(self, phase):
        self.until(lambda: self.seen().get("phase") == phase)

    def revision(self, release, endpoint="e"):
        return next((each for each in self.seen(endpoint)["revisions"] if each["release"] == release), None)

    def ask(self, path="/v1/completions", endpoint="e", timeout_s=15.0):
        connection = http.client.HTTPConnection("127.0.0.1", self.seen(endpoint)["port"], timeout=timeout_s)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def answered_by(self):
        status, body = self.ask()
        assert status == 200, body
        return json.loads(body)["release"]

    def processes(self):
        """Everything that runs for this home."""
        found = []
        for process in living():
            try:
                mine = str(self.folder) in " ".join(process.cmdline()) or str(
                    self.folder
                ) in process.environ().get(processes.MARK, "")
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "endpoints")
    yield world
    if world.controller is not None:
        world.controller.stop()
        for process in world.processes():
            with suppress(psutil.NoSuchProcess):  # its guard was quicker
                process.kill()
