"""The holder of an endpoint's listening socket: `python -m tuneline.serve.holder --dir FOLDER --port P`.

It binds the port, starts the router with the socket inherited, and starts it again whenever it dies: the
socket stays open meanwhile, so connections wait in its backlog instead of being refused. It says who it is in
`holder.json` and is adopted by whoever finds it there alive. SIGTERM ends both, the router after draining.
Standard library only, and as little of it as can be: this process must not die.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FILE = "holder.json"
ERROR_FILE = "holder-error.json"
"""Left for whoever started it when the port cannot be had."""
FIRST_DELAY_S = 0.05
MAX_DELAY_S = 2.0
STEADY_S = 5.0
"""A router that lived this long is started again at once when it dies."""


class Holder:
    """The socket and the router that has it now."""

    def __init__(self, folder: Path, listening: socket.socket, drain_s: float) -> None:
        self._folder, self._listening, self._drain_s = folder, listening, drain_s
        self._router: subprocess.Popen[bytes] | None = None
        self._stopping = False

    def run(self) -> int:
        """Keep a router running until SIGTERM or SIGINT; 0."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        delay_s = 0.0
        while not self._stopping:
            time.sleep(delay_s)
            begun = time.monotonic()
            self._start()
            self._wait()
            steady = time.monotonic() - begun > STEADY_S
            delay_s = 0.0 if steady else min(max(delay_s * 2, FIRST_DELAY_S), MAX_DELAY_S)
        return 0

    def _start(self) -> None:
        number = self._listening.fileno()
        command = [
            sys.executable,
            "-m",
            "tuneline.serve.router",
            "--dir",
            str(self._folder),
            "--fd",
            str(number),
        ]
        self._router = subprocess.Popen([*command, "--drain-s", str(self._drain_s)], pass_fds=[number])
        self._say()
        if self._stopping:  # the signal came before there was anybody to tell
            self._router.terminate()

    def _wait(self) -> None:
        assert self._router is not None
        code = self._router.wait()
        if not self._stopping:
            print(f"holder {os.getpid()}: the router ended with {code}; starting it again", file=sys.stderr)  # noqa: T201
            sys.stderr.flush()

    def _stop(self, *_: object) -> None:
        self._stopping = True
        if self._router is not None and self._router.poll() is None:
            self._router.terminate()
            signal.signal(signal.SIGALRM, self._kill)
            signal.alarm(int(self._drain_s) + 5)

    def _kill(self, *_: object) -> None:
        if self._router is not None:
            self._router.kill()

    def _say(self) -> None:
        assert self._router is not None
        host, port = self._listening.getsockname()[:2]
        body = {
            "pid": os.getpid(),
            "started": started(os.getpid()),
            "host": host,
            "port": port,
            "router_pid": self._router.pid,
            "router_started": started(self._router.pid),
        }
        with contextlib.suppress(OSError):  # a full disk must not end what serves
            _replace(self._folder / FILE, body)


def started(pid: int) -> float | None:
    """When a process began, Unix seconds as psutil has it, so that a pid used again is not taken for it.

    None where that cannot be known without psutil.
    """
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
        lines = Path("/proc/stat").read_bytes().splitlines()
        boot = next(int(line.split()[1]) for line in lines if line.startswith(b"btime"))
    except (OSError, StopIteration):
        return None
    return boot + ticks / os.sysconf("SC_CLK_TCK")


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises: OSError."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(4096)
    except OSError:
        listening.close()
        raise
    return listening


def main(arguments: Sequence[str]) -> int:
    """Hold the socket until told to stop. Returns the exit code; 3: the port cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m tuneline.serve.holder", description="Hold one socket.")
    parser.add_argument("--dir", type=Path, required=True, help="the endpoint's folder")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--drain-s", type=float, default=30.0, help="what open requests may take at the end")
    options = parser.parse_args(arguments)
    try:
        listening = bind(options.host, options.port)
    except OSError as error:
        _replace(
            options.dir / ERROR_FILE, {"pid": os.getpid(), "port": options.port, "reason": error.strerror}
        )
        print(f"Port {options.port} on {options.host}: {error.strerror}.", file=sys.stderr)  # noqa: T201
        return 3
    with listening:
        return Holder(options.dir, listening, options.drain_s).run()


def _replace(path: Path, body: dict[str, Any]) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(json.dumps(body), encoding="utf-8")
    scratch.replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
