"""What only one server may have: the home and a port; and the small files by which others find it.

The home is held by a lock of the operating system on `<home>/server.lock`, which ends with the process
however that ends. `record.py` beside this writes down who holds it.
"""

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import IO, Any

import psutil

from tuneline.client import Client
from tuneline.client.server import FILE
from tuneline.errors import ConflictError, ResourceError, SettingError, TunelineError
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


def bind(
    wanted: int, *, exact: bool, say: Callable[[str], None], host: str = HOST
) -> tuple[socket.socket, ...]:
    """Listening sockets at port `wanted` (0: any), or, unless `exact`, at the next free one; `say` tells of
    that. One at the loopback, by which this machine asks, and one at `host` if that is another address.

    Raises: ConflictError, naming the holder where that can be known; SettingError if `host` is none here.
    """
    places = _places(host)
    last = wanted if exact or wanted == 0 else min(wanted + PORTS_TRIED, 65535)
    for port in range(wanted, last + 1):
        listening = _listening(places, port, host)
        if not listening:
            continue
        if port != wanted:
            say(f"Port {wanted} is taken by {port_holder(wanted)}; using {port} instead.")
        return listening
    raise ConflictError(
        f"Port {wanted} on {host} is taken by {port_holder(wanted)}.",
        hint="Choose another one with `tuneline up --port N`, or stop that program.",
    )


def on_loopback(host: str) -> bool:
    """Whether `host` is an address that only this machine reaches. Raises SettingError if it is none."""
    return all(ip_address(place.split("%")[0]).is_loopback for _, place in _places(host))


def _places(host: str) -> list[tuple[socket.AddressFamily, str]]:
    """The addresses to listen at, the one of the loopback first unless another one holds it."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise SettingError(
            f"`{host}` is no address to listen at: {error.strerror or error}.",
            hint="Give an address of this machine, or 0.0.0.0 for all: TUNELINE_HOST, `tuneline up --host`.",
        ) from error
    family, place = found[0][0], str(found[0][4][0])
    both = place in ("0.0.0.0", "::", HOST)  # `::` is opened for both families
    return ([] if both else [(socket.AF_INET, HOST)]) + [(family, place)]


def _listening(
    places: list[tuple[socket.AddressFamily, str]], port: int, host: str
) -> tuple[socket.socket, ...]:
    """A socket for every place, all at one port; none at all if one of them is taken."""
    made: list[socket.socket] = []
    for family, place in places:
        listening = socket.socket(family, socket.SOCK_STREAM)
        made.append(listening)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(place != "::"))
            same = made[0].getsockname()[1] if len(made) > 1 else 0
            listening.bind((place, port or same))
            listening.listen(1024)
        except OSError as error:
            for one in made:
                one.close()
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise SettingError(
                    f"`{host}` is no address of this machine.", hint="`ip address` lists those it has."
                ) from error
            return ()
    return tuple(made)


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
