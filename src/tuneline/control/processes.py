"""Child processes that outlive this one: started in a session of their own, known again by pid and start.

Whoever starts one may die the moment after: a mark in its environment lets the next server find it.
"""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tuneline.execute.environment import THREADS
from tuneline.settings import SERVER_ONLY

MARK = "TUNELINE_REVISION"
"""Environment variable of a runtime: the endpoint's folder, `#`, the revision's id."""
SAME_START_S = 2.0
TAIL_BYTES = 2000
"""Of a log that an error quotes."""

_children: dict[int, int | None] = {}
"""Processes this one started -> how they ended, None while they run."""


@dataclass(frozen=True)
class Running:
    """One process, for ever: a pid may be used again."""

    pid: int
    started: float
    """Unix seconds, as psutil has it."""


def spawn(command: Sequence[str], log: Path, environment: Mapping[str, str], folder: Path) -> Running:
    """Start `command` in a session of its own, its output appended to `log`. Raises: OSError."""
    ours = {name: value for name, value in os.environ.items() if name not in SERVER_ONLY}
    with log.open("ab") as output:
        child = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env={**THREADS, **ours, **environment},
            start_new_session=True,
        )
    child.returncode = 0  # it may outlive this process; Popen would warn of that
    _children[child.pid] = None
    with contextlib.suppress(psutil.Error):
        return Running(child.pid, psutil.Process(child.pid).create_time())
    return Running(child.pid, 0.0)


def alive(process: Running | None) -> bool:
    """Whether that very process runs."""
    if process is None:
        return False
    if exit_code(process) is not None:
        return False
    try:
        found = psutil.Process(process.pid)
        same = abs(found.create_time() - process.started) < SAME_START_S
        return same and found.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def exit_code(process: Running) -> int | None:
    """How it ended, if it was started by this very process and did. Negative: the signal."""
    if _children.get(process.pid, 0) is None:
        with contextlib.suppress(ChildProcessError):
            pid, status = os.waitpid(process.pid, os.WNOHANG)  # nobody else waits for it
            _children[process.pid] = os.waitstatus_to_exitcode(status) if pid else None
    return _children.get(process.pid)


def terminate(process: Running | None) -> None:
    """Ask it to end, if it is still that one."""
    if process is not None and alive(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)


def kill(process: Running | None) -> None:
    """End it, and what it started in its session, if it is still that one."""
    if process is not None and alive(process):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def wait(found: Sequence[Running], within_s: float) -> None:
    """Wait until none of them runs, for `within_s` at most."""
    deadline = time.monotonic() + within_s
    while any(alive(each) for each in found) and time.monotonic() < deadline:
        time.sleep(0.02)


def marked(folder: Path) -> Iterator[tuple[str, Running]]:
    """Runtimes of the endpoint in `folder`, by revision, whoever started them."""
    for pid in psutil.pids():  # psutil's own iteration takes a pid that is used again for the process before
        with contextlib.suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            where, _, revision = process.environ().get(MARK, "").partition("#")
            leader = os.getpgid(process.pid) == process.pid
            if where == str(folder) and leader and process.status() != psutil.STATUS_ZOMBIE:
                yield revision, Running(process.pid, process.create_time())


def tail(log: Path) -> str:
    """The last lines of a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            return "\n".join(file.read().decode("utf-8", "replace").strip().splitlines()[-12:])
    except OSError:
        return ""


def ask(port: int, method: str, path: str, body: Any, timeout_s: float) -> tuple[int, str]:
    """Status and body of one request to a runtime here. Raises: OSError, HTTPException."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read(65536).decode("utf-8", "replace")
    finally:
        connection.close()


def is_healthy(port: int) -> bool:
    """Whether the runtime at `port` says it is ready."""
    try:
        return ask(port, "GET", "/health", None, 1.0)[0] == 200
    except (OSError, http.client.HTTPException):
        return False
