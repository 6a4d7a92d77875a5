"""The holder of an endpoint's socket: started once, adopted ever after, its port chosen once."""

import contextlib
import json
import socket
import sys
import time
from collections.abc import Container
from pathlib import Path
from typing import Any

import psutil

from tuneline.control import processes
from tuneline.control.processes import Running
from tuneline.errors import ConflictError, ResourceError
from tuneline.serve import holder

HOST = "127.0.0.1"
FIRST_PORT = 8100
START_S = 10.0


def read(folder: Path) -> dict[str, Any]:
    """What the last holder said of itself; empty if there was none."""
    try:
        body = json.loads((folder / holder.FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return body if isinstance(body, dict) and body.get("pid") else {}


def running(folder: Path) -> Running | None:
    """The holder that runs for the endpoint in `folder`."""
    body = read(folder)
    if not body:
        return None
    found = Running(body["pid"], body.get("started") or _started(body["pid"], folder))
    return found if processes.alive(found) else None


def _started(pid: int, folder: Path) -> float:
    """When a process that is a holder of `folder` began, where it could not tell that itself; else 0."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        if str(folder) in process.cmdline():
            return process.create_time()
    return 0.0


def start(folder: Path, port: int, drain_s: float) -> int:
    """Start a holder at `port`, unless one runs; its port. Returns once the port is bound.

    Raises: ConflictError, naming the port and who has it; ResourceError if it does not start.
    """
    if running(folder) is not None:
        return int(read(folder)["port"])
    for name in (holder.FILE, holder.ERROR_FILE):
        (folder / name).unlink(missing_ok=True)
    command = [sys.executable, "-m", "tuneline.serve.holder", "--dir", str(folder), "--host", HOST]
    log = folder / "router.log"
    child = processes.spawn([*command, "--port", str(port), "--drain-s", f"{drain_s:g}"], log, {}, folder)
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if read(folder).get("pid") == child.pid:
            return int(read(folder)["port"])
        if not processes.alive(child):
            if (folder / holder.ERROR_FILE).exists():
                raise taken(port)
            break
        time.sleep(0.01)
    processes.kill(child)
    raise ResourceError(
        f"The router of {folder.name} did not start at port {port}.",
        hint=f"What it wrote: {processes.tail(log)}",
    )


def stop(folder: Path, within_s: float) -> None:
    """Stop holder and router; returns when both are gone, after `within_s` at the latest by force."""
    body = read(folder)
    found = running(folder)
    router = (
        Running(body["router_pid"], body.get("router_started") or 0.0) if body.get("router_pid") else None
    )
    if found is not None:
        processes.terminate(found)
    deadline = time.monotonic() + within_s
    while processes.alive(found) or processes.alive(router):
        if time.monotonic() > deadline:
            for each in (found, router):
                if each is not None and processes.alive(each):
                    with contextlib.suppress(psutil.Error):
                        psutil.Process(each.pid).kill()
        time.sleep(0.02)
    (folder / holder.FILE).unlink(missing_ok=True)


def first_free(others: Container[int]) -> int:
    """The first port from 8100 that nobody listens at and no other endpoint was given.

    Raises: ConflictError if there is none.
    """
    for port in range(FIRST_PORT, FIRST_PORT + 1000):
        if port not in others:
            with contextlib.suppress(OSError):
                holder.bind(HOST, port).close()
                return port
    raise ConflictError(
        f"No port from {FIRST_PORT} to {FIRST_PORT + 999} is free.", hint="Give one as `deploy.port`."
    )


def any_free() -> int:
    """A port for a runtime."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def taken(port: int) -> ConflictError:
    """The error that names who has `port`, as well as this user may know it."""
    return ConflictError(
        f"Port {port} on {HOST} is taken by {_listener(port)}.",
        hint="Stop that program, or give another port as `deploy.port` and run the project again.",
    )


def _listener(port: int) -> str:
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            mine = (
                connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            )
            if mine and connection.pid:
                return f"`{psutil.Process(connection.pid).name()}` (process {connection.pid})"
    return "another program"
