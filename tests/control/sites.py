"""Servers in this process: each with its home, record, runner, the followers of other engines, and HTTP."""

import socket
import threading
import time
from pathlib import Path
from typing import Any

import uvicorn
from tests.execute.doubles import IMAGES

from tuneline.actions import Platform
from tuneline.actions.ports import Server
from tuneline.client.engines import open_engine
from tuneline.control.remote import RemoteRuns
from tuneline.control.remote_outputs import Found
from tuneline.control.runners import Runners
from tuneline.execute.runner import Runner
from tuneline.execute.stores import Stores
from tuneline.record.record import Record
from tuneline.settings import Settings
from tuneline.web import create_app


class Site:
    """One home's server. `stop` and a new `Site` of the same home and port are a restart."""

    def __init__(self, home: Path, port: int = 0, *, reports: bool = False) -> None:
        """reports: whether tasks elsewhere are told where this server is."""
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self._listening = socket.create_server(("127.0.0.1", port))
        self.port = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        settings = Settings(home=home, task_slots=4, public_url=self.url if reports else "")
        self.record = Record(settings.record_url)
        self.record.migrate()
        runs = self.record.runs
        self._here = Runner(runs, runs, runs, settings, images=IMAGES, server_url=self.url)
        found = Found(Stores(settings.copies), self.record.releases.proposed_by)
        self.remote = RemoteRuns(runs, runs, settings, open_engine, found, look_s=0.05)
        info = Server("127.0.0.1", self.port, 1, home, "0", 0.0, "ann")
        self.platform = Platform(self.record, Runners(self._here, self.remote), info, lambda all: None)
        self._here.start_thread()
        self.platform.adopt()
        self.requests: list[dict[str, Any]] = []
        """What was asked of it under /apis: `{"method", "path", "query", "token", "body"}`."""
        app = self._recorded(create_app(self.platform))
        config = uvicorn.Config(app, lifespan="off", log_config=None, http="httptools")
        self._served = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._served.run, kwargs={"sockets": [self._listening]})
        self._thread.start()

    def stop(self) -> None:
        """End it; what it started elsewhere goes on."""
        self.remote.stop()
        self.platform.close()
        self._served.should_exit = True
        self._thread.join()
        self._listening.close()
        self._here.stop()
        self.record.close()

    def _recorded(self, app: Any) -> Any:
        async def keep(scope: Any, receive: Any, send: Any) -> None:
            kept = {"method": scope["method"], "path": scope["path"], "query": scope["query_string"].decode()}
            kept["token"] = dict(scope["headers"]).get(b"authorization", b"").decode()
            body = bytearray()

            async def hear() -> Any:
                message = await receive()
                body.extend(message.get("body", b""))
                return message

            await app(scope, hear, send)
            if scope["path"].startswith("/apis/"):
                self.requests.append({**kept, "body": body.decode()})

        return keep

    def submit(self, ir: dict[str, Any], engine: dict[str, Any] | None = None, **parameters: Any) -> str:
        """Start a run; its id."""
        return str(self.platform.submit(ir, parameters, {}, engine)["id"])

    def ended(self, run: str, timeout_s: float = 30.0) -> dict[str, Any]:
        """The run, once it has ended."""
        deadline = time.monotonic() + timeout_s
        while (found := self.platform.run(run))["state"] not in ("SUCCEEDED", "FAILED", "CANCELED"):
            assert time.monotonic() < deadline, found
            time.sleep(0.02)
        return found

    def until(self, run: str, task: str, state: str, timeout_s: float = 20.0) -> None:
        """Return when a task is in a state."""
        deadline = time.monotonic() + timeout_s
        while {each["name"]: each["state"] for each in self.platform.run(run)["tasks"]}[task] != state:
            assert time.monotonic() < deadline, self.platform.run(run)["tasks"]
            time.sleep(0.02)


def kubeflow(url: str, **options: str) -> dict[str, Any]:
    """The engine at `url`, as a command sends it."""
    return {"kind": "kubeflow", "url": url, "options": options, "login": {"token": "kfp-token-1234"}}


def states(run: dict[str, Any]) -> dict[str, str]:
    """Tasks of a run by state."""
    return {task["name"]: task["state"] for task in run["tasks"]}
