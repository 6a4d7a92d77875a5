"""Child processes of the runner: start a shim, know it again after a restart, learn of its end, kill what is
left.

A shim is named by its pid, its start time and the attempt folder in its command line. Where the kernel has
pidfds, `fd` becomes readable at its end, so nobody polls.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

MARK = "TUNELINE_ATTEMPT"
"""Environment variable that every process of an attempt inherits: the attempt's folder."""
_MAIN = "import os; os._exit(main(sys.argv[1]))"
_SAME_START_S = 2.0
"""How far two readings of one process's start time may differ: the kernel counts from a boot time that
drifts."""


_HERE = f"import sys; sys.path.append({str(Path(__file__).parent)!r}); "
# Imported, because a script would be compiled anew each time, and before the task can see the path.
_SHIM = _HERE + "import becoming; from shim import main; sys.path.pop(); sys.modules.pop('shim'); "
BOOT = _HERE + "from becoming import become_module; sys.path.pop(); become_module(sys.argv[1])"
"""What an environment's interpreter runs with `-c` to be a task itself, in the shim's child."""


@dataclass
class Process:
    """A shim. Close it when it has ended or is nobody's concern any more."""

    pid: int
    started: float
    """Its start time, Unix seconds, as the kernel has it."""
    fd: int | None
    """Readable when it has ended; None where the system has no such thing."""
    gate: IO[bytes] | None = None
    """The pipe it waits at; None if it was started by an earlier runner."""
    exit_code: int | None = None
    """Of the shim itself, once `reap` knew it."""

    def go(self) -> None:
        """Let the task start."""
        if self.gate is not None:
            with contextlib.suppress(BrokenPipeError):  # killed already; its end will be seen
                os.write(self.gate.fileno(), b"g")
            self._close_gate()

    def stop(self) -> None:
        """Ask for the end: the shim passes it on, and kills after the grace time."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the shim itself, which alone does not end its task."""
        self._signal(signal.SIGKILL)

    def ended(self) -> bool:
        """Whether it has ended. Reaps it if it is a child of this process."""
        if self.exit_code is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                return not _is_running(self.pid, self.started)
            if pid == 0:
                return False
            self.exit_code = os.waitstatus_to_exitcode(status)
        return True

    def close(self) -> None:
        """Let go of it: a shim that was not told to go ends by itself."""
        self._close_gate()
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def _close_gate(self) -> None:
        if self.gate is not None:
            self.gate.close()
            self.gate = None

    def _signal(self, number: signal.Signals) -> None:
        try:
            if self.fd is not None:
                signal.pidfd_send_signal(self.fd, number)
            elif _is_running(self.pid, self.started):
                os.kill(self.pid, number)
        except ProcessLookupError:
            pass


def launch(
    folder: Path, log: Path, env: Mapping[str, str], *, packages: bool = False, python: str = ""
) -> Process:
    """Start a shim for the attempt in `folder`. It waits for `go`.

    Args:
        log: where it and the task write.
        packages: whether the task runs in a fork of this interpreter and needs what is installed here.
        python: another interpreter, in a fork of which the task runs.
    Raises: OSError if it cannot be started.
    """
    with log.open("ab") as sink:
        child = subprocess.Popen(
            [*interpreter(packages, python), str(folder)],
            stdin=subprocess.PIPE,
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**env, MARK: str(folder)},
            start_new_session=True,
        )
    child.returncode = 0  # `Process` waits for it; Popen must neither wait nor warn
    return Process(child.pid, _start_time(child.pid), _pidfd(child.pid), child.stdin)


def interpreter(packages: bool, python: str) -> list[str]:
    """The command of a shim; the attempt's folder comes behind it. See `launch`."""
    if python:
        return [python, "-c", _SHIM + _MAIN]
    if packages:
        return [sys.executable, "-P", "-c", "import sys; from tuneline.execute.shim import main; " + _MAIN]
    # Only the shim runs here: without `site` it starts faster.
    return [sys.executable, "-I", "-S", "-c", _HERE + "from shim import main; " + _MAIN]


def find(pid: int, started: float, folder: Path) -> Process | None:
    """The shim of an earlier runner, if it still runs."""
    fd = _pidfd(pid)  # first: from here on the pid cannot mean another process without our knowing
    try:
        known = psutil.Process(pid)
        if _is_running(pid, started) and str(folder) in _command(known):
            return Process(pid, started, fd)
    except psutil.Error:
        pass
    if fd is not None:
        os.close(fd)
    return None


def kill_left(folder: Path, timeout_s: float = 10.0) -> bool:
    """Kill every process of an attempt whose shim is gone. Returns whether none is left."""
    deadline = time.monotonic() + timeout_s
    while left := _marked(folder):
        for process in left:
            try:
                process.kill()
            except psutil.Error:
                continue
        if time.monotonic() > deadline:
            return False
        psutil.wait_procs(left, timeout=0.5)
    return True


def _marked(folder: Path) -> list[psutil.Process]:
    found: dict[int, psutil.Process] = {}
    for pid in psutil.pids():
        try:
            process = psutil.Process(pid)
            if process.environ().get(MARK) == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                for each in (process, *process.children(recursive=True)):
                    found[each.pid] = each
        except (psutil.Error, OSError):
            continue
    found.pop(os.getpid(), None)
    return list(found.values())


def _is_running(pid: int, started: float) -> bool:
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - started) < _SAME_START_S
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _command(process: psutil.Process) -> list[str]:
    for _ in range(100):  # in the middle of exec a process has no command line for a moment
        words = process.cmdline()
        if words:
            return words
        time.sleep(0.001)
    return []


def _start_time(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:  # killed in this very moment
        return time.time()


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid) if sys.platform == "linux" else None
    except OSError:  # gone, or a kernel before 5.3
        return None
