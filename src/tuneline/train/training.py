"""The training loop: batches in, optimizer steps out, a checkpoint now and then.

Knows nothing of files, text or steps: it is given a network, rows of ids and a recipe. The loss is TRL's:
the mean over all learned tokens of an optimizer step. A training resumed from any of its checkpoints ends
with the same bytes.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from tuneline.train.batches import epoch_batches
from tuneline.train.checkpoints import Checkpoints
from tuneline.train.model import TrainedModel, pad
from tuneline.train.recipe import Recipe
from tuneline.train.rows import Example
from tuneline.types import Clock


@dataclass(frozen=True)
class Point:
    """One optimizer step, done."""

    step: int
    """From 1."""
    total: int
    loss: float
    """Nats a learned token."""
    learning_rate: float
    grad_norm: float
    """Before it was clipped."""
    tokens: int
    """Ids in the step's batches, padding not counted."""
    seconds: float


Report = Callable[[Point], None]


@dataclass
class Progress:
    """How far a training is; what a checkpoint holds beside weights and optimizer."""

    step: int = 0
    losses: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, state: dict[str, Any] | None) -> "Progress":
        """That of a checkpoint; of none, the start."""
        return cls() if state is None else cls(**state["progress"])


def train(
    model: TrainedModel,
    rows: Sequence[Example],
    recipe: Recipe,
    checkpoints: Checkpoints,
    report: Report,
    clock: Clock,
) -> Progress:
    """Train what in `model.network` requires a gradient, in place. Returns how it went.

    Goes on from the newest checkpoint, if there is one. Rows are never mixed: a batch is
    `per_device_train_batch_size` of them, a step `gradient_accumulation_steps` batches.
    """
    parameters = {name: value for name, value in model.network.named_parameters() if value.requires_grad}
    optimizer = _optimizer(parameters, recipe)
    progress = _resume(parameters, optimizer, checkpoints.load())
    lengths = [len(row.ids) for row in rows]
    size = recipe.per_device_train_batch_size
    per_epoch = recipe.steps_per_epoch(-(-len(rows) // size))
    total = recipe.total_steps(-(-len(rows) // size))
    prepare_network(model, recipe)
    batches: list[list[int]] = []
    while progress.step < total:
        began = clock()
        epoch, place = divmod(progress.step, per_epoch)
        if place == 0 or not batches:
            batches = epoch_batches(lengths, size, recipe.seed, epoch)
        first = place * recipe.gradient_accumulation_steps
        chosen = batches[first : first + recipe.gradient_accumulation_steps]
        rate = recipe.rate(progress.step, total)
        loss, norm = _step(model, [[rows[k] for k in batch] for batch in chosen], optimizer, recipe, rate)
        tokens, seconds = sum(lengths[k] for batch in chosen for k in batch), clock() - began
        progress.step += 1
        progress.tokens += tokens
        progress.seconds += seconds
        progress.losses.append(loss)
        progress.rates.append(rate)
        report(Point(progress.step, total, loss, rate, norm, tokens, seconds))
        if progress.step % recipe.save_steps == 0 and progress.step < total:
            checkpoints.save(progress.step, _state(parameters, optimizer, progress))
    return progress


def prepare_network(model: TrainedModel, recipe: Recipe) -> None:
    """Turn on what a model does only while it is trained."""
    model.network.train()
    if recipe.gradient_checkpointing:  # of layers that are not re-entered: frozen embeddings need no gradient
        model.inner.gradient_checkpointing_enable({"use_reentrant": False})


def batch_loss(model: TrainedModel, rows: Sequence[Example]) -> tuple[torch.Tensor, int]:
    """The summed loss of the learned tokens of `rows`, in nats, and how many they are."""
    ids, mask = pad([row.ids for row in rows], model.tokenizer.pad_id)
    places = [
        (n, column) for n, row in enumerate(rows) for column in range(max(1, row.learned_from), len(row.ids))
    ]
    at, columns = torch.tensor(places).T
    logits = model.logits_at(ids, mask, at, columns - 1)
    given = ids[at, columns].to(logits.device)
    return nn.functional.cross_entropy(logits, given, reduction="sum"), len(places)


def _step(
    model: TrainedModel,
    batches: list[list[Example]],
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    rate: float,
) -> tuple[float, float]:
    """One optimizer step over `batches`. Returns the loss and the gradient's norm."""
    learned = sum(len(row.ids) - max(1, row.learned_from) for batch in batches for row in batch)
    mixed = recipe.method == "full" and recipe.dtype != "float32"
    total = 0.0
    for batch in batches:
        with torch.autocast(model.device.type, torch.bfloat16) if mixed else nullcontext():
            loss, _ = batch_loss(model, batch)
        (loss / learned).backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    values = [value for group in optimizer.param_groups for value in group["params"]]
    norm = nn.utils.clip_grad_norm_(values, recipe.max_grad_norm or float("inf"))
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total / learned, norm.item()


def _optimizer(parameters: dict[str, nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW with transformers' numbers. Weight decay leaves out biases and norms, as its Trainer does."""
    plain = [value for name, value in parameters.items() if name.endswith("bias") or "norm" in name.lower()]
    left = {id(value) for value in plain}
    decayed = [value for value in parameters.values() if id(value) not in left]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.999), eps=1e-8, fused=True)


def _state(
    parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, progress: Progress
) -> dict[str, Any]:
    return {
        "weights": {name: value.detach() for name, value in parameters.items()},
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "progress": vars(progress).copy(),
    }


def _resume(
    parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, state: dict[str, Any] | None
) -> Progress:
    if state is None:
        return Progress.of(None)
    with torch.no_grad():
        for name, value in parameters.items():
            value.copy_(state["weights"][name])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"].cpu())
    if torch.cuda.is_available() and state.get("random_cuda"):
        torch.cuda.set_rng_state_all([one.cpu() for one in state["random_cuda"]])
    return Progress.of(state)
