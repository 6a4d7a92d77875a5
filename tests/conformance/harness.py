"""A real server for the conformance tests, the cases compiled by the SDK, and all of them under way at once.

The SDK is never imported here: an interpreter that has it compiles all cases in one child. All runs are
submitted before the first is looked at, so the suite takes as long as the tasks do on all cores.
"""

import json
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from tests.e2e.world import World
from tests.kubeflow import ROOT, SDK, TASK_ENV

WHEELS = SDK.parents[1] / "wheels"
"""The packages that components ask for: no test asks an index."""
SECRETS = {
    "secrets/login/user": "ann",
    "secrets/login/password": "s3cret",
    "configmaps/settings/color": "blue",
}
"""Secrets and config maps of the server's home, by path."""
ENDED = ("SUCCEEDED", "FAILED", "CANCELED")


def sdk(module: str, *arguments: str, timeout_s: float = 120, **env: str) -> None:
    """Run a module of `pipelines` with the SDK's interpreter."""
    assert SDK.exists(), (
        f"{SDK} is missing: `make .venv-kfp/.ready` builds the interpreter that has the kfp SDK"
    )
    done = subprocess.run(
        [str(SDK), "-W", "ignore", "-m", f"tests.conformance.pipelines.{module}", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def compiled(folder: Path) -> dict[str, dict[str, Any]]:
    """By case: `ir` and `expected`."""
    path = folder / "cases.json"
    sdk("compile", str(path))
    return json.loads(path.read_text())


@dataclass
class Outcome:
    """How a case's run went, once or twice; or what refused it."""

    run: dict[str, Any] = field(default_factory=dict)
    again: dict[str, Any] = field(default_factory=dict)
    refused: dict[str, Any] = field(default_factory=dict)
    folder: str = ""


class Server:
    """`tuneline up` in a home of its own, over HTTP."""

    def __init__(self, home: Path, **env: str) -> None:
        given = {
            "TUNELINE_IMAGES": "host",
            "TUNELINE_TASK_ENV": str(TASK_ENV),
            "TUNELINE_OFFLINE": "1",
            "PIP_FIND_LINKS": str(WHEELS),
        }
        self.world = World(home, **{**given, **env})
        for path, value in SECRETS.items():
            (home / path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            (home / path).write_text(value)
        self._http = self._started()

    def _started(self) -> httpx.Client:
        client = self.world.server()
        client.close()
        return httpx.Client(base_url=client.url, timeout=60, trust_env=False)

    def kill(self) -> None:
        """End the server as a crash does; what it started lives on."""
        process = psutil.Process(self.get("/healthz")["pid"])
        process.send_signal(signal.SIGKILL)
        process.wait(10)

    def restart(self) -> None:
        """Start it again."""
        self._http.close()
        self._http = self._started()

    def get(self, path: str, **params: Any) -> Any:
        """A JSON answer. Raises if it is an error."""
        answer = self._http.get(path, params=params)
        assert answer.is_success, f"{path}: {answer.text}"
        return answer.json()

    def post(self, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """An answer, be it an error."""
        return self._http.post(path, json=body or {})

    def submit(self, name: str, ir: dict[str, Any], parameters: dict[str, Any]) -> httpx.Response:
        """Ask for a run of a project of that name."""
        body = {"pipeline_spec": ir, "parameters": parameters, "project": {"name": name}}
        return self.post("/api/v1/runs", body)

    def ended(self, run: str, timeout_s: float = 100) -> dict[str, Any]:
        """The run, when it has ended."""
        deadline, after = time.monotonic() + timeout_s, 0
        while True:
            seen = self.get(f"/api/v1/runs/{run}/events", after=after, wait=20)
            after = max([after, *(event["seq"] for event in seen["events"])])
            if seen["state"] in ENDED:
                return self.get(f"/api/v1/runs/{run}")
            assert time.monotonic() < deadline, f"run {run} did not end: {self.get(f'/api/v1/runs/{run}')}"

    def run(self, name: str, ir: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
        """A run, ended. Fails if it is refused."""
        answer = self.submit(name, ir, parameters)
        assert answer.is_success, answer.text
        return self.ended(answer.json()["id"])

    def log(self, run: str, task: str) -> str:
        """What a task's last attempt wrote."""
        return str(self.get(f"/api/v1/runs/{run}/logs", task=task).get("text", ""))

    def close(self) -> None:
        self._http.close()
        self.world.close()


class Session:
    """All cases, submitted at once; `of` waits for one."""

    def __init__(self, server: Server, cases: dict[str, dict[str, Any]], folder: Path) -> None:
        self.server = server
        self.cases = cases
        self._folder = folder
        self._shared = folder / "shared"
        self._shared.mkdir()
        (self._shared / "words.txt").write_text("shared words")
        self._pool = ThreadPoolExecutor(24, thread_name_prefix="case")
        self._outcomes = {name: self._pool.submit(self._go, name) for name in self._in_order()}

    def _in_order(self) -> list[str]:
        """Those that run twice or wait first."""
        names = [name for name in self.cases if not name.startswith("life-")]
        return sorted(names, key=lambda name: ("again" not in self.cases[name]["expected"], name))

    def of(self, name: str) -> Outcome:
        """The outcome of a case, when it is there."""
        return self._outcomes[name].result()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _go(self, name: str) -> Outcome:
        case = self.cases[name]
        expected = case["expected"]
        folder = self._folder / name
        folder.mkdir()
        answer = self._submit(name, case["ir"], expected, folder)
        if not answer.is_success:
            return Outcome(refused=answer.json(), folder=str(folder))
        run = self.server.ended(answer.json()["id"])
        again: dict[str, Any] = {}
        if "again" in expected:
            second = self._submit(name, case["ir"], {**expected, **expected["again"]}, folder)
            assert second.is_success, second.text
            again = self.server.ended(second.json()["id"])
        return Outcome(run=run, again=again, folder=str(folder))

    def _submit(
        self, name: str, ir: dict[str, Any], expected: dict[str, Any], folder: Path
    ) -> httpx.Response:
        given = {
            key: value.replace("{folder}", str(folder)).replace("{shared}", str(self._shared))
            if isinstance(value, str)
            else value
            for key, value in expected.get("parameters", {}).items()
        }
        return self.server.submit(name, ir, given)
