"""A model whose layers are shared out among the processes that train it: torch's FSDP2.

Each process keeps its part of every layer, gets the rest of a layer just before it is computed, and forgets
it after. Embeddings, the last norm and the vocabulary head stay whole in every process, because the head is
computed apart from the model, only where something is learned; their gradients are added up as without
sharding. Checkpoints and adapters are written whole: one process can go on from them. Limits: no quantized
weights; only ever run on CPUs.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from tuneline.errors import ModelError


def shard(inner: Any) -> str:
    """Share out the layers of a transformers model, in place. Returns the name of their class.

    Raises: ModelError if it has no list of layers.
    """
    decoder = inner.get_decoder()
    layers = getattr(decoder, "layers", None)
    if not isinstance(layers, nn.ModuleList) or not len(layers):
        raise ModelError(
            f"The layers of {type(inner).__name__} are not found, so `train.fsdp` cannot share them out.",
            hint="Leave train.fsdp out: then each process holds the whole model.",
        )
    name = type(layers[0]).__name__  # torch gives each layer a class of its own below
    own = {id(value) for value in layers.parameters()}
    rest = {value for value in decoder.parameters() if id(value) not in own}
    for layer in layers:
        part: Any = fully_shard(layer, reshard_after_forward=True)
        part.set_gradient_divide_factor(1.0)  # the loss is divided already, by what all processes learn
        part.set_force_sum_reduction_for_comms(True)
    fully_shard(decoder, ignored_params=rest)
    return name


def is_sharded(values: Iterable[torch.Tensor]) -> bool:
    """Whether any of them is a part of a tensor."""
    return any(isinstance(value, DTensor) for value in values)


def whole(value: Any, *, keep: bool = True) -> Any:
    """A tensor with all its parts, in main memory; anything else as it is. Every process must ask.

    keep: whether this one wants it; else it gets its own part back, so that one copy is made and not many.
    """
    if not isinstance(value, DTensor):
        return value
    found = value.full_tensor()
    return found.cpu() if keep else value


def part_of(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """This process' part of a whole tensor, shared out as `like` is; the whole one if that is whole."""
    if not isinstance(like, DTensor) or value.shape != like.shape:
        return value
    there = value.to(like.device)
    return distribute_tensor(there, like.device_mesh, like.placements, src_data_rank=None)


def whole_weights(parameters: Mapping[str, torch.Tensor], *, keep: bool) -> dict[str, torch.Tensor]:
    """Weights by name, whole. Every process must ask."""
    return {name: whole(value.detach(), keep=keep) for name, value in parameters.items()}


def whole_optimizer(state: Mapping[str, Any], *, keep: bool) -> dict[str, Any]:
    """An optimizer's `state_dict()` as one process would have it. Every process must ask."""
    return _each(state, lambda _, value: whole(value, keep=keep))


def optimizer_parts(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The other way round: what this process loads of such a state."""
    values = [value for group in optimizer.param_groups for value in group["params"]]
    return _each(state, lambda at, value: part_of(value, values[at]) if torch.is_tensor(value) else value)


def clip(values: Iterable[nn.Parameter], most: float) -> float:
    """Scale gradients down to the norm `most`, in place. Returns the norm before, that of all processes."""
    found = [value.grad for value in values if value.grad is not None]
    squared = torch.zeros((), dtype=torch.float64)
    for kind in (True, False):
        if some := [grad for grad in found if isinstance(grad, DTensor) is kind]:
            squared += whole(nn.utils.get_total_norm(some)).double().cpu() ** 2
    norm = squared.sqrt().item()
    factor = min(1.0, most / (norm + 1e-6))
    for grad in found:
        grad.mul_(factor)
    return norm


def _each(state: Mapping[str, Any], change: Callable[[int, Any], Any]) -> dict[str, Any]:
    changed = {
        at: {name: change(at, value) for name, value in sorted(one.items())}
        for at, one in sorted(state["state"].items())
    }
    return {**state, "state": changed}
