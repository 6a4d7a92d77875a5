"""The training's numbers: parsed, checked all at once, and the learning rate as transformers has it."""

import pytest

from tuneline.errors import SpecError
from tuneline.train.recipe import Recipe


def test_kfp_gives_every_number_as_a_float():
    recipe = Recipe.parse({"r": 16.0, "learning_rate": 1, "seed": 7.0, "something_else": 1})
    assert (recipe.r, recipe.learning_rate, recipe.seed) == (16, 1.0, 7)
    assert isinstance(recipe.r, int)


def test_all_faults_are_told_at_once():
    with pytest.raises(SpecError) as caught:
        Recipe.parse({"method": "qlora", "r": 0, "lora_dropout": 1.0, "lr_scheduler_type": "cosin"})
    assert len(caught.value.details) == 4
    assert "train.method: `qlora` is not one of lora, full" in caught.value.details


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cosine", "linear", "constant"])
def test_the_learning_rate_is_that_of_transformers(kind):
    """Imports transformers, 3 s."""
    import torch  # noqa: PLC0415
    from transformers import get_scheduler  # noqa: PLC0415

    recipe = Recipe(lr_scheduler_type=kind, warmup_ratio=0.1, learning_rate=5e-4)
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=5e-4)
    name = "constant_with_warmup" if kind == "constant" else kind
    schedule = get_scheduler(name, optimizer, num_warmup_steps=3, num_training_steps=30)
    for step in range(30):
        assert recipe.rate(step, 30) == pytest.approx(schedule.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize(
    "changes, batches, steps",
    [({}, 48, 48), ({"num_train_epochs": 2.0}, 48, 96), ({"num_train_epochs": 0.5}, 9, 5),
     ({"max_steps": 7}, 48, 7),
     ({"gradient_accumulation_steps": 4}, 10, 3)],
)  # fmt: skip
def test_the_number_of_steps_follows_from_epochs_or_max_steps(changes, batches, steps):
    assert Recipe(**changes).total_steps(batches) == steps
