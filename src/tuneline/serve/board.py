"""TensorBoard over a folder, until nobody looks: `python -m tuneline.serve.board --logdir DIR --state FILE`.

It listens on 127.0.0.1, at `--port` if that is free, writes `{"pid", "port"}` to `--state` when it answers,
and ends by itself after `--idle-s` seconds without a request. It reads logs in this process, in Python, and
follows links in the folder. Kept out of the server: TensorBoard takes a second to import.
"""

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tensorboard import program

WsgiApp = Callable[..., Iterable[bytes]]


class Visits:
    """When the last request came, and how many are open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = 0
        self._last = time.monotonic()

    def counted(self, app: WsgiApp) -> WsgiApp:
        """The same app, its requests counted."""

        def call(environ: Any, start_response: Any) -> Iterable[bytes]:
            self._change(1)
            try:
                return app(environ, start_response)
            finally:
                self._change(-1)

        return call

    def idle_s(self) -> float:
        """Seconds since anybody asked; 0 while somebody does."""
        with self._lock:
            return 0.0 if self._open else time.monotonic() - self._last

    def _change(self, by: int) -> None:
        with self._lock:
            self._open += by
            self._last = time.monotonic()


def main(arguments: Sequence[str]) -> int:
    """Serve until idle or SIGTERM. Returns the exit code."""
    options = _parse(arguments)
    visits = Visits()

    class Server(program.WerkzeugServer):  # type: ignore[misc] # tensorboard has no types
        def __init__(self, app: WsgiApp, flags: Any) -> None:
            super().__init__(visits.counted(app), flags)

    url = _launch(Server, options.logdir, options.port)
    scratch = options.state.with_suffix(".tmp")
    scratch.write_text(json.dumps({"pid": os.getpid(), "port": int(url.rstrip("/").rpartition(":")[2])}))
    scratch.replace(options.state)
    while visits.idle_s() < options.idle_s:
        time.sleep(min(1.0, options.idle_s / 4))
    return 0


def _launch(server: type, logdir: Path, port: int) -> str:
    """Start it at `port`, or at any free one; its URL."""
    for wanted in (port, 0):
        board = program.TensorBoard(server_class=server)
        argv = ["tensorboard", "--logdir", str(logdir), "--host", "127.0.0.1", "--port", str(wanted)]
        board.configure([*argv, "--load_fast", "false", "--reload_interval", "3"])
        try:
            return str(board.launch())
        except program.TensorBoardServerException:
            if wanted == 0:
                raise
    raise AssertionError("unreachable")


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tuneline.serve.board", description="TensorBoard.")
    parser.add_argument("--logdir", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--idle-s", type=float, default=1800.0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
