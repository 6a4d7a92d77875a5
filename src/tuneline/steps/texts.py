"""`evaluate.task: generate`: what base, candidate and live release answer, and how near that comes.

The counterpart of what `score` and `evaluate` do for classes: answers and the scores of each row, out of
which the gate's comparison is made.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from tuneline.train.rows import Split

Answers = dict[str, list[Any]]
"""By column: `text`, and `score_NAME` of each metric; one entry a row."""


def scored_columns(who: str, found: Answers) -> dict[str, pl.Series]:
    """Answers as columns of a table of several models: `candidate`, `candidate_score_chrf`, ..."""
    columns = {who: pl.Series(who, found["text"], dtype=pl.String)}
    for name, values in found.items():
        if name.startswith("score_"):
            columns[f"{who}_{name}"] = pl.Series(f"{who}_{name}", values, dtype=pl.Float64)
    return columns


def answers_in(table: pl.DataFrame, who: str) -> Answers:
    """The reverse of `scored_columns`."""
    scores = [name for name in table.columns if name.startswith(f"{who}_score_")]
    return {
        "text": table[who].to_list(),
        **{name.removeprefix(f"{who}_"): table[name].to_list() for name in scores},
    }


def means(found: Answers, where: np.ndarray[Any, Any] | None = None) -> dict[str, float]:
    """Each metric over the rows, or over those of `where`."""
    return {
        name.removeprefix("score_"): float(np.mean(np.array(values)[slice(None) if where is None else where]))
        for name, values in found.items()
        if name.startswith("score_")
    }


def judged(found: Answers, split: Split, slices: Sequence[str]) -> dict[str, Any]:
    """A model's part of the report."""
    return {**means(found), "slices": {name: _slice(found, split, name) for name in slices}}


def _slice(found: Answers, split: Split, name: str) -> dict[str, Any]:
    column = np.array(["(none)" if value is None else str(value) for value in split.rows[f"keep_{name}"]])
    return {
        str(value): {"rows": int((column == value).sum()), **means(found, column == value)}
        for value in np.unique(column)
    }


def predictions(split: Split, found: Mapping[str, Answers]) -> pl.DataFrame:
    """One row per held-out row: its hash, the right answer, what each model says and how near that is."""
    columns: dict[str, Any] = {"row": split.rows["row"], "label": split.references}
    for who in ("candidate", "base", "live"):
        if who in found:
            columns |= scored_columns(who, found[who])
        else:
            columns[who] = pl.Series(who, [None] * len(split.rows), dtype=pl.String)
    kept = [name for name in split.rows.columns if name.startswith("keep_")]
    return pl.DataFrame(columns).with_columns(split.rows.select(kept)) if kept else pl.DataFrame(columns)
