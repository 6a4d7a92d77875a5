"""The server as a step asks it: `live` and `propose` outlive a server that is killed and started again.

A server that comes back may have another port; its home's `server.json` then says which. Both calls may be
repeated: asking what is live changes nothing, and proposing the same content twice makes one release.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

from tuneline.client import Client, find_server
from tuneline.errors import TransientError
from tuneline.settings import Settings

PATIENCE_S = 20.0
"""How long a server that does not answer is waited for; then the attempt fails, and may be made again."""

LONGEST_S = 8.0
"""Between two tries; it begins with a quarter of a second and doubles."""

Answer = TypeVar("Answer")


def asked(
    env: Mapping[str, str],
    call: Callable[[Client], Answer],
    patience_s: float = PATIENCE_S,
    sleep: Callable[[float], None] = time.sleep,
) -> Answer:
    """What `call` gets from the server that `TUNELINE_URL` names. Raises: NetworkError if none answers."""
    deadline = time.monotonic() + float(env.get("TUNELINE_PATIENCE_S") or patience_s)
    client, pause_s = _named(env), 0.25
    while True:
        try:
            with client:
                return call(client)
        except TransientError:  # it does not answer, or says that it cannot now
            if time.monotonic() > deadline:
                raise
        sleep(pause_s)
        pause_s = min(LONGEST_S, 2 * pause_s)
        client = _again(env)


def shares_files(client: Client, env: Mapping[str, str]) -> bool:
    """Whether the server has the home that this step runs in, so that paths mean the same to both."""
    return str(client.healthz()["home"]) == env.get("TUNELINE_HOME")


def _again(env: Mapping[str, str]) -> Client:
    """The server of this home if it is back, wherever; else the one that was named.

    A step that another engine runs is told how long to wait, and for that very server: one that happens to
    be on its machine is not the one that it belongs to.
    """
    if env.get("TUNELINE_PATIENCE_S"):
        return _named(env)
    with suppress(TransientError):
        here = find_server(Settings.from_env({"TUNELINE_HOME": env.get("TUNELINE_HOME", "")}))
        if here is not None:
            return here
    return _named(env)


def _named(env: Mapping[str, str]) -> Client:
    return Client(env["TUNELINE_URL"], env.get("TUNELINE_TOKEN") or None)
