"""A whole server over a real record and a real runner, and the real client in an interpreter of its own.

The client's interpreter is started once a worker and asked flow after flow: importing kfp takes longer than
most flows.
"""

import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from tests.execute.doubles import IMAGES

from tuneline.actions import Platform
from tuneline.actions.ports import Server
from tuneline.execute.runner import Runner
from tuneline.record.record import Record
from tuneline.settings import Settings
from tuneline.web import create_app

HERE = Path(__file__).parent


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    made = Record(f"sqlite:///{tmp_path / 'tuneline.db'}")
    made.migrate()
    yield made
    made.close()


@pytest.fixture
def runner(record: Record, tmp_path: Path) -> Iterator[Runner]:
    made = Runner(record.runs, record.runs, record.runs, Settings(home=tmp_path, task_slots=4), images=IMAGES)
    made.start_thread()
    yield made
    made.stop()


@pytest.fixture
def platform(record: Record, runner: Runner, tmp_path: Path) -> Platform:
    server = Server("127.0.0.1", 0, 1, tmp_path, "0.0.0", 1_800_000_000.0, "ann")
    return Platform(record, runner, server, lambda all: None)


@pytest.fixture
def url(platform: Platform) -> Iterator[str]:
    """A real uvicorn in a thread: about 60 ms, for the client and the wire together."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        create_app(platform), lifespan="off", log_config=None, timeout_graceful_shutdown=2, http="httptools"
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
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{url}/apis/v2beta1", timeout=20) as client:
        yield client


@pytest.fixture(scope="session")
def sdk(kfp_python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Runs a function of `flows.py` where kfp is, and gives what it returns; its traceback is the failure."""
    home = tmp_path_factory.mktemp("kfp-home")
    child = subprocess.Popen(
        [kfp_python, str(HERE / "flows.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONUNBUFFERED": "1"},
    )
    assert child.stdin is not None
    assert child.stdout is not None

    def ask(flow: str, *args: Any) -> Any:
        child.stdin.write(json.dumps([flow, *args]) + "\n")
        child.stdin.flush()
        answer = json.loads(child.stdout.readline())
        if "error" in answer:
            pytest.fail(answer["error"], pytrace=False)
        return answer["result"]

    yield ask
    child.stdin.close()
    child.wait(20)
    child.stdout.close()
