"""A model server for one release: `python -m tuneline.serve.runtime --base DIR --package DIR --port N --model
NAME ...`.

It listens at once, answers 503 until the model is loaded, and says `listening HOST PORT` and then `ready` on
standard output. SIGTERM: it accepts nothing new, finishes what it has within `--drain-s`, and exits with 0.
It writes no files. With `--follow-stdin` it ends when its standard input closes, so that it never outlives
whoever started it for a while.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from tuneline.errors import ConflictError, ModelError, TunelineError
from tuneline.serve.answering import Answering
from tuneline.serve.app import Serving, create_app
from tuneline.serve.engine import Engine, Loadable
from tuneline.serve.loading import from_package, from_parts, read_json
from tuneline.serve.metrics import Metrics
from tuneline.serve.prompting import load_prompting
from tuneline.serve.runtimes import KINDS, kind


@dataclass(frozen=True)
class Options:
    """The command line."""

    runtime: str
    base: Path
    package: Path | None
    served: Path | None
    adapter: Path | None
    host: str
    port: int
    model: str
    release: str
    threads: int
    slots: int
    context: int
    drain_s: float
    follow_stdin: bool

    def loadable(self) -> Loadable:
        """The files to load. Raises: ModelError if they are incomplete or not what they say."""
        if self.package is not None:
            return from_package(self.base, self.package)
        if self.served is None or self.adapter is None:
            raise ModelError(
                "Nothing to serve was named.", hint="Give --package, or --served and --adapter together."
            )
        return from_parts(self.base, self.served, self.adapter)


def parse(arguments: Sequence[str]) -> Options:
    """The options of a command line; argparse exits with 2 on a wrong one."""
    parser = argparse.ArgumentParser(
        prog="python -m tuneline.serve.runtime", description="Serve one release."
    )
    parser.add_argument("--runtime", choices=tuple(KINDS), default="llamacpp")
    parser.add_argument("--base", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--package", type=Path, help="folder of the release's package")
    parser.add_argument(
        "--served", type=Path, help="instead of a package: what the runtime loads beyond the base"
    )
    parser.add_argument("--adapter", type=Path, help="instead of a package: the trained adapter's folder")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one and says which")
    parser.add_argument("--model", required=True, help="the name clients ask for")
    parser.add_argument("--release", default="", help="e.g. movie-reviews@1.0.0; sent as x-tuneline-release")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--slots", type=int, default=8, help="requests computed at once")
    parser.add_argument(
        "--context", type=int, default=4096, help="tokens a request may have, answer included"
    )
    parser.add_argument("--drain-s", type=float, default=30.0)
    parser.add_argument("--follow-stdin", action="store_true", help="end when standard input closes")
    return Options(**vars(parser.parse_args(arguments)))


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM. Returns the exit code."""
    options = parse(arguments)
    try:
        listening = bind(options.host, options.port)
        return Runtime(options, options.loadable()).run(listening)
    except TunelineError as error:
        print(f"{error.message}\n{error.hint}".strip(), *error.details, sep="\n", file=sys.stderr)  # noqa: T201
        return error.exit_code


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


class Runtime:
    """One process's life: listen, load, answer, drain."""

    def __init__(self, options: Options, loadable: Loadable) -> None:
        self._options, self._loadable, self._kind = options, loadable, kind(options.runtime)
        self._serving = Serving(options.model, options.release or options.model, loadable.base_name)
        self._exit_code = 0
        self._engine: Engine | None = None

    def run(self, listening: socket.socket) -> int:
        """Serve on `listening` until told to stop."""
        self._port = listening.getsockname()[1]
        # uvicorn raises the signal that stopped it again once it has drained; that must not kill us then
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        config = uvicorn.Config(
            create_app(self._serving, self._lifespan),
            loop="uvloop",
            http="httptools",
            lifespan="on",
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, round(self._options.drain_s)),
        )
        self._server = uvicorn.Server(config)
        if self._options.follow_stdin:
            threading.Thread(target=self._follow_stdin, daemon=True).start()
        self._server.run(sockets=[listening])
        return self._exit_code

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Any) -> AsyncIterator[None]:
        loading = asyncio.create_task(self._load())
        _say("listening", self._options.host, str(self._port))
        try:
            yield
        finally:
            loading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await loading
            if self._engine is not None:
                await self._engine.close()

    async def _load(self) -> None:
        try:
            options, loadable = self._options, self._loadable
            context = max(options.context, loadable.max_length)
            engine = await self._kind.start(
                loadable, threads=options.threads, slots=options.slots, context=context
            )
            self._engine = engine
            prompting = load_prompting(loadable.template, loadable.tokenizer)
            metrics = Metrics(options.model, engine.slots, engine.slots * engine.context, time.perf_counter)
            metrics.name_release(self._serving.release, engine.name, engine.version, self._quantization())
            self._serving.answering = Answering(engine, prompting, metrics)
            _say("ready")
            await engine.ended()
            self._stop(
                "The model's process ended by itself.",
                "See the log above; the runtime must be started again.",
            )
        except TunelineError as error:
            self._stop(error.message, error.hint)
        except Exception as error:
            self._stop(
                f"The model could not be loaded: {type(error).__name__}: {error}",
                "Check the base and the adapter.",
            )

    def _quantization(self) -> str:
        return (
            str(read_json(self._loadable.base / "base.json")["quantization"])
            if self._kind.quantized
            else "none"
        )

    def _stop(self, message: str, hint: str) -> None:
        print(message, hint, sep="\n", file=sys.stderr, flush=True)  # noqa: T201
        self._exit_code = 1
        self._server.should_exit = True

    def _follow_stdin(self) -> None:
        with contextlib.suppress(OSError):
            while os.read(
                0, 4096
            ):  # not sys.stdin: its lock, held here, would abort the interpreter's own end
                pass
        self._server.should_exit = True


def _say(*words: str) -> None:
    print(*words, flush=True)  # noqa: T201 - what whoever started us reads


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
