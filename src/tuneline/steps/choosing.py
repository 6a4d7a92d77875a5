"""Which rows are trained on and which are held out: decided from their identities alone, all at once. Pure.

No decision depends on another row, except that of duplicates (the first is kept), of conflicting rows (one
input, several answers: all are dropped, as nothing says which is right), and of the limit (the smallest
hashes). So rows added later never move a row from one side to the other.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tuneline.errors import InternalError
from tuneline.steps.shapes import CODE, REASONS

TRAIN, TEST, NEITHER = 1, 2, 0
EXAMPLES = 5
"""Row numbers given for each reason."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Choice:
    """For every row, in order: its side, and why it is on none."""

    side: Bytes
    reason: Bytes

    def counts(self) -> dict[str, int]:
        """How many rows were dropped, by reason."""
        found = np.bincount(self.reason, minlength=len(REASONS))
        return {reason: int(found[code]) for reason, code in CODE.items() if code and found[code]}

    def examples(self) -> dict[str, list[int]]:
        """The first rows dropped for each reason, numbered from 1 (a header is not counted)."""
        return {
            reason: [int(at) + 1 for at in np.flatnonzero(self.reason == CODE[reason])[:EXAMPLES]]
            for reason in self.counts()
        }

    def rows(self, side: int) -> NDArray[np.int64]:
        """Indices of the rows on a side."""
        return np.flatnonzero(self.side == side).astype(np.int64)


def choose(survey: pl.DataFrame, test: float, *, conflicts: bool) -> Choice:
    """Sides of all rows, before limit and length. With `conflicts`, rows of one input and several answers are
    dropped.

    Args:
        survey: `reason`, `input`, `row`; as `shapes.surveyed` gives it.
        test: the fraction held out.
    """
    reason = survey["reason"].to_numpy().copy()
    inputs = survey["input"].to_numpy()
    fit = reason == 0
    _mark_repeated(survey, reason, fit, conflicts)
    held_out = inputs < np.uint64(min(int(test * 2.0**64), 2**64 - 1))
    side = np.where(reason == 0, np.where(held_out, TEST, TRAIN), NEITHER).astype(np.uint8)
    return Choice(side, reason)


def by_hash(survey: pl.DataFrame, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """These rows, smallest hash first."""
    first = pl.col("row").bin.slice(0, 8).bin.reinterpret(dtype=pl.UInt64, endianness="big")
    numbers = survey.lazy().select(first).collect().to_series().gather(rows).to_numpy()
    return rows[np.lexsort((rows, numbers))]


def without(choice: Choice, rows: Sequence[int] | NDArray[np.int64], reason: str) -> Choice:
    """The choice with these rows dropped."""
    side, reasons = choice.side.copy(), choice.reason.copy()
    at = np.asarray(rows, dtype=np.int64)
    side[at], reasons[at] = NEITHER, CODE[reason]
    return Choice(side, reasons)


def check_leakage(survey: pl.DataFrame, choice: Choice) -> None:
    """Raises InternalError if a held-out row's input is also trained on."""
    inputs = survey["input"].to_numpy()
    shared = np.intersect1d(
        np.unique(inputs[choice.side == TEST]), np.unique(inputs[choice.side == TRAIN]), True
    )
    if shared.size:
        raise InternalError(f"{shared.size} held-out rows are also in the training rows.")


def rows_digest(survey: pl.DataFrame, choice: Choice) -> str:
    """The identity of the two sets of rows, whatever order they came in: `sha256:...`."""
    found = hashlib.sha256()
    for side in (TRAIN, TEST):
        chosen = survey["row"].gather(choice.rows(side))
        for offset in (0, 8):
            part = chosen.bin.slice(offset, 8).bin.reinterpret(dtype=pl.UInt64, endianness="big").to_numpy()
            found.update(np.sort(part).astype(">u8").tobytes())
        found.update(b"|")
    return f"sha256:{found.hexdigest()}"


def _mark_repeated(survey: pl.DataFrame, reason: Bytes, fit: NDArray[np.bool_], conflicts: bool) -> None:
    """Set the reason of duplicates and of conflicting rows. Only rows whose input occurs twice are looked at
    closely."""
    ordered = np.sort(survey["input"].to_numpy()[fit])
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not twice.size:
        return
    suspects: Any = survey["input"].is_in(pl.Series(twice).implode()).to_numpy() & fit
    at = np.flatnonzero(suspects)
    close = survey[at].select("input", "row").with_columns(at=pl.Series(at))
    first = close["row"].is_first_distinct().to_numpy()
    reason[at[~first]] = CODE["duplicate"]
    if conflicts:
        several = close.filter(pl.Series(first)).filter(pl.col("input").is_duplicated())
        reason[several["at"].to_numpy()] = CODE["conflicting"]
