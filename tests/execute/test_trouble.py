"""A machine in trouble: a full disk, a stuck shim, no memory, kernels without pidfds."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.execute.conftest import processes_in
from tests.execute.doubles import IMAGES, EventLog, pipeline, submitted

from tuneline.execute import process
from tuneline.execute.runner import Runner
from tuneline.plan.events import AttemptStarted, RunEnded, TaskSucceeded
from tuneline.settings import Settings
from tuneline.types import RunId

R = RunId("r1")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 512 KB."""
    if os.geteuid() != 0:
        pytest.skip("to mount a tmpfs needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def _run(home: Path, log: EventLog, tasks: dict[str, Any], **changes: Any) -> RunEnded:
    runner = Runner(log, log, log, Settings(home=home), images=IMAGES, **changes)
    runner.start_thread()
    try:
        runner.start(submitted(R, pipeline(tasks), {}), log.lease("r1"))
        assert runner.wait(10), log.of("r1")
    finally:
        runner.stop()
    ended = log.of("r1")[-1]
    assert isinstance(ended, RunEnded)
    return ended


def test_a_task_that_cannot_be_started_for_a_full_disk_says_so_and_can_be_retried(
    small_disk: Path, log: EventLog
) -> None:
    filler = small_disk / "filler"
    subprocess.run(["sh", "-c", 'cat /dev/zero >"$0"', str(filler)], check=False, capture_output=True)
    ended = _run(small_disk, log, {"t": {}})
    assert ended.error is not None
    assert ended.error["code"] == "no_resource"
    assert "the disk is full" in ended.error["message"]
    assert str(small_disk) in ended.error["message"]
    assert "tuneline runs retry" in ended.error["hint"]
    filler.unlink()
    runner = Runner(log, log, log, Settings(home=small_disk), images=IMAGES)
    runner.start_thread()
    runner.retry(submitted(R, pipeline({"t": {}})), log.lease("r1"), by="ann")
    assert runner.wait(10)
    runner.stop()
    assert log.of("r1")[-1] == RunEnded("SUCCEEDED")


def test_a_task_that_fills_the_disk_gets_its_exit_status_and_an_error_that_says_why(
    small_disk: Path, log: EventLog
) -> None:
    script = "cat /dev/zero > {{$.outputs.artifacts['f'].path}}"
    ended = _run(small_disk, log, {"t": {"sh": script, "made": ["f"]}})
    assert (small_disk / "runs/r1/t/1/exit.json").exists()
    assert ended.error is not None
    assert ended.error["code"] == "no_resource"
    assert "Task `t` failed: the disk is full" in ended.error["message"]
    assert log.kinds("r1", "t") == ["attempt_started", "attempt_failed"]


def test_a_shim_that_does_not_answer_is_killed_with_all_of_its_task(
    make_runner: Any, log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuneline.execute.runner._STUCK_S", 0.2)
    runner = make_runner()
    runner.start(submitted(R, pipeline({"t": {"sh": "touch ready; setsid sleep 60"}}), {}), log.lease("r1"))
    while not (tmp_path / "runs/r1/t/1/ready").exists():
        time.sleep(0.005)
    started = next(event for event in log.of("r1") if isinstance(event, AttemptStarted))
    os.kill(started.pid, signal.SIGSTOP)
    runner.cancel(R, by="ann")
    assert runner.wait(10)
    assert log.kinds("r1")[-2:] == ["task_canceled", "run_ended"]
    assert not processes_in(tmp_path)


def test_without_pidfds_ends_are_looked_for(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_pidfd", lambda pid: None)
    assert _run(tmp_path, log, {"a": {}, "b": {"after": ["a"]}}).state == "SUCCEEDED"


def test_a_process_is_known_by_its_start_and_folder_not_by_its_pid_alone(tmp_path: Path) -> None:
    body = '{"command": ["true"], "entry": "", "args": [], "timeout_s": 0, "grace_s": 1}'
    (tmp_path / "task.json").write_text(body)
    shim = process.launch(tmp_path, tmp_path / "log.txt", os.environ, packages=False)
    found = process.find(shim.pid, shim.started, tmp_path)
    assert found is not None
    found.close()
    assert process.find(shim.pid, shim.started - 60, tmp_path) is None
    assert process.find(shim.pid, shim.started, tmp_path / "other") is None
    shim.go()
    while not shim.ended():
        time.sleep(0.005)
    shim.close()
    assert shim.exit_code == 0
    assert process.find(shim.pid, shim.started, tmp_path) is None


def test_a_program_that_is_not_there_is_an_error_that_names_it(log: EventLog, tmp_path: Path) -> None:
    ended = _run(tmp_path, log, {"t": {"command": ["no-such-program"]}})
    assert ended.error is not None
    assert ended.error["message"] == "Task `t` ended with exit code 127."
    assert ended.error["details"] == ["no-such-program: not found"]


def test_a_task_killed_by_its_own_fault_has_failed_and_is_not_lost(log: EventLog, tmp_path: Path) -> None:
    ended = _run(tmp_path, log, {"t": {"sh": "kill -SEGV $$"}})
    assert ended.error is not None
    assert ended.error["message"] == "Task `t` was killed by signal 11."


def test_progress_is_read_once_across_restarts_and_half_a_line_waits(tmp_path: Path, log: EventLog) -> None:
    line = '{"type": "progress", "done": %d, "total": 3, "unit": "rows"}'
    first = f"echo '{line % 1}' > events.jsonl; printf '%s' '{line % 2}' >> events.jsonl; touch ready"
    tasks = {"t": {"sh": f"{first}; while ! test -e go; do sleep 0.02; done; echo >> events.jsonl"}}
    runner = Runner(log, log, log, Settings(home=tmp_path), images=IMAGES)
    runner.start_thread()
    runner.start(submitted(R, pipeline(tasks), {}), log.lease("r1"))
    deadline = time.monotonic() + 10
    while not log.points and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [point["done"] for _, _, point in log.points] == [1]
    runner.stop()
    (tmp_path / "runs/r1/t/1/go").touch()
    ended = _run(tmp_path, log, tasks)
    assert ended.state == "SUCCEEDED"
    assert [point["done"] for _, _, point in log.points] == [1, 2]
    assert len([event for event in log.of("r1") if isinstance(event, TaskSucceeded)]) == 1
