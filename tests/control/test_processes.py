"""Runtimes are known again, whatever had their pid before."""

import sys

import psutil

from tuneline.control import processes


def test_a_runtime_whose_pid_was_used_before_is_found_as_the_one_it_is(tmp_path):
    mark = {processes.MARK: f"{tmp_path}#one"}
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    running = processes.spawn(sleeper, tmp_path / "log", mark, tmp_path)
    try:
        (kept,) = [each for each in psutil.process_iter() if each.pid == running.pid]
        kept._create_time = 1.0  # what psutil keeps if it saw the process that had this pid before
        found = dict(processes.marked(tmp_path))
        assert list(found) == ["one"]
        assert processes.alive(found["one"])
    finally:
        processes.kill(running)
        processes.wait([running], 10)
