"""A run is killed again and again and ends as one left alone: same adapter, nothing finished done twice."""

import json
import random
import signal
import time
from pathlib import Path

import psutil
import pytest
from tests.e2e.projects import TRAIN, write_project
from tests.e2e.world import World, wait_for

from tuneline.errors import TransientError
from tuneline.plan.compile import compile_project
from tuneline.spec.project import load

pytestmark = pytest.mark.slow

KILLS = 20
SEED = 7
ENDED = ("SUCCEEDED", "FAILED", "CANCELED")


def shims(world: World) -> list[psutil.Process]:
    """The shims: all that an attempt starts has TUNELINE_ATTEMPT, and its first process is the shim."""
    found = [process for process in world.processes() if world.variable(process, "TUNELINE_ATTEMPT")]
    pids = {process.pid for process in found}
    return [process for process in found if parent(process) not in pids]


def tasks(world: World) -> list[psutil.Process]:
    return [child for shim in shims(world) for child in children(shim)]


def servers(world: World) -> list[psutil.Process]:
    return [process for process in world.processes() if cmdline(process)[1:4] == ["-m", "tuneline", "up"]]


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def parent(process: psutil.Process) -> int:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return 0


def children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children())
    except psutil.NoSuchProcess:
        return []


def kill(processes: list[psutil.Process], dice: random.Random) -> bool:
    if not processes:
        return False
    try:
        dice.choice(processes).send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return False
    return True


def state(world: World, run: str) -> str:
    """The run's state, from a server that is started if the last one was killed."""

    def asked() -> str:
        try:
            with world.server() as client:
                return str(client.run(run)["state"])
        except TransientError:
            return ""

    return wait_for(asked)


def digests(world: World, run: str) -> dict[str, str]:
    with world.server() as client:
        tasks = client.run(run)["tasks"]
    return {
        f"{task['name']}.{key}": artifact[0]["digest"]
        for task in tasks
        for key, artifact in task["outputs"]["artifacts"].items()
        if key in ("data", "base", "train", "test", "adapter", "served", "package")
    }


def story(world: World, run: str) -> str:
    """What happened, for a failing test."""
    with world.server() as client:
        return json.dumps([client.run(run)["error"], *client.events(run)["events"]], indent=1)[:6000]


def start(world: World, folder: Path) -> str:
    loaded = load(folder)
    project = {"name": folder.name, "text": loaded.text, "path": str(folder), "digest": "sha256:0"}
    with world.server() as client:
        return str(client.submit(compile_project(loaded.project), {}, project)["id"])


def test_a_run_killed_at_20_random_moments_ends_as_one_left_alone(tmp_path):
    train = {**TRAIN, "num_train_epochs": 25, "save_steps": 10}
    project = write_project(tmp_path / "reviews", train=train)
    alone, killed = World(tmp_path / "alone"), World(tmp_path / "killed")
    dice = random.Random(SEED)
    try:
        undisturbed = start(alone, project)
        wait_for(lambda: state(alone, undisturbed) in ENDED, timeout_s=400, every_s=0.3)
        expected = digests(alone, undisturbed)
        alone.close()

        run, done = start(killed, project), 0
        targets = (servers, tasks, shims)
        while done < KILLS:
            time.sleep(dice.uniform(0.05, 2.0))
            target = targets[done % 3]
            struck = wait_for(
                lambda target=target: kill(target(killed), dice) or state(killed, run) in ENDED and "ended",
                every_s=0.02,
            )
            assert struck != "ended", f"the run ended after {done} kills: {story(killed, run)}"
            done += 1
            if target is servers:
                killed.server().close()
        wait_for(lambda: state(killed, run) in ENDED, timeout_s=400, every_s=0.3)

        with killed.server() as client:
            ended = client.run(run)
            events = client.events(run)["events"]
        assert ended["state"] == "SUCCEEDED", ended["error"]
        assert digests(killed, run) == expected
        assert_nothing_finished_ran_twice(killed, run, events)
    finally:
        alone.close()
        killed.close()


def assert_nothing_finished_ran_twice(world: World, run: str, events: list[dict]) -> None:
    """By the record: one success a task, none after it. By the files: one attempt a task that ended well."""
    finished: set[str] = set()
    for event in events:
        if event["kind"] == "attempt_started":
            assert event["task"] not in finished, f"{event['task']} was started again after it had finished"
        if event["kind"] == "task_succeeded":
            assert event["task"] not in finished, f"{event['task']} finished twice"
            finished.add(event["task"])
    good: dict[str, int] = {}
    for path in (world.settings.runs / run).glob("*/*/exit.json"):
        if json.loads(path.read_text())["exit_code"] == 0:
            task = path.parent.parent.name
            good[task] = good.get(task, 0) + 1
    assert good == dict.fromkeys(finished, 1)
