"""The runner's Protocols, kept in memory or in a file of lines, and images and pipelines for tests.

The file is read anew and written with one `write` a transaction, so a killed process leaves whole lines
behind, as the record leaves whole transactions.
"""

import json
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tuneline.execute.images import Call, OwnImage, Program
from tuneline.execute.submitted import Submitted
from tuneline.plan.events import (
    CacheHit,
    Child,
    Event,
    Lease,
    LeaseLost,
    Stored,
    TaskSucceeded,
    from_json,
    to_json,
)
from tuneline.types import RunId
from tuneline_ir import Container


class EventLog:
    """EventSink, EventSource and Cache. With `path`, it lives on in a file."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.stored: list[Stored] = []
        self.points: list[tuple[str, str, dict[str, Any]]] = []
        self.tokens: dict[str, int] = {}
        self.broken: Exception | None = None
        self.together: list[list[str]] = []
        """Kinds of what was stored in one transaction."""
        self._lock = threading.Lock()
        if path is not None and path.exists():
            whole = path.read_bytes()
            for line in whole[: whole.rfind(b"\n") + 1].splitlines():
                for body in json.loads(line):
                    event = from_json(body["event"])
                    self.stored.append(Stored(body["run"], len(self.stored) + 1, body["at"], event))

    def lease(self, run: str) -> Lease:
        self.tokens[run] = self.tokens.get(run, 0) + 1
        return Lease(RunId(run), self.tokens[run])

    def append(self, lease: Lease, events: Sequence[Event], at: float) -> list[Stored]:
        with self._lock:
            if self.broken is not None:
                raise self.broken
            if self.tokens.get(lease.run, 0) > lease.token:
                raise LeaseLost(lease.run)
            new = [Stored(lease.run, len(self.stored) + n, at, event) for n, event in enumerate(events, 1)]
            if self.path is not None:
                line = json.dumps([{"run": s.run, "at": s.at, "event": to_json(s.event)} for s in new])
                descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
                os.write(descriptor, line.encode() + b"\n")
                os.close(descriptor)
            self.stored.extend(new)
            self.together.append([event.kind for event in events])
            return new

    def check(self, lease: Lease) -> None:
        with self._lock:
            if self.broken is not None:
                raise self.broken
            if self.tokens.get(lease.run, 0) > lease.token:
                raise LeaseLost(lease.run)

    def series(self, run: RunId, task: str, points: Sequence[Mapping[str, Any]]) -> None:
        self.points.extend((run, task, dict(point)) for point in points)

    def events(self, run: RunId, after: int = 0) -> Iterable[Stored]:
        return [stored for stored in self.stored if stored.run == run and stored.seq > after]

    def find(self, key: str) -> CacheHit | None:
        for stored in reversed(self.stored):
            if isinstance(stored.event, TaskSucceeded) and stored.event.cache_key == key:
                return CacheHit(stored.run, stored.event.task, stored.event.outputs)
        return None

    def of(self, run: str) -> list[Event]:
        return [stored.event for stored in self.stored if stored.run == run]

    def kinds(self, run: str, task: str | None = None) -> list[str]:
        return [e.kind for e in self.of(run) if task is None or getattr(e, "task", None) == task]


class HostImage:
    """The image `host`: commands of this machine as they are."""

    def faults(self, container: Container) -> list[str]:
        return []

    def digest(self, container: Container) -> str:
        return "host"

    def program(self, call: Call) -> Program:
        return Program(command=tuple(call.words))


class FunctionImage(HostImage):
    """The image `noop`: `noop_step.main` in a fork of the shim, as our own image runs steps."""

    def program(self, call: Call) -> Program:
        return Program(entry="noop_step:main", args=tuple(call.words))


IMAGES = {"tuneline": OwnImage(), "host": HostImage(), "noop": FunctionImage()}


def submitted(run: str, ir: Mapping[str, Any], parameters: Mapping[str, Any] | None = None) -> Submitted:
    """A run as it is given to the runner."""
    return Submitted(RunId(run), ir, parameters or {}, 1_795_000_000.0)


def children(ir: Mapping[str, Any]) -> tuple[Child, ...]:
    """The tasks of a flat pipeline."""
    return tuple(Child(name, "task", name) for name in ir["root"]["dag"]["tasks"])


def pipeline(tasks: Mapping[str, Mapping[str, Any]], name: str = "test") -> dict[str, Any]:
    """IR of container tasks.

    A task: {"sh": script, "after": [...], "retries": n, "backoff": "1s", "cached": bool, "out": [parameters],
    "made": [artifacts], "given": {input: constant or (task, output)}, "read": {artifact: (task, output)},
    "image": "host", "command": [...]}.
    """
    body: dict[str, Any] = {
        "pipelineInfo": {"name": name},
        "components": {},
        "deploymentSpec": {"executors": {}},
        "root": {"dag": {"tasks": {}}},
        "schemaVersion": "2.1.0",
    }
    for key, task in tasks.items():
        given, read = task.get("given", {}), task.get("read", {})
        text = {"parameterType": "STRING"}
        artifact = {"artifactType": {"schemaTitle": "system.Artifact", "schemaVersion": "0.0.1"}}
        body["components"][f"comp-{key}"] = {
            "executorLabel": f"exec-{key}",
            "inputDefinitions": {
                "parameters": dict.fromkeys(given, text),
                "artifacts": dict.fromkeys(read, artifact),
            },
            "outputDefinitions": {
                "parameters": dict.fromkeys(task.get("out", []), text),
                "artifacts": dict.fromkeys(task.get("made", []), artifact),
            },
        }
        command = task.get("command") or ["sh", "-c", task.get("sh", "true")]
        container = {"image": task.get("image", "host"), "command": command}
        body["deploymentSpec"]["executors"][f"exec-{key}"] = {"container": container}
        body["root"]["dag"]["tasks"][key] = {
            "componentRef": {"name": f"comp-{key}"},
            "cachingOptions": {"enableCache": True} if task.get("cached") else {},
            "dependentTasks": list(task.get("after", [])),
            "inputs": {
                "parameters": {name: _given(value) for name, value in given.items()},
                "artifacts": {
                    name: {"taskOutputArtifact": {"producerTask": up, "outputArtifactKey": output}}
                    for name, (up, output) in read.items()
                },
            },
            "retryPolicy": {
                "maxRetryCount": task.get("retries", 0),
                "backoffDuration": task.get("backoff", "0s"),
            },
        }
    return body


def _given(value: Any) -> dict[str, Any]:
    if isinstance(value, tuple):
        return {"taskOutputParameter": {"producerTask": value[0], "outputParameterKey": value[1]}}
    return {"runtimeValue": {"constant": value}}
