"""The router of one endpoint: `python -m tuneline.serve.router --dir FOLDER --fd N`, where file descriptor N
is the listening socket.

It knows the world through `traffic.json` alone, looked at every 20 ms, and goes on with the last generation
when nobody writes it any more. It says in `ack.json` which generation it applies and how many requests each
revision still has. SIGTERM: it takes no new connection, ends what is under way within `--drain-s`, and exits
with 0; it does the same when its parent, the holder of the socket, is gone. With `workers` in traffic.json it
starts others like itself on the same socket (`router_workers.py`).
"""

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import uvloop

from tuneline.serve.router_client import Connection
from tuneline.serve.router_site import POLL_S, Router
from tuneline.serve.router_workers import Workers

SWEEP_S = 1.0


async def serve(options: argparse.Namespace, listening: socket.socket) -> None:
    """Route until SIGTERM, SIGINT, or the end of the parent."""
    parent = options.parent or os.getppid()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    router = Router(options.dir, loop, options.worker, options.workers)
    if options.worker == 0:
        router.notes.sweep()
        words = ["--drain-s", str(options.drain_s)]
        words += ["--workers", str(options.workers)] if options.workers else []
        router.workers = Workers(options.dir, listening.fileno(), words, router.notes)
    router.look()
    server = await loop.create_server(lambda: Connection(router), sock=listening, backlog=4096)
    writing: asyncio.Future[None] | None = None
    swept = loop.time()
    while not stop.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), POLL_S)
        router.look()
        if os.getppid() != parent:
            _say("the holder of the socket is gone; draining")
            break
        if loop.time() - swept >= SWEEP_S:
            swept = loop.time()
            router.sweep()
            if writing is None or writing.done():
                writing = loop.run_in_executor(None, router.write_lines)
    server.close()
    await router.drain(options.drain_s)
    if writing is not None:
        await writing
    router.write_lines()


def main(arguments: Sequence[str]) -> int:
    """Route until told to stop. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tuneline.serve.router", description="Route one endpoint."
    )
    parser.add_argument("--dir", type=Path, required=True, help="the endpoint's folder, with traffic.json")
    parser.add_argument("--fd", type=int, required=True, help="file descriptor of the listening socket")
    parser.add_argument("--drain-s", type=float, default=30.0, help="what open requests may take at the end")
    parser.add_argument("--workers", type=int, help="processes on the socket; default: as traffic.json says")
    parser.add_argument("--worker", type=int, default=0, help="this one's number; the parent is 0")
    parser.add_argument("--parent", type=int, help="whose end is this one's too; default: who started it")
    options = parser.parse_args(arguments)
    listening = socket.socket(fileno=options.fd)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(options, listening))
    return 0


def _say(text: str) -> None:
    print(f"router {os.getpid()}: {text}", file=sys.stderr, flush=True)  # noqa: T201 - its log is stderr


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
