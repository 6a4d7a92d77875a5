"""A web app as a process: `python -m tuneline.serve.hosting --source DIR --port N`, and then either `--entry
FILE:NAME` or `-- COMMAND`.

An entry is an ASGI or WSGI callable, served by uvicorn in this process; a command takes its place. Both run
in the folder of the source, which is not to be written to: `TUNELINE_APP_DATA`, the folder `data`
below the one this was started in, outlives versions. SIGTERM: open requests end within `--drain-s`, the exit
code is 0 (for a command: what the command makes of it).
"""

import argparse
import importlib
import inspect
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from a2wsgi import WSGIMiddleware

from tuneline.errors import SpecError, TunelineError
from tuneline.serve.runtime import bind


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM. Returns the exit code; does not return for a command that could be started."""
    options = _parse(arguments)
    try:
        _settle(options.source, options.host, options.port)
        if options.command:
            return _become(options.command, options.host, options.port)
        return _serve(load(options.source, options.entry), options.host, options.port, options.drain_s)
    except TunelineError as error:
        print(f"{error.message}\n{error.hint}".strip(), *error.details, sep="\n", file=sys.stderr)  # noqa: T201
        return error.exit_code


def load(source: Path, entry: str) -> Any:
    """The ASGI callable that `entry` (`app.py:app`) names in `source`; a WSGI one is wrapped.

    Raises: SpecError, after printing the traceback, if it cannot be imported or is no such callable.
    """
    where, _, name = entry.partition(":")
    module = where.removesuffix(".py").replace("/", ".")
    sys.path.insert(0, str(source))
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # whatever the app's own code raises
        traceback.print_exc()
        raise SpecError(
            f"The app's entry `{entry}` cannot be imported: {type(error).__name__}: {error}.",
            hint="The traceback above says where.",
        ) from error
    return _as_asgi(found, entry)


def _as_asgi(found: Any, entry: str) -> Any:
    try:
        wanted = [
            each
            for each in inspect.signature(found).parameters.values()
            if each.default is each.empty and each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"The app's entry `{entry}` is {type(found).__name__}, no ASGI or WSGI app."
        ) from error
    if len(wanted) == 3:
        return found
    if len(wanted) == 2:
        return WSGIMiddleware(found)
    raise SpecError(
        f"The app's entry `{entry}` takes {len(wanted)} arguments.",
        hint="ASGI takes `scope, receive, send`; WSGI takes `environ, start_response`.",
    )


def _settle(source: Path, host: str, port: int) -> None:
    data = Path.cwd() / "data"
    data.mkdir(exist_ok=True)
    given = {"TUNELINE_APP_DATA": str(data), "HOST": host, "PORT": str(port), "PYTHONDONTWRITEBYTECODE": "1"}
    os.environ.update(given)
    sys.dont_write_bytecode = True
    os.chdir(source)


def _become(command: Sequence[str], host: str, port: int) -> int:
    words = [word.replace("{port}", str(port)).replace("{host}", host) for word in command]
    try:
        os.execvp(words[0], words)
    except OSError as error:
        raise SpecError(
            f"The app's command `{words[0]}` cannot be started: {error.strerror}.",
            hint="It is looked for on the PATH of `tuneline up`, and relative to the source.",
        ) from error


def _serve(app: Callable[..., Any], host: str, port: int, drain_s: float) -> int:
    listening = bind(host, port)
    # uvicorn raises the signal that stopped it again once it has drained; that must not kill us then
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        interface="asgi3",
        log_level="info",
        access_log=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, round(drain_s)),
    )
    server = uvicorn.Server(config)
    server.run(sockets=[listening])
    return 0 if server.started else 1


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tuneline.serve.hosting", description="Run one web app.")
    parser.add_argument("--source", type=Path, required=True, help="folder of the app's files")
    parser.add_argument("--entry", default="", help="e.g. app.py:app")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--drain-s", type=float, default=30.0)
    parser.add_argument("command", nargs="*", help="instead of an entry, after --")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
