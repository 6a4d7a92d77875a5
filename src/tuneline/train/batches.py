"""In which order rows are trained on. Pure: the same lengths, size and seed give the same batches on every
machine.

Rows of like length share a batch, so little is padding: the rows are shuffled, cut into stretches of 50
batches, sorted by length within a stretch, cut into batches, and the batches shuffled. Every epoch has its
own order.
"""

from collections.abc import Sequence

import numpy as np

_STRETCH_BATCHES = 50


def epoch_batches(lengths: Sequence[int], size: int, seed: int, epoch: int) -> list[list[int]]:
    """The batches of one epoch: lists of row numbers, every row once. The longest batch comes first.

    First, so that a batch too large for memory fails at once and not after an hour.
    """
    chance = np.random.Generator(np.random.PCG64([seed, epoch]))
    order = chance.permutation(len(lengths))
    stretch = size * _STRETCH_BATCHES
    batches: list[list[int]] = []
    for start in range(0, len(order), stretch):
        rows = sorted(order[start : start + stretch].tolist(), key=lambda row: lengths[row])
        batches += [rows[at : at + size] for at in range(0, len(rows), size)]
    shuffled = [batches[index] for index in chance.permutation(len(batches))]
    longest = max(
        range(len(shuffled)), key=lambda index: max(lengths[row] for row in shuffled[index]), default=0
    )
    if shuffled:
        shuffled.insert(0, shuffled.pop(longest))
    return shuffled


def length_batches(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Batches for reading only: rows sorted by length, at most `tokens` ids with padding in each, every row
    once."""
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: (lengths[row], row)):
        if batches and (len(batches[-1]) + 1) * max(1, lengths[row]) <= tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
