"""The life of a runtime's process: listen at once, load, answer, drain. What every runtime's program shares.

It says `listening HOST PORT` and then `ready` on standard output. SIGTERM: it accepts nothing new, finishes
what it has within `drain_s`, and exits with 0.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import uvicorn
from starlette.types import ASGIApp

from tuneline.errors import ConflictError, TunelineError


class Served(Protocol):
    """What is served."""

    def app(self, lifespan: Any) -> ASGIApp:
        """The application, which answers 503 until `load` has said it is ready."""
        ...

    async def load(self, ready: Callable[[], None]) -> None:
        """Load the model, call `ready`, and return when it ended by itself. Raises: TunelineError."""
        ...

    async def close(self) -> None:
        """End whatever was started."""
        ...


class Life:
    """One process's life."""

    def __init__(self, served: Served, host: str, drain_s: float, follow_stdin: bool) -> None:
        self._served, self._host = served, host
        self._drain_s, self._follows = drain_s, follow_stdin
        self._exit_code = 0

    def run(self, listening: socket.socket) -> int:
        """Serve on `listening` until told to stop. Returns the exit code."""
        self._port = listening.getsockname()[1]
        # uvicorn raises the signal that stopped it again once it has drained; that must not kill us then
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        config = uvicorn.Config(
            self._served.app(self._lifespan),
            loop="uvloop",
            http="httptools",
            lifespan="on",
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, round(self._drain_s)),
        )
        self._server = uvicorn.Server(config)
        if self._follows:
            threading.Thread(target=self._follow_stdin, daemon=True).start()
        self._server.run(sockets=[listening])
        return self._exit_code

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Any) -> AsyncIterator[None]:
        loading = asyncio.create_task(self._load())
        _say("listening", self._host, str(self._port))
        try:
            yield
        finally:
            loading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await loading
            await self._served.close()

    async def _load(self) -> None:
        try:
            await self._served.load(lambda: _say("ready"))
            self._stop(
                "The model's process ended by itself.",
                "See the log above; the runtime must be started again.",
            )
        except TunelineError as error:
            self._stop(*filter(None, (error.message, *error.details, error.hint)))
        except Exception as error:
            self._stop(
                f"The model could not be loaded: {type(error).__name__}: {error}",
                "Check the release's files.",
            )

    def _stop(self, *lines: str) -> None:
        print(*lines, sep="\n", file=sys.stderr, flush=True)  # noqa: T201
        self._exit_code = 1
        self._server.should_exit = True

    def _follow_stdin(self) -> None:
        with contextlib.suppress(OSError):
            while os.read(
                0, 4096
            ):  # not sys.stdin: its lock, held here, would abort the interpreter's own end
                pass
        self._server.should_exit = True


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises: ConflictError if the port is taken."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(1024)
    except OSError as error:
        listening.close()
        raise ConflictError(
            f"Port {port} on {host} cannot be used: {error.strerror}.", hint="Free it, or give another one."
        ) from error
    return listening


def _say(*words: str) -> None:
    print(*words, flush=True)  # noqa: T201 - what whoever started us reads
