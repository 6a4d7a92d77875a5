"""A real server over a real record. Only what executes runs is a double, of our own Protocol `Runs`."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from tuneline.actions import Platform
from tuneline.actions.ports import Server
from tuneline.client import Client
from tuneline.plan.events import CancelRequested, RunEnded, RunRetried, RunStarted
from tuneline.record.record import Record
from tuneline.web import create_app


class Obedient:
    """Writes the events that a runner would write at once, and leaves the rest to the test."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.leases = {}

    def start(self, new, lease) -> None:
        self.leases[new.run] = lease
        self.record.runs.append(lease, [RunStarted()], time.time())

    def cancel(self, run, by) -> None:
        events = [CancelRequested(by), RunEnded("CANCELED")]
        self.record.runs.append(self.leases[run], events, time.time())

    def retry(self, new, lease, by) -> None:
        self.leases[new.run] = lease
        self.record.runs.append(lease, [RunRetried(by, ("hello",))], time.time())


IR = {
    "schemaVersion": "2.1.0",
    "pipelineInfo": {"name": "greet"},
    "components": {"comp-hello": {"executorLabel": "exec-hello"}},
    "deploymentSpec": {
        "executors": {"exec-hello": {"container": {"image": "tuneline", "command": ["true"]}}}
    },
    "root": {
        "dag": {"tasks": {"hello": {"componentRef": {"name": "comp-hello"}, "taskInfo": {"name": "hello"}}}}
    },
}


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Obedient]:
    record = Record(f"sqlite:///{tmp_path / 'tuneline.db'}")
    record.migrate()
    yield Obedient(record)
    record.close()


@pytest.fixture
def asked_to_stop() -> list[bool]:
    return []


@pytest.fixture
def platform(runner: Obedient, tmp_path: Path, asked_to_stop: list[bool]) -> Platform:
    server = Server("127.0.0.1", 0, 1, tmp_path, "0.0.0", 1_800_000_000.0, "ann")
    return Platform(runner.record, runner, server, asked_to_stop.append)


@pytest.fixture
def url(platform: Platform) -> Iterator[str]:
    """A real uvicorn in a thread: about 60 ms, for the client and the wire together."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        create_app(platform), lifespan="off", log_config=None, timeout_graceful_shutdown=2
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    platform.close()
    server.should_exit = True
    thread.join()
    listening.close()


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as made:
        yield made


@pytest.fixture
def ir() -> dict:
    return IR
