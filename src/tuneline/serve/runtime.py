"""A model server for one release: `python -m tuneline.serve.runtime --base DIR --package DIR --port N --model
NAME ...`.

It listens at once, answers 503 until the model is loaded, and says `listening HOST PORT` and then `ready` on
standard output. SIGTERM: it accepts nothing new, finishes what it has within `--drain-s`, and exits with 0.
It writes no files. With `--follow-stdin` it ends when its standard input closes, so that it never outlives
whoever started it for a while.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from tuneline.errors import ModelError, TunelineError
from tuneline.serve import vllm, vllm_python
from tuneline.serve.answering import Answering
from tuneline.serve.app import Serving, create_app
from tuneline.serve.engine import Engine, Loadable
from tuneline.serve.life import Life, Served, bind
from tuneline.serve.loading import from_package, from_parts, read_json
from tuneline.serve.metrics import Metrics
from tuneline.serve.prompting import load_prompting
from tuneline.serve.pyfunc_program import Files, PyfuncProgram
from tuneline.serve.runtimes import KINDS, PYFUNC, VLLM, kind
from tuneline.serve.vllm_config import options_of, quantization_of

__all__ = ["Options", "Runtime", "bind", "main", "parse"]


@dataclass(frozen=True)
class Options:
    """The command line."""

    runtime: str
    base: Path | None
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
    python: Path | None
    vllm: Mapping[str, Any]

    def served_by(self) -> Served:
        """What serves. Raises: ModelError if its files are incomplete or not what they say."""
        if self.runtime == PYFUNC.name:
            files = Files(self.python, self.package, self.served, self.adapter)
            return PyfuncProgram(files, self.model, self.release or self.model)
        return Runtime(self, self._loadable())

    def _loadable(self) -> Loadable:
        if self.base is None:
            raise ModelError("No base model was named.", hint="Give --base.")
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
    parser.add_argument("--base", type=Path, help="folder of the base model; none for pyfunc")
    parser.add_argument("--package", type=Path, help="folder of the release's package")
    parser.add_argument(
        "--served", type=Path, help="instead of a package: what the runtime loads beyond the base"
    )
    parser.add_argument("--adapter", type=Path, help="instead of a package: what was trained")
    parser.add_argument(
        "--python", type=Path, help="for pyfunc and vllm: the interpreter with what the code needs, or vLLM"
    )
    parser.add_argument("--vllm", type=json.loads, default={}, help="for vllm: `deploy.vllm`, as JSON")
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
        life = Life(options.served_by(), options.host, options.drain_s, options.follow_stdin)
        return life.run(listening)
    except TunelineError as error:
        print(f"{error.message}\n{error.hint}".strip(), *error.details, sep="\n", file=sys.stderr)  # noqa: T201
        return error.exit_code


class Runtime:
    """The `Served` of a language model."""

    def __init__(self, options: Options, loadable: Loadable) -> None:
        self._options, self._loadable, self._kind = options, loadable, kind(options.runtime)
        self._serving = Serving(options.model, options.release or options.model, loadable.base_name)
        self._engine: Engine | None = None

    def app(self, lifespan: Any) -> ASGIApp:
        """See Served."""
        return create_app(self._serving, lifespan)

    async def close(self) -> None:
        """See Served."""
        if self._engine is not None:
            await self._engine.close()

    async def load(self, ready: Callable[[], None]) -> None:
        """See Served."""
        loadable, model = self._loadable, self._options.model
        engine = self._engine = await self._started()
        prompting = load_prompting(loadable.template, loadable.tokenizer)
        metrics = Metrics(model, engine.slots, engine.slots * engine.context, time.perf_counter)
        metrics.name_release(self._serving.release, engine.name, engine.version, self._quantization())
        self._serving.answering = Answering(engine, prompting, metrics)
        ready()
        await engine.ended()

    async def _started(self) -> Engine:
        options, loadable = self._options, self._loadable
        if self._kind is VLLM:
            installed = await asyncio.to_thread(vllm_python.find, options.python)
            return await vllm.start(loadable, installed, options_of(options.vllm))
        context = max(options.context, loadable.max_length)
        return await self._kind.start(loadable, threads=options.threads, slots=options.slots, context=context)

    def _quantization(self) -> str:
        if self._kind is VLLM:
            return quantization_of(options_of(self._options.vllm))
        return (
            str(read_json(self._loadable.base / "base.json")["quantization"])
            if self._kind.quantized
            else "none"
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
