"""What a training saves memory with, and what it keeps and shows of itself.

`tune` as a real child process on a tiny model. bitsandbytes is looked for in TUNELINE_TEST_BITSANDBYTES, or
where `make bitsandbytes` puts it: beside the environment, since PEFT would import it at every start.
"""

import json
import os
from pathlib import Path

import pytest
from tests.steps.stepping import run_step
from tests.tiny import movie_rows, tiny_base, write_split

from tuneline.errors import MissingPartError, SpecError

pytestmark = pytest.mark.slow

RECIPE = {
    "r": 4, "lora_alpha": 8, "lora_dropout": 0.05, "learning_rate": 1e-2, "per_device_train_batch_size": 8,
    "num_train_epochs": 1, "save_steps": 5, "dtype": "float32", "seed": 7,
}  # fmt: skip
QLORA = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
ROOT = Path(__file__).parents[2]
BITSANDBYTES = Path(os.environ.get("TUNELINE_TEST_BITSANDBYTES") or ROOT / ".bitsandbytes")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tune")
    tiny_base(folder / "base", "gemma3")
    write_split(folder / "train", movie_rows(200))
    (folder / "none").mkdir()
    return {"base": folder / "base", "train": folder / "train", "init": folder / "none"}


@pytest.fixture(scope="module")
def plain(inputs, tmp_path_factory):
    return run_step("tune", tmp_path_factory.mktemp("plain"), RECIPE, inputs)


def points(step):
    return [event for event in step.events() if event["type"] == "progress"]


def weights(step):
    return (step.out("adapter") / "adapter_model.safetensors").read_bytes()


def test_checkpointed_gradients_and_seldom_points_give_the_same_adapter(plain, inputs, tmp_path):
    asked = {**RECIPE, "gradient_checkpointing": True, "logging_steps": 10, "save_total_limit": 4}
    saved = run_step("tune", tmp_path / "out", asked, inputs, tmp_path / "state")
    assert weights(saved) == weights(plain)
    assert (saved.out("adapter") / "tuneline.json").read_bytes() == (
        plain.out("adapter") / "tuneline.json"
    ).read_bytes()
    assert [point["done"] for point in points(saved)] == [10, 20, 25]
    losses = [point["loss"] for point in points(plain)]
    assert points(saved)[0]["loss"] == pytest.approx(sum(losses[:10]) / 10)
    assert points(saved)[-1]["loss"] == pytest.approx(sum(losses[20:]) / 5)
    assert len(list((tmp_path / "state/checkpoints").iterdir())) == 4  # of the steps 5, 10, 15 and 20


def test_a_layer_is_computed_twice_where_gradients_are_checkpointed(inputs):
    """Imports torch: 4 s."""
    from tuneline.train import fine_tuning, machine  # noqa: PLC0415
    from tuneline.train.recipe import Recipe  # noqa: PLC0415
    from tuneline.train.rows import examples, read_split  # noqa: PLC0415
    from tuneline.train.training import batch_loss, prepare_network  # noqa: PLC0415

    seen = {}
    for checkpointed in (False, True):
        machine.settle(7)
        recipe = Recipe(dtype="float32", gradient_checkpointing=checkpointed)
        model = fine_tuning.prepare(inputs["base"], None, recipe, "tiny")
        prepare_network(model, recipe)
        calls = []
        model.inner.model.layers[0].mlp.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        rows = examples(model.tokenizer, read_split(inputs["train"]), 128)[:4]
        batch_loss(model, rows)[0].backward()
        seen[checkpointed] = len(calls)
    assert seen == {False: 1, True: 2}


@pytest.fixture
def bitsandbytes(monkeypatch):
    if not (BITSANDBYTES / "bitsandbytes").is_dir():
        pytest.skip("no bitsandbytes: run `make bitsandbytes`, or set TUNELINE_TEST_BITSANDBYTES")
    places = [str(BITSANDBYTES), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(places))


def test_qlora_learns_and_its_adapter_stands_on_the_whole_base(bitsandbytes, plain, inputs, tmp_path):
    """On the CPU, where bitsandbytes has the same NF4 as on CUDA."""
    tuned = run_step("tune", tmp_path, {**RECIPE, **QLORA}, inputs)
    numbers = json.loads(tuned.out("metrics").read_text())
    assert numbers["final_loss"] < numbers["first_loss"] / 2
    assert weights(tuned) != weights(plain)
    recipe = json.loads((tuned.out("adapter") / "tuneline.json").read_text())["recipe"]
    assert (recipe["load_in_4bit"], recipe["bnb_4bit_quant_type"]) == (True, "nf4")

    from tuneline.train import model as trainer  # noqa: PLC0415

    loaded = trainer.load(inputs["base"], tuned.out("adapter"), "float32")
    asked = movie_rows(20, start=1000)
    prompts = [loaded.prompt_token_ids(f"Review: {row['text']}\nSentiment:") for row in asked]
    answers = [[loaded.tokenizer.encode_all([f" {row['label']}"], special=False)[0][0]] for row in asked]
    scores = loaded.continuation_logprobs(prompts, answers)
    right = sum(score[0].argmax == answer[0] for score, answer in zip(scores, answers, strict=True))
    assert right >= 18


def test_qlora_without_bitsandbytes_or_without_lora_is_refused():
    from tuneline.train import quantized  # noqa: PLC0415
    from tuneline.train.recipe import Recipe  # noqa: PLC0415

    with pytest.raises(MissingPartError, match="needs bitsandbytes") as caught:
        quantized.check(Recipe(load_in_4bit=True))
    assert "tuneline[qlora]" in caught.value.hint
    with pytest.raises(SpecError, match="freezes none"):
        quantized.check(Recipe(load_in_4bit=True, method="full"))
