"""Finding this home's server, and starting it detached when none answers.

A running server says where it is in `<home>/server.json`; one that could not start says why in
`<home>/server-error.json` and in `<home>/server.log`. With `TUNELINE_URL` set nothing is ever started.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuneline.client.http import Client
from tuneline.errors import InternalError, ResourceError, TransientError, TunelineError
from tuneline.settings import LOGINS, Settings

START_S = 60.0
"""How long a server may take to answer after it was started; a healthy one takes about one second."""

FILE, ERROR_FILE, LOG_FILE = "server.json", "server-error.json", "server.log"


def find_server(settings: Settings) -> Client | None:
    """A client of the server that answers for these settings; None if this home has none running.

    Raises: NetworkError if `settings.url` is given and nothing answers there; UnauthenticatedError if that
    server wants to know who asks.
    """
    if settings.url:
        client = Client(settings.url, settings.token)
        try:
            client.healthz()
        except TunelineError:
            client.close()
            raise
        return client
    known = _read_json(settings.home / FILE)
    if known is None or "url" not in known:
        return None
    client = Client(str(known["url"]))
    try:
        if client.healthz(timeout_s=5.0).get("pid") == known.get("pid"):
            return client  # else another home's server has that port now
    except TransientError:  # a server.json left by a server that was killed
        pass
    client.close()
    return None


def ensure_server(settings: Settings) -> tuple[Client, bool]:
    """A client of this home's server, and whether it had to be started (then it answers already).

    Raises: what kept the server from starting (e.g. ConflictError for a port taken), with the log's place.
    """
    client = find_server(settings)
    if client is not None:
        return client, False
    log = settings.home / LOG_FILE
    child, start = _start(settings, log)
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        client = find_server(settings)
        if client is not None:
            mine = client.healthz().get("pid") == child.pid
            if mine:
                child.returncode = 0  # it outlives us by intent, which Popen would warn of
            else:
                child.wait(START_S)  # it finds the other one and ends
            return client, mine
        if child.poll() is not None:
            client = find_server(settings)  # another command may have started one in the same moment
            if client is not None:
                return client, False
            raise _why(settings, log, start, f"ended with status {child.returncode}")
        time.sleep(0.02)
    child.terminate()
    raise _why(settings, log, start, f"did not answer within {START_S:.0f} s and was stopped")


def environment(settings: Settings, env: Mapping[str, str]) -> dict[str, str]:
    """`env` with these settings in it, for a server of this home: never another server's URL, or a token."""
    away = LOGINS | {"TUNELINE_URL", "TUNELINE_TOKEN"}
    given = {key: value for key, value in env.items() if key not in away}
    where = {
        "TUNELINE_DATABASE_URL": settings.database_url,
        "TUNELINE_ARTIFACTS": settings.artifacts,
        "TUNELINE_IMAGES": settings.images,
        "TUNELINE_TASK_ENV": settings.task_env,  # absolute: the server starts in another folder
        "TUNELINE_VLLM_PYTHON": settings.vllm_python,
    }
    given |= {name: str(value) for name, value in where.items() if value}
    return given | {
        "TUNELINE_HOME": str(settings.home),
        "TUNELINE_HOST": settings.host,
        "TUNELINE_PORT": str(settings.port),
        "TUNELINE_TASK_SLOTS": str(settings.task_slots),
        "TUNELINE_OFFLINE": "1" if settings.offline else "0",
        "TUNELINE_DRAIN_S": f"{settings.drain_s:.0f}",
        "TUNELINE_LOG_LEVEL": settings.log_level,
    }


def _start(settings: Settings, log: Path) -> tuple["subprocess.Popen[bytes]", int]:
    """The server's process, and where in the log its lines begin."""
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        (settings.home / ERROR_FILE).unlink(missing_ok=True)
        with log.open("ab") as out:
            child = subprocess.Popen(
                [sys.executable, "-m", "tuneline", "up", "--child"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=settings.home,
                env=environment(settings, os.environ),
                start_new_session=True,  # Ctrl-C in this terminal must not reach it
            )
            return child, out.tell()
    except OSError as error:
        raise ResourceError(
            f"The server could not be started in {settings.home}: {error.strerror or error}.",
            hint="Free some space there, or set TUNELINE_HOME to a folder you may write to.",
        ) from error


def _why(settings: Settings, log: Path, start: int, what: str) -> TunelineError:
    body = _read_json(settings.home / ERROR_FILE)
    if body is not None:
        return TunelineError.from_json(body)
    try:
        with log.open("rb") as file:
            file.seek(start)
            tail = file.read().decode(errors="replace").strip().splitlines()[-12:]
    except OSError:
        tail = []
    return InternalError(f"The server {what}.", hint=f"Its log is {log}.", details=tail)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
