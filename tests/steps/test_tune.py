"""`tune` as a real child process on a tiny model: 5 s each, of which 4 s import torch, transformers and
peft."""

import json
import random
import time

import pytest
from tests.steps.stepping import fail_step, run_step, start_step
from tests.tiny import movie_rows, tiny_base, write_split

from tuneline.steps.tuning import ends

pytestmark = pytest.mark.slow

RECIPE = {
    "r": 4, "lora_alpha": 8, "lora_dropout": 0.05, "learning_rate": 1e-2, "per_device_train_batch_size": 8.0,
    "num_train_epochs": 2.0, "gradient_accumulation_steps": 2, "save_steps": 2, "dtype": "float32", "seed": 7,
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tune")
    tiny_base(folder / "base", "gemma3")
    write_split(folder / "train", movie_rows(400))
    (folder / "none").mkdir()
    return folder


def inputs(world, **changes):
    return {"base": world / "base", "train": world / "train", "init": world / "none"} | changes


@pytest.fixture(scope="module")
def tuned(world):
    return run_step("tune", world / "whole", RECIPE, inputs(world))


def test_it_learns_and_tells_every_step(tuned):
    numbers = json.loads(tuned.out("metrics").read_text())
    points = [event for event in tuned.events() if event["type"] == "progress"]
    assert numbers["steps"] == len(points) == 50
    assert points[-1]["loss"] < points[0]["loss"] / 2
    assert numbers["final_loss"] < numbers["train_loss"] < numbers["first_loss"]
    assert {"loss", "tokens_per_s", "learning_rate", "total", "unit"} <= set(points[0])
    facts = json.loads((tuned.out("adapter") / "tuneline.json").read_text())
    assert facts["completions"] == {"negative": " negative", "positive": " positive"}
    assert facts["recipe"]["seed"] == 7
    assert list(tuned.out("logs").iterdir())


def test_the_loss_at_the_end_is_not_that_of_one_batch_alone():
    falling_but_for_the_last = [4.0, 3.0, 1.0, 0.5, 0.4, 0.3, 0.2, 1.5]
    assert ends(falling_but_for_the_last) == (3.5, 0.85)
    assert ends([2.0]) == (2.0, 2.0)


def test_an_adapter_holds_no_path_and_no_time(tuned, world):
    assert sorted(path.name for path in tuned.out("adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "tuneline.json",
    ]
    for path in tuned.out("adapter").iterdir():
        assert str(world).encode() not in path.read_bytes()


def test_killed_at_random_moments_it_ends_with_the_same_bytes(tuned, world):
    """kill -9 three times while it trains or writes a checkpoint; dropout, accumulation and two epochs are
    on.

    After the last kill the newest checkpoint loses its end, as in a power cut: the one before it is gone on
    from.
    """
    chance, state = random.Random(3), world / "killed-state"
    for attempt in range(3):
        step = start_step("tune", world / f"killed-{attempt}", RECIPE, inputs(world), state)
        wait_for_steps(step, chance.randint(3, 9))
        time.sleep(chance.random() * 0.05)
        step.process.kill()
        step.process.communicate()
    # a third is there if it was killed after writing one, and before the oldest went
    newest, before = sorted((state / "checkpoints").glob("*[0-9]"), reverse=True)[:2]
    torn = newest / "state.pt"
    torn.write_bytes(torn.read_bytes()[:-100])
    last = run_step("tune", world / "resumed", RECIPE, inputs(world), state)
    notes = [event["message"] for event in last.events() if event["type"] == "note"]
    assert notes == [f"Going on from step {int(before.name)}."]
    for path in tuned.out("adapter").iterdir():
        assert (last.out("adapter") / path.name).read_bytes() == path.read_bytes(), path.name


def wait_for_steps(step, count):
    """Until it has done `count` steps more than it started from."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and step.process.poll() is None:
        if sum(event["type"] == "progress" for event in whole_events(step)) >= count:
            return
        time.sleep(0.005)
    raise AssertionError("it ended, or did not get that far")


def whole_events(step):
    path = step.folder / "events.jsonl"
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


def test_it_goes_on_from_an_earlier_release(tuned, world):
    package = world / "package"
    package.mkdir()
    (package / "adapter").symlink_to(tuned.out("adapter"))
    recipe = RECIPE | {"max_steps": 3, "learning_rate": 1e-4}
    went_on = run_step("tune", world / "went-on", recipe, inputs(world, init=package))
    assert went_on.events()[0]["loss"] < tuned.events()[0]["loss"] / 2
    assert json.loads((went_on.out("adapter") / "tuneline.json").read_text())["init"].startswith("sha256:")


def test_an_adapter_that_does_not_fit_its_base_is_one_clear_error(tuned, world):
    tiny_base(world / "llama", "llama")
    error = fail_step(
        "tune", world / "misfit", RECIPE, inputs(world, base=world / "llama", init=tuned.out("adapter"))
    )
    assert error["code"] == "invalid_model"
    assert "does not fit its base" in error["message"]
    assert error["hint"]


def test_full_fine_tuning_puts_out_a_whole_model(world):
    recipe = RECIPE | {"method": "full", "max_steps": 6, "learning_rate": 2e-3, "dtype": "bfloat16"}
    whole = run_step("tune", world / "full", recipe, inputs(world))
    assert (whole.out("adapter") / "model.safetensors").is_file()
    assert (whole.out("adapter") / "config.json").is_file()
    losses = [event["loss"] for event in whole.events() if event["type"] == "progress"]
    assert losses[-1] < losses[0]
