"""One attempt alone, as another engine starts it: a real process becomes the shim, and says how it ended."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SAYS = "echo hello > said.txt; echo $COLOR; exit 3"


def run(folder: Path, **changes):
    """The process, ended. 0.5 s: two interpreters."""
    folder.mkdir()
    body = {
        "image": "alpine", "command": ["sh", "-c", SAYS], "args": [], "env": {"COLOR": "blue"},
        "platform": {}, "resources": {}, "run": "r", "task": "t", "name": "n", "workspace": "",
        "executor_input": {}, **changes,
    }  # fmt: skip
    (folder / "launch.json").write_text(json.dumps(body))
    env = {**os.environ, "TUNELINE_HOME": str(folder / "home"), "TUNELINE_IMAGES": "host"}
    words = [sys.executable, "-m", "tuneline.execute.single", str(folder)]
    return subprocess.run(words, env=env, cwd=folder, capture_output=True, text=True, timeout=30)


@pytest.mark.slow
def test_a_command_runs_in_its_folder_and_its_end_is_written_down(tmp_path):
    ended = run(tmp_path / "a")
    assert (tmp_path / "a" / "said.txt").read_text() == "hello\n"
    assert "blue" in ended.stdout
    assert json.loads((tmp_path / "a" / "exit.json").read_text())["exit_code"] == 3


@pytest.mark.slow
def test_an_image_that_nothing_here_can_run_is_refused_with_the_reason(tmp_path):
    ended = run(tmp_path / "a", command=["no-such-program"])
    assert ended.returncode == 1
    left = json.loads((tmp_path / "a" / "error.json").read_text())
    assert "`no-such-program` of the image `alpine` is not on this machine" in left["message"]
    assert left["retry"] is False
