"""What the shim runs before the task: real processes, some 50 ms each."""

import json
import os
import time
from pathlib import Path

import pytest

from tuneline.execute.files import AttemptFolder
from tuneline.execute.process import launch


@pytest.fixture
def run(tmp_path: Path):
    """Run a task after other commands, through a shim, to its end: how it ended, and its log."""

    def make(before: list[str], **task) -> tuple[int, str]:
        folder = AttemptFolder(tmp_path / "t" / "1")
        commands = [["sh", "-c", command] for command in before]
        folder.make({"before": commands, "timeout_s": 0, "grace_s": 1, **task}, {})
        shim = launch(folder.path, folder.log, dict(os.environ), packages="entry" in task)
        shim.go()
        while not shim.ended():
            time.sleep(0.005)
        shim.close()
        ending = folder.ending()
        assert ending is not None
        assert ending.timed_out == (task.get("timeout_s", 0) > 0)
        return ending.exit_code, folder.log.read_text()

    return make


@pytest.mark.parametrize(
    "task", [{"command": ["echo", "task"]}, {"entry": "os:system", "args": ["echo task"]}]
)
def test_a_task_starts_after_all_that_comes_before_it(run, task):
    _, said = run(["echo one", "sleep 0.05; echo two"], **task)
    assert said.split() == ["one", "two", "task"]


def test_a_task_does_not_start_after_what_failed(run):
    assert run(["echo one; exit 3", "echo two"], command=["echo", "task"]) == (3, "one\n")


def test_what_comes_before_counts_in_the_tasks_time_and_is_ended_with_it(run):
    code, said = run(["echo one; sleep 60"], command=["echo", "task"], timeout_s=0.2)
    assert (code != 0, said) == (True, "one\n")


def test_an_error_that_was_left_is_the_attempts(tmp_path: Path) -> None:
    folder = AttemptFolder(tmp_path)
    (tmp_path / "error.json").write_text(json.dumps({"code": "network", "message": "cut", "retry": True}))
    assert folder.error() == {"code": "network", "message": "cut", "retry": True}
