"""The processes that train one model together: who this one is, and what they tell each other.

Each holds the whole model, computes its share of every batch, and adds its gradients to those of the others.
Started by `steps/workers.py`, which says by torchrun's own variables who is who. Limits: where CUDA shows
GPUs each process takes one and they talk by NCCL, which has never been run; else by gloo.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from tuneline.errors import SpecError

_PATIENCE = timedelta(minutes=30)
"""How long one waits for another: for a machine that still pulls its image, for rank 0 that still writes."""
_BUCKET = 1 << 23
"""Numbers that are added up in one message."""


@dataclass(frozen=True)
class World:
    """This process among those that train together. Without further ones, it is alone."""

    rank: int = 0
    """Of all, from 0: rank 0 writes what is written."""
    size: int = 1
    local_rank: int = 0
    """Of those on this machine."""
    local_size: int = 1

    @property
    def alone(self) -> bool:
        """Whether nobody else trains."""
        return self.size == 1

    @property
    def writes(self) -> bool:
        """Whether this is the process that writes checkpoints and outputs."""
        return self.rank == 0

    def share(self, batch: list[Any]) -> list[Any]:
        """This process' rows of a batch: every `size`-th. Rows stand by length, so shares cost alike."""
        return batch[self.rank :: self.size]

    def sum(self, values: Iterable[torch.Tensor]) -> None:
        """Add to each tensor, in place, those of the other processes; all give the same shapes. The same
        bits come out in every process."""
        if self.alone:
            return
        for bucket in _buckets(values):
            if len(bucket) == 1 and bucket[0].is_contiguous():
                dist.all_reduce(bucket[0])
                continue
            flat = torch.cat([value.reshape(-1) for value in bucket])
            dist.all_reduce(flat)
            parts = torch.split(flat, [value.numel() for value in bucket])
            for value, summed in zip(bucket, parts, strict=True):
                value.copy_(summed.view_as(value))

    def gather(self, mine: Any) -> list[Any]:
        """What each process has, by rank, in every process."""
        if self.alone:
            return [mine]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, mine)
        return found

    def from_first(self, value: Any) -> Any:
        """What rank 0 has, in every process."""
        if self.alone:
            return value
        holder = [value if self.writes else None]
        dist.broadcast_object_list(holder, src=0)
        return holder[0]


ALONE = World()


def join(env: Mapping[str, str]) -> World:
    """Meet the others. env: torchrun's `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `LOCAL_WORLD_SIZE`, and
    `MASTER_ADDR` and `MASTER_PORT`, or `TUNELINE_MEETING`: a file, where all are on this machine.

    Raises: SpecError if there are fewer GPUs than processes; RuntimeError if the others do not come.
    """
    world = World(*(int(env[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))
    backend = "gloo"
    if torch.cuda.is_available():
        check_gpus(torch.cuda.device_count(), world.local_size)
        torch.cuda.set_device(world.local_rank)
        backend = "cpu:gloo,cuda:nccl"
    meeting = env.get("TUNELINE_MEETING")
    at = f"file://{meeting}" if meeting else f"tcp://{env['MASTER_ADDR']}:{env['MASTER_PORT']}"
    dist.init_process_group(
        backend, init_method=at, rank=world.rank, world_size=world.size, timeout=_PATIENCE
    )
    return world


def leave(world: World) -> None:
    """Part from the others, once all are done: who goes early breaks the line of those that still talk."""
    if not world.alone:
        dist.barrier()
        dist.destroy_process_group()


def check_gpus(there: int, asked: int) -> None:
    """Raises: SpecError if a machine with `there` GPUs (above 0) is asked for more processes than that."""
    if asked > there:
        raise SpecError(
            f"train.num_processes is {asked}, but CUDA shows {there} GPU{'s' if there > 1 else ''} on this "
            f"machine (CUDA_VISIBLE_DEVICES is {os.environ.get('CUDA_VISIBLE_DEVICES', 'not set')}).",
            hint=f"Set train.num_processes: {there}, or show more GPUs.",
        )


def _buckets(values: Iterable[torch.Tensor]) -> Iterable[list[torch.Tensor]]:
    """Tensors of one dtype that follow each other, up to `_BUCKET` numbers together."""
    bucket: list[torch.Tensor] = []
    for value in values:
        full = sum(v.numel() for v in bucket) + value.numel() > _BUCKET
        if bucket and (full or bucket[0].dtype != value.dtype):
            yield bucket
            bucket = []
        bucket.append(value)
    if bucket:
        yield bucket
