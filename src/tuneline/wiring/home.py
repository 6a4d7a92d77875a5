"""What only one server may have: the home and a port; and the small files by which others find it.

The home is held by a lock of the operating system on `<home>/server.lock`, which ends with the process
however that ends. `record.py` beside this writes down who holds it.
"""

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import psutil

from tuneline.client import Client
from tuneline.client.server import FILE
from tuneline.errors import ConflictError, ResourceError, TunelineError
from tuneline.settings import Settings

HOST = "127.0.0.1"
LOCK_FILE = "server.lock"
LEAVING_S = 45.0
"""How long a server that is ending may take to let go of the home."""
PORTS_TRIED = 100
"""How many ports after the wanted one are tried before giving up."""


def lock_home(settings: Settings, stack: ExitStack) -> bool:
    """Lock the home until `stack` closes; False if another server has it.

    One that is about to end, or to answer, has no `server.json`: it is waited for, up to LEAVING_S.
    Raises: ResourceError.
    """
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        file = stack.enter_context((settings.home / LOCK_FILE).open("a"))
    except OSError as error:
        raise ResourceError(
            f"The home {settings.home} cannot be written: {error.strerror}.",
            hint="Set TUNELINE_HOME to a folder you may write to, on a disk with free space.",
        ) from error
    deadline = time.monotonic() + LEAVING_S
    while not _lock(file):
        if (settings.home / FILE).exists() or time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not flock: that one would be inherited by children
    except OSError:
        return False
    return True


def bind(wanted: int, *, exact: bool, say: Callable[[str], None]) -> socket.socket:
    """A listening socket at port `wanted` (0: any), or, unless `exact`, at the next free one; `say` tells of
    that.

    Raises: ConflictError, naming the holder where that can be known.
    """
    last = wanted if exact or wanted == 0 else min(wanted + PORTS_TRIED, 65535)
    for port in range(wanted, last + 1):
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
            listening.listen(1024)
        except OSError:
            listening.close()
            continue
        if port != wanted:
            say(f"Port {wanted} is taken by {port_holder(wanted)}; using {port} instead.")
        return listening
    raise ConflictError(
        f"Port {wanted} on {HOST} is taken by {port_holder(wanted)}.",
        hint="Choose another one with `tuneline up --port N`, or stop that program.",
    )


def port_holder(port: int) -> str:
    """Who listens at `port`, as well as this user may know it."""
    try:
        with Client(f"http://{HOST}:{port}") as client:
            body = client.healthz(timeout_s=1.0)
        if "home" in body:
            return f"the tuneline server of {body['home']} (process {body.get('pid')})"
    except TunelineError:
        pass
    try:
        for connection in psutil.net_connections("tcp"):
            here = (
                connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            )
            if here and connection.pid:
                return f"`{psutil.Process(connection.pid).name()}` (process {connection.pid})"
    except psutil.Error:
        pass
    return "another program"


def write_json(path: Path, body: Mapping[str, Any]) -> None:
    """Replace `path` in one step, so that a reader sees the old text or the new. Raises OSError."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(json.dumps(body), encoding="utf-8")
    scratch.replace(path)
