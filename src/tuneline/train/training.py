"""The training loop: batches in, optimizer steps out, a checkpoint now and then.

Knows nothing of files, text or steps: it is given a network, rows of ids and a recipe. The loss is TRL's:
the mean over all learned tokens of an optimizer step. A training resumed from any of its checkpoints ends
with the same bytes.

Where several processes train, all go through the same batches and each computes its share of the rows: what
they add up is what one process has of the whole batch, but for rounding.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from tuneline.train import sharding
from tuneline.train.batches import epoch_batches
from tuneline.train.checkpoints import Checkpoints
from tuneline.train.model import TrainedModel, pad
from tuneline.train.recipe import Recipe
from tuneline.train.rows import Example
from tuneline.train.world import ALONE, World
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
    world: World = ALONE,
) -> Progress:
    """Train what in `model.network` requires a gradient, in place. Returns how it went.

    Goes on from the newest checkpoint, if there is one. Rows are never mixed: a batch is
    `per_device_train_batch_size` of them for each process, a step `gradient_accumulation_steps` batches.
    Every process of `world` calls it with the same; rank 0 alone writes checkpoints.
    """
    parameters = {name: value for name, value in model.network.named_parameters() if value.requires_grad}
    optimizer = _optimizer(parameters, recipe)
    found = world.from_first(checkpoints.load() if world.writes else None)
    progress = _resume(parameters, optimizer, found, recipe.seed, world)
    lengths = [len(row.ids) for row in rows]
    size = recipe.batch_rows
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
        step_rows = [[rows[k] for k in batch] for batch in chosen]
        loss, norm = _step(model, step_rows, optimizer, recipe, rate, world)
        tokens, seconds = sum(lengths[k] for batch in chosen for k in batch), clock() - began
        progress.step += 1
        progress.tokens += tokens
        progress.seconds += seconds
        progress.losses.append(loss)
        progress.rates.append(rate)
        report(Point(progress.step, total, loss, rate, norm, tokens, seconds))
        if progress.step % recipe.save_steps == 0 and progress.step < total:
            state = _state(parameters, optimizer, progress, world)
            if world.writes:
                checkpoints.save(progress.step, state)
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
    world: World = ALONE,
) -> tuple[float, float]:
    """One optimizer step over `batches`, this process' share of each. Returns the loss and the gradient's
    norm, those of all processes together."""
    learned = sum(len(row.ids) - max(1, row.learned_from) for batch in batches for row in batch)
    mixed = recipe.method == "full" and recipe.dtype != "float32"
    total = 0.0
    for batch in batches:
        mine, counts = world.share(batch), 1.0
        if not mine and recipe.sharded:  # the others need this process' part of every layer
            mine, counts = batch[:1], 0.0
        if not mine:
            continue
        with torch.autocast(model.device.type, torch.bfloat16) if mixed else nullcontext():
            loss, _ = batch_loss(model, mine)
        (loss * (counts / learned)).backward()  # type: ignore[no-untyped-call]
        total += loss.item() * counts
    values = [value for group in optimizer.param_groups for value in group["params"]]
    total = _together(values, total, world)
    norm = _clip(values, recipe)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total / learned, norm


def _clip(values: Sequence[nn.Parameter], recipe: Recipe) -> float:
    """Scale the gradients down to `max_grad_norm`, in place. Returns their norm before."""
    most = recipe.max_grad_norm or float("inf")
    if recipe.sharded:
        return sharding.clip(values, most)
    return float(nn.utils.clip_grad_norm_(values, most).item())


def _together(values: Sequence[nn.Parameter], total: float, world: World) -> float:
    """Add up the gradients of all processes, in place, and return their losses' sum. A process without rows
    in this step adds nothing."""
    if world.alone:
        return total
    whole = [value for value in values if not sharding.is_sharded([value])]
    for value in whole:
        if value.grad is None:
            value.grad = torch.zeros_like(value)
    world.sum(value.grad for value in whole if value.grad is not None)
    summed = torch.tensor([total], dtype=torch.float64, device=values[0].device)
    world.sum([summed])
    return float(summed.item())


def _optimizer(parameters: dict[str, nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW with transformers' numbers. Weight decay leaves out biases and norms, as its Trainer does.

    Fused, but where layers are shared out and others are not: no fused step takes both.
    """
    plain = [value for name, value in parameters.items() if name.endswith("bias") or "norm" in name.lower()]
    left = {id(value) for value in plain}
    decayed = [value for value in parameters.values() if id(value) not in left]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    parts = sum(sharding.is_sharded([value]) for value in parameters.values())
    how = {"fused": True} if parts in (0, len(parameters)) else {"foreach": False}
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.999), eps=1e-8, **how)


def _state(
    parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, progress: Progress, world: World
) -> dict[str, Any]:
    state = {
        "weights": sharding.whole_weights(parameters, keep=world.writes),
        "optimizer": sharding.whole_optimizer(optimizer.state_dict(), keep=world.writes),
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "progress": vars(progress).copy(),
    }
    return state if world.alone else {**state, "random_of": world.gather(_random())}


def _resume(
    parameters: dict[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any] | None,
    seed: int,
    world: World,
) -> Progress:
    """Take up a checkpoint, or begin. Each process has random numbers of its own: rank 0 those that one
    alone would have."""
    if not world.writes:
        torch.manual_seed(seed + world.rank)
    if state is None:
        return Progress.of(None)
    with torch.no_grad():
        for name, value in parameters.items():
            value.copy_(sharding.part_of(state["weights"][name], value))
    optimizer.load_state_dict(sharding.optimizer_parts(state["optimizer"], optimizer))
    ranks = state.get("random_of") or []
    if len(ranks) == world.size:
        _take_random(ranks[world.rank])
    elif world.writes:
        _take_random({"cpu": state["random"], "cuda": state.get("random_cuda") or []})
    return Progress.of(state)


def _random() -> dict[str, Any]:
    """The random state of this process: of the processor and of its GPU."""
    cuda = [torch.cuda.get_rng_state()] if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def _take_random(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"].cpu())
    if not torch.cuda.is_available() or not state["cuda"]:
        return
    if len(state["cuda"]) == 1:
        torch.cuda.set_rng_state(state["cuda"][0].cpu())
    else:
        torch.cuda.set_rng_state_all([one.cpu() for one in state["cuda"]])
