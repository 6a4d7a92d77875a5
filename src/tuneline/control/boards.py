"""TensorBoards: one process a run, started when somebody wants to look, ended when nobody does any more.

`boards/<run>/` holds links to the folders with logs, the process's state and what it printed. A board ends by
itself when it is idle, or with `tuneline down`; a later server finds one that still runs.
"""

import importlib.util
import json
import shutil
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from tuneline.control import processes
from tuneline.control.processes import Running
from tuneline.errors import MissingPartError, ResourceError

IDLE_S = 1800.0
START_S = 60.0
STATE = "board.json"


class Boards:
    """The TensorBoards of one home. Thread-safe."""

    def __init__(self, folder: Path, idle_s: float = IDLE_S) -> None:
        self._folder, self._idle_s = folder, idle_s
        self._lock = threading.Lock()

    def open(self, run: str, logs: Mapping[str, Path]) -> str:
        """Where the TensorBoard of a run answers, started if need be. logs: folders by the name to show.

        Raises: MissingPartError if TensorBoard is not installed; ResourceError if it does not start.
        """
        if importlib.util.find_spec("tensorboard") is None:
            raise MissingPartError(
                "TensorBoard is not installed.", hint="Install it with: pip install 'tuneline[train]'"
            )
        folder = self._folder / run
        with self._lock:
            _link(folder / "logs", logs)
            state = _read(folder)
            if not processes.alive(_process(state)):
                state = self._start(folder, int(state.get("port") or 0))
        return f"http://127.0.0.1:{state['port']}/"

    def stop_all(self) -> None:
        """End them all, and forget where they were."""
        with self._lock:
            found = [
                process
                for each in self._folder.glob(f"*/{STATE}")
                if (process := _process(_read(each.parent)))
            ]
            for process in found:
                processes.terminate(process)
            processes.wait(found, 5.0)
            for process in found:
                processes.kill(process)
            shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, folder: Path, port: int) -> dict[str, Any]:
        (folder / STATE).unlink(missing_ok=True)
        words = [
            "--logdir",
            folder / "logs",
            "--state",
            folder / STATE,
            "--port",
            port,
            "--idle-s",
            self._idle_s,
        ]
        command = [sys.executable, "-m", "tuneline.serve.board", *map(str, words)]
        log = folder / "board.log"
        child = processes.spawn(command, log, {}, folder)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and processes.alive(child):
            state = _read(folder)
            if state.get("pid") == child.pid:
                return state
            time.sleep(0.02)
        processes.kill(child)
        raise ResourceError("TensorBoard did not start.", hint=f"What it wrote: {processes.tail(log)}")


def _link(folder: Path, logs: Mapping[str, Path]) -> None:
    """Make `folder` hold one link for each of `logs`, and no others. TensorBoard looks again by itself."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, target in logs.items():
        link = folder / name
        if link.is_symlink() and link.readlink() == target:
            continue
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    for link in folder.iterdir():
        if link.name not in logs:
            link.unlink()


def _read(folder: Path) -> dict[str, Any]:
    try:
        body = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}


def _process(state: Mapping[str, Any]) -> Running | None:
    """The board that `state` is of: that pid, if it is a board still."""
    try:
        process = psutil.Process(int(state.get("pid") or 0))
        mine = "tuneline.serve.board" in process.cmdline()
        return Running(process.pid, process.create_time()) if mine else None
    except (psutil.Error, ValueError):
        return None
