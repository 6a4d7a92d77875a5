"""A real Airflow 3 for tests: API server, scheduler and DAG processor over SQLite.

`Airflow(folder, python)` starts them in about 15 s of an idle machine; DAGs are files put into `dags`.
"""

import contextlib
import json
import os
import socket
import subprocess
import time
from pathlib import Path

import httpx
import psutil

USER, PASSWORD = "ann", "hunter2-of-ann"


class Airflow:
    """One installation, with its processes."""

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder, self.dags = folder, folder / "dags"
        self.dags.mkdir(parents=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        (folder / "passwords.json").write_text(json.dumps({USER: PASSWORD}))
        settings = {
            "CORE__DAGS_FOLDER": self.dags,
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": "2",
            "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": folder / "passwords.json",
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder / 'airflow.db'}",
            "API__HOST": "127.0.0.1",
            "API__PORT": str(self.port),
            "API__WORKERS": "1",
            "API__SECRET_KEY": "of the tests",
            "API_AUTH__JWT_SECRET": "of the tests, and long enough to sign with, as Airflow asks for",
            "DAG_PROCESSOR__REFRESH_INTERVAL": "2",
            "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "1",
            "LOGGING__BASE_LOG_FOLDER": folder / "logs",
            "USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self.env = kept | {f"AIRFLOW__{name}": str(value) for name, value in settings.items()}
        self.env |= {"AIRFLOW_HOME": str(folder), "PYTHONWARNINGS": "ignore", "NO_COLOR": "1"}
        self._python, self._children = python, []
        subprocess.run(
            [python, "-m", "airflow", "db", "migrate"], env=self.env, check=True, capture_output=True
        )
        for part in ("api-server", "scheduler", "dag-processor"):
            self._start(part)
        self.wait(lambda: httpx.get(f"{self.url}/api/v2/version", trust_env=False, timeout=5).is_success)

    def _start(self, part: str) -> None:
        with (self.folder / f"{part}.log").open("ab") as log:
            child = subprocess.Popen(
                [self._python, "-m", "airflow", part],
                env=self.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self._children.append(child)

    def wait(self, what, timeout_s: float = 90.0):
        """The first true answer of `what`; connections that break count as none."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                if found := what():
                    return found
            except httpx.HTTPError:
                pass
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.2)

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-1500:] for path in self.folder.glob("*.log"))

    def token(self) -> str:
        answer = httpx.post(
            f"{self.url}/auth/token", json={"username": USER, "password": PASSWORD}, trust_env=False
        )
        return str(answer.json()["access_token"])

    def until_known(self, dag: str) -> None:
        """Return when Airflow has read the DAG."""
        headers = {"Authorization": f"Bearer {self.token()}"}
        where = f"{self.url}/api/v2/dags/{dag}"
        self.wait(lambda: httpx.get(where, headers=headers, trust_env=False, timeout=10).is_success)

    def patch(self, path: str, body: dict) -> None:
        headers = {"Authorization": f"Bearer {self.token()}"}
        answer = httpx.patch(f"{self.url}{path}", json=body, headers=headers, trust_env=False, timeout=20)
        assert answer.is_success, answer.text

    def stop(self) -> None:
        # tasks under way are sessions of their own, which outlive the scheduler
        below = [
            each for child in self._children for each in psutil.Process(child.pid).children(recursive=True)
        ]
        for child in self._children:
            os.killpg(child.pid, 15)
        for child in self._children:
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, 9)
                child.wait()
        for process in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


DAG = '''
"""As `tuneline export airflow` makes one, in plain Airflow: ids, params, tags and XComs are the same."""
import json, time
from pathlib import Path
from airflow.sdk import DAG, Param, task

params = {{"x": Param("hello", type="string")}}
with DAG({id!r}, schedule=None, tags=["tuneline", {tag!r}], params=params) as dag:

    @task(task_id="write", retries=0)
    def write(params, dag_run):
        print("wrote", params["x"])
        made = Path({folder!r}) / dag_run.run_id
        made.write_text("made")
        artifact = {{"name": "made", "uri": str(made), "metadata": {{"a": 1}}}}
        return {{"index": -1, "parameters": {{"said": params["x"]}}, "artifacts": {{"made": [artifact]}}}}

    @task(task_id="read", retries=0)
    def read(params, ti):
        for _ in range(600 if params["x"] == "wait" else 0):
            time.sleep(0.2)
        if params["x"] == "fail" and not (Path({folder!r}) / "fine").exists():
            ti.xcom_push(key="error", value="no such luck at all")
            raise ValueError("no such luck")
        return {{"index": -1, "parameters": {{}}, "artifacts": {{}}}}

    write() >> read()
'''
