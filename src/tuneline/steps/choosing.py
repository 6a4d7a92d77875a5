"""Which rows are trained on and which are held out: decided from their identities alone, all at once. Pure.

No decision depends on another row, except that of duplicates (the first is kept), of conflicting rows (one
input, several answers: all are dropped, as nothing says which is right), and of the limit (the smallest
hashes). So rows added later never move a row from one side to the other.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tuneline.errors import InternalError
from tuneline.steps.shapes import CODE, REASONS

TRAIN, TEST, NEITHER = 1, 2, 0
EXAMPLES = 5
"""Row numbers given for each reason."""
MOST_LABELS = 1000
"""More distinct labels than this are no classes."""

Bytes = NDArray[np.uint8]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Survey:
    """Every row of the table, in order, as far as choosing needs it: 25 bytes a row."""

    reason: Bytes  # (rows,): 0, or why the row is unfit
    input: NDArray[np.uint64]  # (rows,): equal for rows with one input
    row: Bytes  # (rows, 16): equal for equal rows

    @classmethod
    def of(cls, frame: pl.DataFrame) -> "Survey":
        """What `shapes.surveyed` gave."""
        row = np.ascontiguousarray(frame["row"].to_numpy())
        return cls(frame["reason"].to_numpy(), frame["input"].to_numpy(), row.reshape(len(frame), 16))

    @property
    def halves(self) -> NDArray[np.uint64]:
        """`row` as two big-endian numbers: (rows, 2)."""
        return self.row.view(">u8")

    def __len__(self) -> int:
        return len(self.reason)


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

    def rows(self, side: int) -> Indices:
        """Indices of the rows on a side."""
        return np.flatnonzero(self.side == side).astype(np.int64)


def choose(survey: Survey, test: float, *, conflicts: bool, repeated: bool = False) -> Choice:
    """Sides of all rows, before limit and length. With `conflicts`, rows of one input and several answers are
    dropped; with `repeated`, rows that occur twice are kept, and no row is compared with another.

    Args:
        test: the fraction held out.
    """
    reason = survey.reason.copy()
    if not repeated:
        _mark_repeated(survey, reason, conflicts)
    held_out = survey.input < np.uint64(min(int(test * 2.0**64), 2**64 - 1))
    side = np.where(reason == 0, np.where(held_out, TEST, TRAIN), NEITHER).astype(np.uint8)
    return Choice(side, reason)


def by_hash(survey: Survey, rows: Indices) -> Indices:
    """These rows, smallest hash first."""
    halves = survey.halves[rows]
    return rows[np.lexsort((rows, halves[:, 1], halves[:, 0]))]


def without(choice: Choice, rows: Indices, reason: str) -> Choice:
    """The choice with these rows dropped."""
    side, reasons = choice.side.copy(), choice.reason.copy()
    side[rows], reasons[rows] = NEITHER, CODE[reason]
    return Choice(side, reasons)


def check_leakage(survey: Survey, choice: Choice) -> None:
    """Raises InternalError if a held-out row's input is also trained on."""
    held_out, trained = (np.sort(survey.input[choice.side == side]) for side in (TEST, TRAIN))
    if not trained.size:
        return
    at = np.minimum(np.searchsorted(trained, held_out), trained.size - 1)
    shared = int((trained[at] == held_out).sum())
    if shared:
        raise InternalError(f"{shared} held-out rows are also in the training rows.")


def rows_digest(survey: Survey, choice: Choice) -> str:
    """The identity of the two sets of rows, whatever order they came in: `sha256:...`."""
    found = hashlib.sha256()
    for side in (TRAIN, TEST):
        chosen = survey.halves[choice.side == side]
        for half in (0, 1):
            found.update(np.sort(chosen[:, half].astype(np.uint64)).astype(">u8").tobytes())
        found.update(b"|")
    return f"sha256:{found.hexdigest()}"


def _mark_repeated(survey: Survey, reason: Bytes, conflicts: bool) -> None:
    """Set the reason of duplicates and conflicting rows. Only rows whose input occurs twice are looked at
    closely."""
    fit = reason == 0
    ordered = np.sort(survey.input[fit])
    twice = pl.Series(ordered[1:][ordered[1:] == ordered[:-1]]).unique()
    if twice.is_empty():
        return
    at = np.flatnonzero(pl.Series(survey.input).is_in(twice.implode()).to_numpy() & fit)
    halves = survey.halves[at].astype(np.uint64)
    close = pl.DataFrame({"at": at, "input": survey.input[at], "high": halves[:, 0], "low": halves[:, 1]})
    first = close.select(pl.struct("high", "low").is_first_distinct()).to_series()
    reason[at[~first.to_numpy()]] = CODE["duplicate"]
    if conflicts:
        several = close.filter(first).filter(pl.col("input").is_duplicated())
        reason[several["at"].to_numpy()] = CODE["conflicting"]
