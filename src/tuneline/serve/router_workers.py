"""Several router processes on one socket. The first is the parent of the others, and routes as they do.

Each says in `workers/PID.json` which generation it applies and what it has under way, and once a second in
`workers/PID.metrics` its figures. The parent starts again who dies and says in `ack.json` what holds for
all: also for those that are left of a parent that was killed, and end what they have. A worker whose parent
is gone takes nothing new.
"""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneline.serve import traffic as traffic_file
from tuneline.serve.holder import FIRST_DELAY_S, MAX_DELAY_S, STEADY_S, started

FOLDER = "workers"


class Notes:
    """What this worker says to the others, and what they say."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._pid = folder / FOLDER, os.getpid()
        self._mine = {"pid": self._pid, "started": started(self._pid)}
        self._read: dict[str, tuple[tuple[int, int, int], dict[str, Any]]] = {}

    def say(self, generation: int, in_flight: Mapping[str, int]) -> None:
        """Say what is applied here. Raises: OSError."""
        self._replace("json", {"generation": generation, "in_flight": dict(in_flight)})

    def say_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Keep figures for whoever is asked for them. In any thread."""
        with suppress(OSError):
            self._replace("metrics", {"metrics": metrics})

    def others(self) -> dict[int, dict[str, Any]]:
        """What every other worker last said, by pid; read anew only if it changed."""
        found: dict[int, dict[str, Any]] = {}
        for path in self._paths("json"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            before = self._read.get(path.stem)
            if before is None or before[0] != seen:
                self._read[path.stem] = before = (seen, traffic_file.read_json(path))
            if "generation" in before[1]:
                found[int(path.stem)] = before[1]
        return found

    def metrics_of_others(self) -> Iterator[Mapping[str, Any]]:
        """The figures of every other worker that is alive, of the last second or the one before."""
        for path in self._paths("metrics"):
            body = traffic_file.read_json(path)
            if "metrics" in body and _alive(body):
                yield body["metrics"]

    def sweep(self) -> None:
        """Forget workers that are dead."""
        for path in [*self._paths("json"), *self._paths("metrics")]:
            body = traffic_file.read_json(path)
            if body and not _alive(body):
                path.unlink(missing_ok=True)

    def forget(self, pid: int) -> None:
        """A worker is gone."""
        self._read.pop(str(pid), None)
        for kind in ("json", "metrics"):
            (self._folder / f"{pid}.{kind}").unlink(missing_ok=True)

    def leave(self) -> None:
        """This worker is gone."""
        self.forget(self._pid)

    def _paths(self, kind: str) -> list[Path]:
        mine = str(self._pid)
        return [path for path in self._folder.glob(f"*.{kind}") if path.stem.isdigit() and path.stem != mine]

    def _replace(self, kind: str, body: Mapping[str, Any]) -> None:
        self._folder.mkdir(exist_ok=True)
        traffic_file.replace_json(self._folder / f"{self._pid}.{kind}", {**self._mine, **body})


@dataclass(slots=True)
class _Child:
    process: subprocess.Popen[bytes] | None = None
    begun: float = 0.0
    delay_s: float = 0.0
    wait_until: float = 0.0


class Workers:
    """The children of the first worker."""

    def __init__(self, folder: Path, listening: int, options: Sequence[str], notes: Notes) -> None:
        """listening: the socket's file descriptor. options: what else each is started with."""
        self._folder, self._listening, self._options, self._notes = folder, listening, options, notes
        self._children: dict[int, _Child] = {}
        self._leaving: list[subprocess.Popen[bytes]] = []

    def look(self, wanted: int) -> None:
        """Start those of `wanted` workers, this one among them, that do not run; end those beyond."""
        self._reap()
        for number in [each for each in self._children if each >= wanted]:
            process = self._children.pop(number).process
            if process is not None:
                process.terminate()
                self._leaving.append(process)
        for number in range(1, wanted):
            child = self._children.setdefault(number, _Child())
            if child.process is None and time.monotonic() >= child.wait_until:
                self._start(number, child)

    def agreed(self, generation: int, in_flight: Mapping[str, int]) -> tuple[int, dict[str, int]] | None:
        """The generation that all apply, and what all have under way; None: one has not said yet."""
        said = self._notes.others()
        mine = [each.process.pid for each in self._children.values() if each.process is not None]
        if not all(pid in said for pid in mine):
            return None
        total = Counter(in_flight)
        for each in said.values():
            total.update(each["in_flight"])
        return min([generation, *(int(each["generation"]) for each in said.values())]), dict(total)

    def end(self) -> None:
        """Tell all to end what they have, and take nothing new."""
        self.look(1)

    @property
    def count(self) -> int:
        """How many run, those that are ending among them."""
        running = [each for each in self._children.values() if each.process is not None]
        return len(running) + len(self._leaving)

    def kill(self) -> None:
        """End those that are still there."""
        for process in self._leaving:
            process.kill()
            process.wait()
        self._reap()

    def _reap(self) -> None:
        for process in [each for each in self._leaving if each.poll() is not None]:
            self._leaving.remove(process)
            self._notes.forget(process.pid)
        for number, child in self._children.items():
            if child.process is None or (code := child.process.poll()) is None:
                continue
            _say(f"worker {number} ({child.process.pid}) ended with {code}; starting it again")
            self._notes.forget(child.process.pid)
            steady = time.monotonic() - child.begun > STEADY_S
            child.delay_s = 0.0 if steady else min(max(child.delay_s * 2, FIRST_DELAY_S), MAX_DELAY_S)
            child.process, child.wait_until = None, time.monotonic() + child.delay_s

    def _start(self, number: int, child: _Child) -> None:
        words = ["--dir", self._folder, "--fd", self._listening, "--worker", number, "--parent", os.getpid()]
        command = [sys.executable, "-m", "tuneline.serve.router", *map(str, words), *self._options]
        try:
            child.process = subprocess.Popen(command, pass_fds=[self._listening])
        except OSError as error:
            _say(f"worker {number} cannot be started: {error}")
            child.wait_until = time.monotonic() + MAX_DELAY_S
            return
        child.begun = time.monotonic()


def _alive(body: Mapping[str, Any]) -> bool:
    pid, begun = body.get("pid"), body.get("started")
    return isinstance(pid, int) and started(pid) == begun and begun is not None


def _say(text: str) -> None:
    print(f"router {os.getpid()}: {text}", file=sys.stderr, flush=True)  # noqa: T201 - its log is stderr
