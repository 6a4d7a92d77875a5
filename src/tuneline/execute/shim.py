"""The process between the runner and a task: starts it, waits for it, leaves nothing of it behind, says how
it ended.

`main(ATTEMPT_FOLDER)` in an interpreter and a session of its own, with `task.json` in the folder and a pipe
as stdin. It starts the task only when a byte comes through the pipe: the runner sends it once the start is on
record, so a runner that dies in between leaves no task that nobody knows of. The end is written to
`exit.json`, atomically.

Standard library only, and little of it: every task pays for its imports. For our own image, and for a Python
component whose environment is there, the task runs in a fork of this interpreter, which saves starting a
second one. Limits: processes that a task started are all found and killed on Linux (the shim adopts orphans);
elsewhere those that stay in the task's process group.
"""

import atexit
import ctypes
import importlib
import json
import os
import resource
import signal
import sys
import time
from typing import Any

_SET_CHILD_SUBREAPER = 36  # prctl(2)
_RESERVED = 4096
"""Bytes set aside for the exit status before the task starts: a task that fills the disk still gets one."""
_CLEANUP_S = 30
_HELD = {signal.SIGTERM, signal.SIGALRM}
"""Held back while there is no task they could be meant for."""


class Shim:
    """One attempt. Signal handlers act on it while `run` waits.

    `task`: {"command": argv, or "entry": "module:function" and "args", or "module" and "args", "environment":
    for `layers.prepare` or null, "constants" of modules to set first, "secrets" to keep out of what is
    logged, "before": commands that must succeed before the task starts, "without": variables that those need
    and the task does not get, "boot": code that becomes the module in another interpreter, "cleanup": argv or
    nothing, "timeout_s": 0 for none, "grace_s"}.
    """

    def __init__(self, folder: str, task: dict[str, Any]) -> None:
        self.folder = folder
        self.task = task
        self.child = 0
        self.stopped = False
        """Somebody asked for the end (TERM), or the time was up."""
        self.timed_out = False

    def reserve(self) -> None:
        """Set aside room for the exit status. Raises OSError if the disk is full."""
        with open(os.path.join(self.folder, "exit.part"), "wb") as file:
            file.write(b" " * _RESERVED)

    def run(self) -> None:
        """Run the task to its end, and write how it ended."""
        started, ooms = time.time(), _oom_kills()
        self.child = os.fork()
        if self.child == 0:
            self._become_task()
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGALRM, self._time_up)
        if self.task["timeout_s"]:
            signal.setitimer(signal.ITIMER_REAL, self.task["timeout_s"])
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)
        _, status = os.waitpid(self.child, 0)
        signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
        _kill_all(self.child)
        if self.task.get("cleanup"):
            _run_quietly(self.task["cleanup"])
        code = os.waitstatus_to_exitcode(status)
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._write(
            {
                "exit_code": code,
                "stopped": self.stopped,
                "timed_out": self.timed_out,
                "out_of_memory": code == -signal.SIGKILL and _oom_kills() > ooms,
                "started_at": started,
                "ended_at": time.time(),
                "cpu_s": round(usage.ru_utime + usage.ru_stime, 3),
                "max_rss_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
            }
        )

    def _become_task(self) -> None:
        code = 1
        try:
            os.setpgid(0, 0)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)
            for command in self.task.get("before", ()):
                code = os.spawnvp(os.P_WAIT, command[0], command)
                if code:
                    raise SystemExit(code)
            for name in self.task.get("without", ()):
                os.environ.pop(name, None)
            code = 1
            python = ""
            if self.task.get("environment"):
                python = importlib.import_module("layers").prepare(self.task["environment"], self.folder)
            if self.task.get("entry"):
                module, _, function = self.task["entry"].partition(":")
                code = getattr(importlib.import_module(module), function)(*self.task["args"])
            elif self.task.get("module") and python:
                os.execv(python, [python, "-c", self.task["boot"], self.folder])
            elif self.task.get("module"):
                importlib.import_module("becoming").run_module(self.task)
                code = 0
            else:
                os.execvp(self.task["command"][0], self.task["command"])
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        except FileNotFoundError as error:
            code = 127
            _say(f"{error.filename or self.task['command'][0]}: not found")
        except BaseException:
            _report()
        finally:
            if "becoming" in sys.modules:
                sys.modules["becoming"].wait_for_threads()
            _leave(code)

    def _stop(self, *_: object) -> None:
        self.stopped = True
        _signal_group(self.child, signal.SIGTERM)
        signal.signal(signal.SIGALRM, self._kill)
        signal.setitimer(signal.ITIMER_REAL, self.task["grace_s"], 1.0)

    def _time_up(self, *_: object) -> None:
        self.timed_out = True
        self._stop()

    def _kill(self, *_: object) -> None:
        _signal_group(self.child, signal.SIGKILL)

    def _write(self, body: dict[str, Any]) -> None:
        part = os.path.join(self.folder, "exit.part")
        with open(part, "r+b") as file:
            file.write(json.dumps(body).encode())
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, os.path.join(self.folder, "exit.json"))


def _report() -> None:
    """Print the error under way as an interpreter does at its end, without our own frames."""
    kind, error, trace = sys.exc_info()
    if kind is None or error is None:
        return
    here = os.path.dirname(__file__)
    while trace is not None and os.path.dirname(trace.tb_frame.f_code.co_filename) == here:
        trace = trace.tb_next
    sys.excepthook(kind, error.with_traceback(trace), trace)


def _leave(code: int) -> None:
    """End this process as an interpreter ends, but without its teardown: other threads may still run."""
    try:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        code = code or 1
    os._exit(code)


def _run_quietly(command: list[str]) -> None:
    """Run a command to its end, but for `_CLEANUP_S` at most; what it says is of no interest."""
    child = os.fork()
    if child == 0:
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_CLEANUP_S)  # outlives exec
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)
        try:
            os.execvp(command[0], command)
        finally:
            os._exit(127)
    os.waitpid(child, 0)


def _say(text: str) -> None:
    os.write(2, text.encode() + b"\n")


def _adopt_orphans() -> None:
    """Make processes whose parent ended children of this one."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _kill_all(child: int) -> None:
    """Kill what is left of the task, and wait until it is gone."""
    _signal_group(child, signal.SIGKILL)
    while True:
        for pid in _children():
            _signal(pid, signal.SIGKILL)
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:  # killed, but not dead yet
            time.sleep(0.002)


def _children() -> list[int]:
    if sys.platform != "linux":
        return []
    me = os.getpid()
    try:
        with open(f"/proc/self/task/{me}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and _parent(name) == me]


def _parent(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):  # it had no time to make its group yet, or is gone
        _signal(pid, number)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _oom_kills() -> int:
    """How many processes the kernel has killed for want of memory; 0 where it does not say."""
    try:
        with open("/proc/vmstat", encoding="ascii") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), 0)
    except OSError:
        return 0


def main(folder: str) -> int:
    """Wait for the word to start, then run the task in `folder`. Returns an errno, or 1: nobody wanted it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    with open(os.path.join(folder, "task.json"), encoding="utf-8") as file:
        shim = Shim(folder, json.load(file))
    _adopt_orphans()  # before the task starts: it may orphan one in its first millisecond
    if os.read(0, 1) != b"g":
        return 1
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    try:
        shim.reserve()
        shim.run()
    except OSError as error:
        _say(f"The attempt could not be run: {error.strerror or error}")
        return error.errno or 1
    return 0
