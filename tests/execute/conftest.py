"""A runner in its thread, over a log in memory. Real processes all the way down."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.execute.doubles import IMAGES, EventLog
from tests.living import living

from tuneline.execute.runner import Runner
from tuneline.settings import Settings

MakeRunner = Callable[..., Runner]


@pytest.fixture
def log() -> EventLog:
    """An event log."""
    return EventLog()


@pytest.fixture
def env() -> Mapping[str, str]:
    """The server's environment: `noop_step` can be imported in it."""
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


@pytest.fixture
def make_runner(tmp_path: Path, log: EventLog, env: Mapping[str, str]) -> Iterator[MakeRunner]:
    """Makes started runners; at the end none of their processes may be left."""
    made: list[Runner] = []

    def make(**changes: Any) -> Runner:
        settings = Settings(home=tmp_path, task_slots=changes.pop("slots", 4))
        found = Runner(log, log, log, settings, **{"env": env, "images": IMAGES, **changes})
        made.append(found)
        found.start_thread()
        return found

    yield make
    for runner in made:
        runner.stop()
    _, left = psutil.wait_procs(processes_in(tmp_path), timeout=1)  # one that was killed is gone in a moment
    said = []
    for process in left:
        with suppress(psutil.NoSuchProcess):
            said.append(" ".join(process.cmdline()))
            process.kill()
    assert not said


@pytest.fixture
def runner(make_runner: MakeRunner) -> Runner:
    """A started runner with four slots."""
    return make_runner()


def processes_in(folder: Path) -> list[psutil.Process]:
    """Processes that work in `folder` or have it in their command line."""
    found = []
    for process in living():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if any(str(folder) in word for word in [process.cwd(), *process.cmdline()]):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found
