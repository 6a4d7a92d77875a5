"""kill -9 of anything at any moment: the run ends, with the same outputs, and nothing finished runs again."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from tests.execute.conftest import processes_in
from tests.execute.doubles import EventLog

from tuneline.plan.events import AttemptStarted, RunEnded, TaskSucceeded

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def _serve(home: Path) -> subprocess.Popen[bytes]:
    home.mkdir(exist_ok=True)
    log = (home / "server.log").open("ab")
    with log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.execute.serving", str(home)],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _outputs(home: Path) -> dict[str, str]:
    events = [stored.event for stored in EventLog(home / "events.jsonl").stored]
    return {e.task: e.outputs.artifacts["f"][0].digest for e in events if isinstance(e, TaskSucceeded)}


def _victims(home: Path, server: subprocess.Popen[bytes], kind: str) -> list[int]:
    """Pids of the kind: `server`, `shim` (its working folder is an attempt's), `task` (a shim's child)."""
    if kind == "server":
        return [server.pid]
    inside = [process for process in processes_in(home / "runs") if process.pid != server.pid]
    pids = {process.pid for process in inside}
    try:
        tasks = [process.pid for process in inside if process.ppid() in pids]
    except psutil.Error:
        return []
    return tasks if kind == "task" else sorted(pids - set(tasks))


@pytest.mark.parametrize("seed", [1])
def test_a_run_killed_at_20_random_moments_ends_as_one_left_alone(tmp_path: Path, seed: int) -> None:
    """Real servers, shims and tasks; about 15 s, most of it waiting."""
    alone, home = tmp_path / "alone", tmp_path / "killed"
    assert _serve(alone).wait(60) == 0
    chance, kills = random.Random(seed), Counter[str]()
    server = _serve(home)
    deadline = time.monotonic() + 120
    while server.poll() is None or server.returncode != 0:
        assert time.monotonic() < deadline, (home / "server.log").read_text()[-3000:]
        if server.poll() is not None:
            server = _serve(home)
        if sum(kills.values()) >= 20:
            server.wait(30)
            continue
        time.sleep(chance.uniform(0.0, 0.12))
        kind = ("task", "shim", "server")[sum(kills.values()) % 3]
        if kind == "server" and not (home / "runs").exists():
            continue  # it has not begun yet
        for pid in _victims(home, server, kind)[:1]:
            os.kill(pid, signal.SIGKILL)
            kills[kind] += 1
            if kind == "server":
                server.wait()
                time.sleep(chance.uniform(0.0, 0.1))
    events = [stored.event for stored in EventLog(home / "events.jsonl").stored]
    assert events[-1] == RunEnded("SUCCEEDED")
    assert _outputs(home) == _outputs(alone)
    finished: set[str] = set()
    for event in events:
        if isinstance(event, AttemptStarted):
            assert event.task not in finished
        if isinstance(event, TaskSucceeded):
            assert event.task not in finished
            finished.add(event.task)
    assert not list(home.glob("runs/r1/*/overlap"))
    assert sum(kills.values()) == 20, kills
    assert not processes_in(home)


def test_a_task_goes_on_while_the_server_is_dead_and_is_taken_up_by_the_next(tmp_path: Path) -> None:
    server = _serve(tmp_path / "h")
    started = tmp_path / "h/runs/r1/a/state/checkpoint"
    _until(started.exists)
    server.kill()
    server.wait()
    _until((tmp_path / "h/runs/r1/a/1/exit.json").exists)
    assert _serve(tmp_path / "h").wait(60) == 0
    log = EventLog(tmp_path / "h/events.jsonl")
    assert log.kinds("r1", "a") == ["attempt_started", "task_succeeded"]  # recorded, not run again


def test_a_shim_that_waits_for_a_server_that_died_starts_nothing(tmp_path: Path) -> None:
    """The word to start comes through a pipe after the start is on record; a closed pipe is no word."""
    program = (
        "import os, sys; from pathlib import Path; from tuneline.execute import process;"
        "folder = Path(sys.argv[1]);"
        "process.launch(folder, folder / 'log.txt', os.environ, packages=False); os.kill(os.getpid(), 9)"
    )
    (tmp_path / "task.json").write_text(
        '{"command": ["touch", "ran"], "entry": "", "args": [], "timeout_s": 0, "grace_s": 1}'
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    _until(lambda: not processes_in(tmp_path))
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "exit.json").exists()


def _until(true: object, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)
