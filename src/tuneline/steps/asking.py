"""The server as a step asks it: `live` and `propose` outlive a server that is killed and started again.

A server that comes back may have another port; its home's `server.json` then says which. Both calls may be
repeated: asking what is live changes nothing, and proposing the same content twice makes one release.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

from tuneline.client import Client, find_server
from tuneline.errors import NetworkError, TransientError
from tuneline.settings import Settings

PATIENCE_S = 20.0
"""How long a server that does not answer is waited for; then the attempt fails, and may be made again."""

Answer = TypeVar("Answer")


def asked(
    env: Mapping[str, str],
    call: Callable[[Client], Answer],
    patience_s: float = PATIENCE_S,
    sleep: Callable[[float], None] = time.sleep,
) -> Answer:
    """What `call` gets from the server that `TUNELINE_URL` names. Raises: NetworkError if none answers."""
    deadline = time.monotonic() + patience_s
    client = _named(env)
    while True:
        try:
            with client:
                return call(client)
        except NetworkError:
            if time.monotonic() > deadline:
                raise
        sleep(0.25)
        client = _again(env)


def _again(env: Mapping[str, str]) -> Client:
    """The server of this home if it is back, wherever; else the one that was named."""
    with suppress(TransientError):
        here = find_server(Settings.from_env({"TUNELINE_HOME": env.get("TUNELINE_HOME", "")}))
        if here is not None:
            return here
    return _named(env)


def _named(env: Mapping[str, str]) -> Client:
    return Client(env["TUNELINE_URL"], env.get("TUNELINE_TOKEN") or None)
