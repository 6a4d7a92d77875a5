"""`tune` as two real processes on the CPU, which talk by gloo, against one: 6 s each, most of it imports.

With the same rows in a batch they must go the same way but for rounding. No GPU and no NCCL is seen here.
"""

import json
import os
import signal
import socket
import time

import psutil
import pytest
from tests.steps.stepping import fail_step, run_step, start_step
from tests.tiny import movie_rows, tiny_base, write_split

pytestmark = pytest.mark.slow

ONE = {
    "r": 4, "lora_alpha": 8, "learning_rate": 1e-2, "per_device_train_batch_size": 16,
    "gradient_accumulation_steps": 2, "num_train_epochs": 2.0, "save_steps": 2, "dtype": "float32", "seed": 7,
}  # fmt: skip
TWO = ONE | {"num_processes": 2, "per_device_train_batch_size": 8}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tune")
    tiny_base(folder / "base", "gemma3")
    write_split(folder / "train", movie_rows(205))  # the last batches of an epoch are short
    (folder / "none").mkdir()
    return folder


def inputs(world, **changes):
    return {"base": world / "base", "train": world / "train", "init": world / "none"} | changes


@pytest.fixture(scope="module")
def alone(world):
    return run_step("tune", world / "alone", ONE, inputs(world))


def points(step):
    return {event["done"]: event for event in step.events() if event["type"] == "progress"}


def weights(step):
    from safetensors.torch import load_file  # noqa: PLC0415

    (file,) = step.out("adapter").glob("*.safetensors")
    return load_file(file)


def assert_same_way(step, alone):
    mine, theirs = weights(step), weights(alone)
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        assert (value - theirs[name]).abs().max() < 1e-3, name
    for number, point in points(step).items():
        assert point["loss"] == pytest.approx(points(alone)[number]["loss"], abs=1e-4), number
        assert point["grad_norm"] == pytest.approx(points(alone)[number]["grad_norm"], rel=1e-2), number


def test_two_processes_go_the_way_of_one(world, alone):
    two = run_step("tune", world / "two", TWO, inputs(world))
    assert len(points(two)) == len(points(alone)) == 14
    assert points(two)[14]["loss"] < points(two)[1]["loss"] / 2
    assert_same_way(two, alone)
    assert sorted(path.name for path in two.out("adapter").iterdir()) == sorted(
        path.name for path in alone.out("adapter").iterdir()
    )
    numbers, theirs = (json.loads(step.out("metrics").read_text()) for step in (two, alone))
    assert (numbers["processes"], theirs["processes"]) == (2, 1)
    assert numbers["tokens"] == theirs["tokens"]
    said = json.loads((two.folder / "output.json").read_text())["artifacts"]
    assert said["metrics"]["artifacts"][0]["metadata"] == numbers
    recipe = json.loads((two.out("adapter") / "tuneline.json").read_text())["recipe"]
    assert (recipe["num_processes"], recipe["per_device_train_batch_size"]) == (2, 8)
    assert not (two.folder / "state/workers").exists()


def test_every_weight_goes_the_same_way_with_layers_shared_out_and_one_goes_on(world):
    """FSDP2 on gloo: layers in parts, embeddings and norms whole, and a checkpoint that one process takes."""
    full = {"method": "full", "learning_rate": 2e-3, "max_steps": 5}
    whole = run_step("tune", world / "whole", ONE | full, inputs(world))
    state = world / "shared-state"
    two = run_step("tune", world / "shared", TWO | full | {"fsdp": True}, inputs(world), state)
    assert_same_way(two, whole)
    went_on = run_step("tune", world / "shared-one", ONE | full, inputs(world), state)
    assert min(points(went_on)) == 5
    assert_same_way(went_on, whole)


def test_killed_on_two_it_goes_on_on_one_and_ends_where_it_would_have(world, alone):
    """kill -9 of the process that started both, as a runner that gives up does: no worker may outlive it."""
    state = world / "killed-state"
    step = start_step("tune", world / "killed", TWO, inputs(world), state)
    wait_for_steps(step, 5)
    workers = children(step)
    assert len(workers) == 2
    step.process.kill()
    step.process.communicate(timeout=30)
    assert psutil.wait_procs(workers, timeout=30)[1] == []
    newest = max(int(path.name) for path in (state / "checkpoints").glob("*[0-9]"))
    went_on = run_step("tune", world / "went-on", ONE, inputs(world), state)
    notes = [event["message"] for event in went_on.events() if event["type"] == "note"]
    assert notes == [f"Going on from step {newest}, which 2 processes trained."]
    assert min(points(went_on)) == newest + 1
    assert_same_way(went_on, alone)


def test_a_worker_that_is_killed_ends_the_others_and_is_named(world):
    step = start_step("tune", world / "lost", TWO, inputs(world))
    wait_for_steps(step, 2)
    workers = children(step)
    second = next(each for each in workers if each.environ()["RANK"] == "1")
    os.kill(second.pid, signal.SIGKILL)
    step.process.communicate(timeout=30)
    assert step.process.returncode == 1
    assert psutil.wait_procs(workers, timeout=30)[1] == []
    error = step.error()
    assert error["code"] == "no_resource"
    assert "Process 1 of the 2 that train on this machine was killed (SIGKILL)" in error["message"]
    assert "last checkpoint" in error["hint"]


def test_what_is_wrong_with_all_is_one_error_as_of_one_process(world):
    empty = world / "empty"
    write_split(empty, movie_rows(4))
    error = fail_step("tune", world / "nothing", TWO | {"max_length": 1}, inputs(world, train=empty))
    assert error["code"] == "invalid_data"
    assert error["message"] == "No row has anything to learn."


def test_several_machines_are_refused_where_nothing_started_them(world):
    error = fail_step("tune", world / "machines", ONE | {"num_machines": 2}, inputs(world))
    assert error["code"] == "invalid_spec"
    assert "MASTER_ADDR, MASTER_PORT, NODE_RANK not set" in error["message"]


def test_two_machines_meet_by_the_variables_of_their_job(world, alone, monkeypatch):
    """Two starters on loopback, as the two pods of a Job are told; the second puts nothing out. The layers
    are shared out, and the configuration beside the curves is accelerate's own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MASTER_PORT", str(probe.getsockname()[1]))
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    asked = ONE | {"num_machines": 2, "per_device_train_batch_size": 8, "fsdp": True}
    steps = []
    for number in ("0", "1"):
        monkeypatch.setenv("NODE_RANK", number)
        steps.append(start_step("tune", world / f"machine-{number}", asked, inputs(world)))
    for step in steps:
        said, _ = step.process.communicate(timeout=120)
        assert step.process.returncode == 0, said
    assert_same_way(steps[0], alone)
    assert not steps[1].out("adapter").exists()
    assert json.loads((steps[1].folder / "output.json").read_text()) == {
        "parameterValues": {},
        "artifacts": {},
    }
    assert not (steps[1].folder / "state/checkpoints").exists()
    from accelerate.commands.config.config_args import load_config_from_file  # noqa: PLC0415

    config = load_config_from_file(str(steps[0].out("logs") / "accelerate.yaml"))
    assert (config.distributed_type.value, config.num_processes, config.num_machines) == ("FSDP", 2, 2)
    assert config.fsdp_config["fsdp_transformer_layer_cls_to_wrap"] == "Gemma3DecoderLayer"


def children(step):
    found = psutil.Process(step.process.pid).children(recursive=True)
    return [each for each in found if "tuneline.steps.tune_worker" in each.cmdline()]


def wait_for_steps(step, count):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and step.process.poll() is None:
        path = step.folder / "events.jsonl"
        if path.exists() and path.read_text().count('"progress"') >= count:
            return
        time.sleep(0.005)
    said, _ = step.process.communicate(timeout=10)
    raise AssertionError(f"it ended, or did not get that far: {said}")
