"""Which processes there are, for tests that end what they began.

psutil's own iteration keeps what it once made for a pid. After some thousand tests pids are used again: it
then refuses to kill the process that has it now.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil


def living() -> Iterator[psutil.Process]:
    """Every process, by pid."""
    psutil.process_iter.cache_clear()
    return psutil.process_iter()


def of_home(home: Path) -> list[psutil.Process]:
    """Those that a home's server and commands started, this one left out."""
    found = []
    for process in living():
        try:
            if process.environ().get("TUNELINE_HOME") == str(home) and process.pid != os.getpid():
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def end_all(home: Path) -> None:
    """Kill them, and those that come meanwhile."""
    while left := of_home(home):
        for process in left:
            try:
                process.kill()
                process.wait(10)
            except psutil.NoSuchProcess:
                continue


def commands() -> list[str]:
    """The command lines of all processes."""
    found = []
    for process in living():
        try:
            found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found
