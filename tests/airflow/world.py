"""A whole Airflow for one test: API server, scheduler, DAG processor and triggerer as processes of their own,
in a home of their own, on SQLite. What may take minutes in production (a lost heartbeat, an orphaned task) is
set to seconds; nothing else differs."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
from tests.kubeflow import ROOT
from tests.living import living

PYTHON = Path(os.environ.get("TUNELINE_TEST_AIRFLOW_PYTHON") or ROOT / ".venv-airflow" / "bin" / "python")
"""An interpreter with Airflow, which cannot share an environment with the SDK."""
SOURCES = [ROOT / "packages" / name / "src" for name in ("tuneline-ir", "tuneline-airflow")]
QUICK = {
    "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "SCHEDULER__JOB_HEARTBEAT_SEC": "1",
    "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "6",
    "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "2",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "1",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "6",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
    "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
    "DAG_PROCESSOR__REFRESH_INTERVAL": "30",
}


def tool_python(folder: Path) -> Path:
    """What `TUNELINE_PYTHON` names: the interpreter of the tests, which has the tool."""
    path = folder / "python"
    found = f"{ROOT / 'src'}:{ROOT / 'packages' / 'tuneline-ir' / 'src'}"
    path.write_text(f'#!/bin/sh\nPYTHONPATH={found} exec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return path


def environment(home: Path, **variables: str) -> dict[str, str]:
    """Of any process of Airflow. Names without a prefix are Airflow's own settings, `SECTION__KEY`."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "TUNELINE_"))
    }
    settings = {name: value for name, value in variables.items() if "__" in name}
    return {
        **kept,
        **{name: value for name, value in variables.items() if name not in settings},
        **{f"AIRFLOW__{name}": value for name, value in settings.items()},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": ":".join(map(str, SOURCES)),
        "PATH": f"{PYTHON.parent}:{os.environ['PATH']}",
    }


def airflow(env: dict[str, str], *words: str, timeout_s: float = 120) -> str:
    """A command of Airflow's, to its end; what it wrote."""
    done = subprocess.run(
        [str(PYTHON), "-m", "airflow", *words], env=env, capture_output=True, text=True, timeout=timeout_s
    )
    assert done.returncode == 0, f"airflow {' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


class Airflow:
    """One. `dags`: the folder that it reads."""

    def __init__(self, home: Path, **variables: str) -> None:
        self.home, self.dags = home, home / "dags"
        self.dags.mkdir(parents=True)
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.env = environment(
            home,
            **{f"{key}": value for key, value in QUICK.items()},
            CORE__DAGS_FOLDER=str(self.dags),
            CORE__EXECUTOR="LocalExecutor",
            CORE__PARALLELISM="2",
            CORE__EXECUTION_API_SERVER_URL=f"{self.url}/execution/",
            CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS="True",
            API__PORT=str(port),
            API__HOST="127.0.0.1",
            API__WORKERS="1",
            API__BASE_URL=self.url,
            API_AUTH__JWT_SECRET=secrets.token_hex(32),
            **variables,
        )
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._http = httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    def start(self, *names: str) -> None:
        """Start processes of it: `api-server`, `scheduler`, `dag-processor`, `triggerer`."""
        for name in names:
            with (self.home / f"{name}.log").open("ab") as log:
                self._children[name] = subprocess.Popen(
                    [str(PYTHON), "-m", "airflow", name],
                    env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip

    def kill(self, name: str) -> None:
        """SIGKILL a process and all that it started, as when its machine goes down."""
        child = self._children.pop(name)
        victims = [psutil.Process(child.pid), *psutil.Process(child.pid).children(recursive=True)]
        for victim in victims:
            try:
                victim.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        child.wait()
        psutil.wait_procs(victims, timeout=5)

    def get(self, path: str, **params: Any) -> Any:
        """A JSON answer of its REST API."""
        answer = self._http.get(f"/api/v2/{path}", params=params, headers=self._login())
        assert answer.is_success, f"{path}: {answer.status_code} {answer.text[:500]}"
        return answer.json()

    def post(self, path: str, body: Any) -> Any:
        """The same of a POST."""
        answer = self._http.post(f"/api/v2/{path}", json=body, headers=self._login())
        assert answer.is_success, f"{path}: {answer.status_code} {answer.text[:500]}"
        return answer.json()

    def is_up(self) -> bool:
        """Whether the API server answers."""
        try:
            return self._http.get("/api/v2/monitor/health").is_success
        except httpx.TransportError:
            return False

    def states(self, dag: str, run: str) -> dict[str, str]:
        """The states of a run's tasks."""
        listed = self.get(f"dags/{dag}/dagRuns/{run}/taskInstances", limit=100)["task_instances"]
        return {each["task_id"]: each["state"] for each in listed}

    def log(self, dag: str, run: str, task: str, attempt: int) -> str:
        """What a task's attempt logged."""
        place = f"dags/{dag}/dagRuns/{run}/taskInstances/{task}/logs/{attempt}"
        return json.dumps(self.get(place, full_content=True)["content"])

    def story(self) -> str:
        """The ends of all logs, for a failing test."""
        return "\n".join(
            f"== {path.name}\n{path.read_text(errors='replace')[-2500:]}" for path in self.home.glob("*.log")
        )

    def close(self) -> None:
        """End all of it, and all that it started."""
        for name in list(self._children):
            try:
                self.kill(name)
            except psutil.NoSuchProcess:
                continue
        deadline = time.monotonic() + 10
        while self._left() and time.monotonic() < deadline:
            for process in self._left():
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            time.sleep(0.1)
        self._http.close()

    def _left(self) -> list[psutil.Process]:
        found = []
        for process in living():
            try:
                if process.environ().get("AIRFLOW_HOME") == str(self.home):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def _login(self) -> dict[str, str]:
        if not hasattr(self, "_token"):
            answer = self._http.get("/auth/token")
            answer = answer if answer.is_success else self._http.post("/auth/token", json={})
            assert answer.is_success, answer.text
            self._token = answer.json()["access_token"]
        return {"Authorization": f"Bearer {self._token}"}


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
