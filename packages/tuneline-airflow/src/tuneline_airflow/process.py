"""The process executor: a task is a process beside Airflow's worker, in an environment that has the tool
itself (`TUNELINE_PYTHON`). For tests and small installations: all workers share the folder of artifacts.

A process whose worker was killed may live on. The next attempt of its task ends it first, so that no task
runs twice at once on one machine; across machines nothing keeps the two apart.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from airflow.sdk import BaseOperator

from tuneline_airflow.described import Described
from tuneline_airflow.launch import Launch
from tuneline_airflow.operators import Step
from tuneline_airflow.outline import Place
from tuneline_airflow.versions import AirflowFailException, AirflowTaskTimeout
from tuneline_ir.wire import OWN_IMAGE

PYTHON = "TUNELINE_PYTHON"
"""Of the worker's environment: the interpreter of the environment that has the tool."""
GRACE_S = 5.0
"""How long a task may take to end by itself after it was asked to."""
_TAIL = 20
"""Lines of a log that an error quotes at most."""


class ProcessOperator(Step, BaseOperator):
    """Runs a task as a process, and says in its log what that says."""

    ui_color = "#e4f0e8"

    def __init__(self, *, frame: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.frame = frame
        self._child: subprocess.Popen[str] | None = None

    def execute(self, context: Any) -> dict[str, Any]:
        """The task's record. Raises: see `Step`."""
        launch = self.begin(context)
        try:
            return self._executed(context, launch)
        except AirflowTaskTimeout:
            limit = self.execution_timeout
            said = f"{limit.total_seconds():g} s" if limit is not None else "it may"
            self.fail_attempt(context, f"Task `{launch.task}` was stopped: it ran longer than {said}.")

    def _executed(self, context: Any, launch: Launch) -> dict[str, Any]:
        folder = Path(launch.output_file).parent
        state = folder.parent / "state"
        end_earlier(state)
        for place in (folder / "outputs", folder / "parameters", state):
            place.mkdir(parents=True, exist_ok=True)
        code, tail = self._run(launch, folder, state)
        left = _left(folder / "error.json")
        code = int(_left(folder / "exit.json").get("exit_code", code))  # of a shim's task, not of the shim
        if code != 0:
            told = left.get("message") or f"Task `{launch.task}` {_how(code)}."
            hint = left.get("hint") or "\n".join(tail)
            self.fail_attempt(context, f"{told}\n{hint}".rstrip(), retry=bool(left.get("retry", True)))
        output = Path(launch.output_file)
        body = output.read_bytes() if output.is_file() else None
        paths = {name: Path(path) for name, path in launch.parameters.items()}
        files = {name: path.read_text("utf-8") for name, path in paths.items() if path.is_file()}
        found = self.finished(context, launch, body, files)
        for artifact in (each for listed in found.artifacts.values() for each in listed):
            _bring(artifact)
        return self.finish(context, found)

    def on_kill(self) -> None:
        """End the task: Airflow has marked it, or its time is up."""
        if self._child is not None and self._child.poll() is None:
            _end_group(self._child.pid)

    def _run(self, launch: Launch, folder: Path, state: Path) -> tuple[int, list[str]]:
        """Its exit code, negative for a signal, and the last lines it wrote."""
        environment = {
            **{name: value for name, value in os.environ.items() if not _is_airflows(name)},
            **launch.env,
            "PYTHONUNBUFFERED": "1",
            "TUNELINE_TASK_STATE": str(state),
            "TUNELINE_RUN_ID": launch.run_id,
            "TUNELINE_TASK": launch.task,
        }
        with subprocess.Popen(
            _command(launch, folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=folder,
            env=environment,
            start_new_session=True,
        ) as child:
            self._child = child
            _note(state, child.pid)
            assert child.stdout is not None
            try:
                tail = self._follow(child.stdout)
                code = child.wait()
            finally:
                _end_group(child.pid)
        (state / _MARK).unlink(missing_ok=True)
        return code, tail

    def _follow(self, lines: IO[str]) -> list[str]:
        tail: list[str] = []
        for line in lines:
            self.log.info("%s", line.rstrip("\n"))
            tail = [*tail[1 - _TAIL :], line.rstrip("\n")]
        return tail


class ProcessExecutor:
    """See `operators.Executor`."""

    operator: type[BaseOperator] = ProcessOperator

    def arguments(self, described: Described, place: Place) -> Mapping[str, Any]:
        """None beside those that all have."""
        return {}


_MARK = "process.json"


def end_earlier(state: Path) -> None:
    """End what an earlier attempt of the task left running. state: the folder that attempts share."""
    try:
        noted = json.loads((state / _MARK).read_text())
        pid, started = int(noted["pid"]), noted["started"]
    except (OSError, ValueError, KeyError):
        return
    if started is not None and _started(pid) == started:
        _end_group(pid)


def _command(launch: Launch, folder: Path) -> list[str]:
    python = os.environ.get(PYTHON)
    if not python:
        raise AirflowFailException(
            f"{PYTHON} is not set for Airflow's workers: tasks run as processes of the environment that it "
            f"names, e.g. {PYTHON}=/opt/tuneline/bin/python."
        )
    if launch.image == OWN_IMAGE:
        return [python, "-m", "tuneline", *launch.command[1:], *launch.args]
    (folder / "launch.json").write_text(
        json.dumps(
            {
                "image": launch.image,
                "command": launch.command,
                "args": launch.args,
                "env": dict(launch.env),
                "platform": dict(launch.platform),
                "resources": dict(launch.resources),
                "run": launch.run_id,
                "task": launch.task,
                "name": _name(launch),
                "workspace": launch.workspace,
                "executor_input": launch.executor_input,
            }
        )
    )
    return [python, "-m", "tuneline.execute.single", str(folder)]


def _is_airflows(name: str) -> bool:
    """Variables that are Airflow's own: its secrets, and where its interpreter finds modules."""
    return name.startswith(("AIRFLOW__", "_AIRFLOW")) or name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


def _name(launch: Launch) -> str:
    """One that no other attempt has: of a container, a volume."""
    words = f"{launch.dag_id}/{launch.run_id}/{launch.task}/{launch.attempt}"
    return hashlib.sha256(words.encode()).hexdigest()[:20]


def _bring(artifact: Mapping[str, Any]) -> None:
    """What a task put at a path of its own is found at its URI too: KFP's SDK reads it there."""
    made, uri = Path(artifact.get("customPath") or artifact["uri"]), str(artifact["uri"])
    if "://" in uri or not made.exists() or Path(uri).exists():
        return
    Path(uri).parent.mkdir(parents=True, exist_ok=True)
    (shutil.copytree if made.is_dir() else shutil.copyfile)(made, uri)


def _left(file: Path) -> dict[str, Any]:
    """What a task, or the shim around it, left beside its output; empty if it left none."""
    try:
        body = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}


def _how(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _note(state: Path, pid: int) -> None:
    (state / _MARK).write_text(json.dumps({"pid": pid, "started": _started(pid)}))


def _started(pid: int) -> str | None:
    """When a process started, in the kernel's ticks: with the pid it names one process for ever."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def _end_group(pid: int) -> None:
    """Ask a process and its group to end; kill what has not after the grace time."""
    deadline = time.monotonic() + GRACE_S
    number = int(signal.SIGTERM)
    while True:
        try:
            os.killpg(pid, number)
        except (ProcessLookupError, PermissionError):
            return
        if not _alive(pid):
            return
        number = int(signal.SIGKILL) if time.monotonic() > deadline else 0
        time.sleep(0.02)


def _alive(group: int) -> bool:
    """Whether a process of the group is more than a zombie that nobody has asked about."""
    for entry in os.scandir("/proc") if os.path.isdir("/proc") else ():
        if entry.name.isdigit():
            try:
                words = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(words[2]) == group and words[0] != "Z":
                return True
    return False
