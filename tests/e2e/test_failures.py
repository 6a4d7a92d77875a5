"""What must not happen, by the command line: each ends in one clear error that says what to do."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess

import pytest
from tests.e2e.projects import TRAIN, write_project, write_reviews
from tests.e2e.world import World, wait_for

pytestmark = pytest.mark.slow

LONG = {**TRAIN, "num_train_epochs": 400}
"""A training that outlasts any of these tests."""


def detached(world: World, project) -> str:
    ended = world.cli("run", str(project), "--detach", "--json")
    assert ended.returncode == 0, ended.stderr
    return str(json.loads(ended.stdout)["run"])


def first_run(world: World) -> str:
    """The id of the newest run; empty while there is none, or no server."""
    client = world.found()
    if client is None:
        return ""
    with client:
        return next((str(run["id"]) for run in client.runs()), "")


def task_state(world: World, run: str, name: str) -> str:
    with world.server() as client:
        return next(task["state"] for task in client.run(run)["tasks"] if task["name"] == name)


def test_two_runs_of_one_project_at_once_are_refused_naming_the_first(world, tmp_path):
    project = write_project(tmp_path / "reviews", train=LONG)
    first = detached(world, project)
    second = world.cli("run", str(project))
    assert second.returncode == 1
    assert first in second.stderr
    assert "tuneline runs" in second.stderr
    assert "Traceback" not in second.stderr


def test_ctrl_c_stops_following_and_not_the_run_which_cancel_ends_without_a_process_left(world, tmp_path):
    project = write_project(tmp_path / "reviews", train=LONG)
    child = world.start("run", str(project))
    run = wait_for(lambda: first_run(world))
    wait_for(lambda: task_state(world, run, "tune") == "RUNNING")
    os.kill(child.pid, signal.SIGINT)
    _, talk = child.communicate(timeout=20)
    assert child.returncode == 130
    assert f"tuneline runs cancel {run}" in talk
    assert "Traceback" not in talk
    assert task_state(world, run, "tune") == "RUNNING"
    assert world.cli("runs", "cancel", run).returncode == 0
    wait_for(lambda: task_state(world, run, "tune") == "CANCELED")
    wait_for(
        lambda: not [p for p in world.processes() if world.variable(p, "TUNELINE_ATTEMPT")],
    )
    shown = world.cli("runs", "show", run, "--json")
    assert json.loads(shown.stdout)["state"] == "CANCELED"


def test_a_port_that_is_taken_is_named_and_nothing_is_left_running(world):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = world.cli("up", "--port", str(port), timeout_s=120)
    assert ended.returncode == 1
    assert f"Port {port}" in ended.stderr
    assert f"process {os.getpid()}" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert world.processes() == []


def test_no_network_is_said_with_what_to_do(world, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"https://127.0.0.1:{closed.getsockname()[1]}/reviews.csv"
    data = {"source": url, "prompt": "Review: {text}\nSentiment:", "completion": " {label}"}
    project = write_project(tmp_path / "reviews", data=data)
    ended = world.cli("run", str(project))
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "127.0.0.1" in ended.stderr
    assert "runs retry" in ended.stderr


def test_a_wrong_column_and_a_wrong_key_are_named_before_or_when_they_matter(world, tmp_path):
    project = write_project(tmp_path / "reviews")
    text = (project / "tuneline.yaml").read_text()
    (project / "tuneline.yaml").write_text(text.replace("learning_rate:", "learning_rat:"))
    wrong = world.cli("run", str(project))
    assert wrong.returncode == 2
    assert "`learning_rat`" in wrong.stderr
    assert "nearest: `learning_rate`" in wrong.stderr
    assert world.processes() == [], "a wrong project must not start a server"

    (project / "tuneline.yaml").write_text(text.replace("{text}", "{txt}"))
    wrong = world.cli("run", str(project))
    assert wrong.returncode != 0
    assert "txt" in wrong.stderr
    assert "Traceback" not in wrong.stderr


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 MB. Needs root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("to mount a tmpfs needs root")
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_full_disk_is_said_and_the_run_goes_on_once_there_is_room(small_disk, tmp_path):
    world = World(small_disk / "home")
    try:
        project = write_project(tmp_path / "reviews")
        world.server().close()
        filler = small_disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb") as file:
            free = shutil.disk_usage(small_disk).free
            file.write(b"x" * max(0, free - 400_000))
        ended = world.cli("run", str(project))
        assert ended.returncode == 1
        assert "disk is full" in ended.stderr.lower() or "no space left" in ended.stderr.lower(), ended.stderr
        assert "Traceback" not in ended.stderr
        filler.unlink()
        world.server().close()
        run = first_run(world)
        if run:
            again = world.cli("runs", "retry", run)
            assert again.returncode == 0, again.stderr
            wait_for(lambda: task_state(world, run, "propose") == "SUCCEEDED", timeout_s=300)
        else:
            assert world.cli("run", str(project)).returncode == 0
    finally:
        world.close()


def test_data_of_one_label_is_refused_with_what_to_do(world, tmp_path):
    project = write_project(tmp_path / "reviews")
    path = write_reviews(project / "reviews.csv")
    path.write_text("\n".join(line for line in path.read_text().splitlines() if "negative" not in line))
    ended = world.cli("run", str(project))
    assert ended.returncode == 1
    assert "label" in ended.stderr
    assert "Traceback" not in ended.stderr
