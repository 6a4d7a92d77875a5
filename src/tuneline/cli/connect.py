"""Finding this home's server, starting it where a command may, and finding it again after it was killed.

The client is imported when it is needed: `--help` of every command passes through here.
"""

import json
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from tuneline.cli.output import say
from tuneline.errors import NetworkError, TransientError
from tuneline.settings import Settings

if TYPE_CHECKING:
    from tuneline.client import Client

T = TypeVar("T")

BACK_S = 60.0
"""How long a server that stopped answering is waited for."""
STOPPED_S = 2.0
"""How long `server.json` may be missing before the server counts as stopped on purpose."""
LOOK_S = 0.2


def settings() -> Settings:
    """This command's settings. Raises SettingError."""
    return Settings.from_env(os.environ)


def server(*, start: bool = False) -> "Client":
    """A client of this home's server. `start`: start it, and say so, if none answers.

    Only commands that change something start one: a server brings back endpoints that `down` stopped.
    Raises: NetworkError if none answers and none may be started; what kept it from starting.
    """
    from tuneline.client import ensure_server, find_server  # noqa: PLC0415 - see the module

    chosen = settings()
    if start:
        client, started = ensure_server(chosen)
        if started:
            say(f"Started the server of {chosen.home} at {client.url}; `tuneline down` stops it.")
        return client
    found = find_server(chosen)
    if found is None:
        raise NetworkError(
            f"No server is running for {chosen.home}.",
            hint="`tuneline up -d` starts it, with its endpoints; TUNELINE_HOME names another home.",
        )
    return found


class Link:
    """A client that survives the server: one that was killed is started again, then asked again."""

    def __init__(self, client: "Client") -> None:
        self.client = client

    def __call__(self, ask: Callable[["Client"], T]) -> T:
        """The answer to `ask`. Raises NetworkError if the server was stopped, or is not back in time."""
        begin = time.monotonic()
        while True:
            try:
                return ask(self.client)
            except TransientError:
                if time.monotonic() - begin > BACK_S:  # it answers, and each time that it cannot
                    raise
                self.client.close()
                self.client = _found_again(settings())
                time.sleep(LOOK_S)


def _found_again(chosen: Settings) -> "Client":
    from tuneline.client import ensure_server  # noqa: PLC0415 - see the module

    begin = time.monotonic()
    missing_since: float | None = None
    while True:
        now = time.monotonic()
        known = _pid(chosen)
        if chosen.url is None and known is None:
            missing_since = missing_since or now
            if now - missing_since > STOPPED_S:
                raise NetworkError(
                    "The server was stopped.",
                    hint="Runs go on where they were when it is up again: `tuneline up`.",
                )
        elif chosen.url is None and known is not None and not _lives(known):
            client, _ = ensure_server(chosen)
            say(f"The server (process {known}) was gone; it is up again, and runs go on.")
            return client
        else:
            missing_since = None
        client_now = _answering(chosen)
        if client_now is not None:
            return client_now
        if now - begin > BACK_S:
            where = chosen.url or f"of {chosen.home}"
            raise NetworkError(
                f"The server ({where}) has not answered for {BACK_S:.0f} s.",
                hint="`tuneline status` shows whether it is well; runs go on without this command.",
            )
        time.sleep(LOOK_S)


def _answering(chosen: Settings) -> "Client | None":
    from tuneline.client import find_server  # noqa: PLC0415 - see the module

    try:
        return find_server(chosen)
    except TransientError:
        return None


def _pid(chosen: Settings) -> int | None:
    """The process of the server that wrote `server.json`; None without that file: it ended in order."""
    from tuneline.client.server import FILE  # noqa: PLC0415 - see the module

    try:
        return int(json.loads((chosen.home / FILE).read_text(encoding="utf-8"))["pid"])
    except (OSError, ValueError, KeyError):
        return None


def _lives(pid: int) -> bool:
    import psutil  # noqa: PLC0415 - see the module

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
