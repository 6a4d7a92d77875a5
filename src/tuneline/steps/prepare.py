"""The `prepare` step: files of rows in; training rows, held-out rows and a report of every row that is
neither, out.

    survey   one pass: is each row fit, and its identity           shapes.py, row_text.py
    choose   duplicates, conflicts, sides: from identities alone   choosing.py
    count    tokens of the chosen rows; too long ones go           writing.py
    write    another pass: the chosen rows                         writing.py

Kept in memory are 27 bytes a row (and 4 for its tokens), not the rows. Always:
`read = train + test + sum(dropped)`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tuneline.errors import DataError
from tuneline.steps.choosing import (
    MOST_LABELS,
    TEST,
    TRAIN,
    Choice,
    Survey,
    by_hash,
    check_leakage,
    choose,
    rows_digest,
    without,
)
from tuneline.steps.io import Step
from tuneline.steps.shapes import Recipe, surveyed, written
from tuneline.steps.tables import Table, explained, open_table
from tuneline.steps.writing import Tokens, count_tokens, write_rows
from tuneline.train.tokenizer import Tokenizer, load


@dataclass(frozen=True)
class Prepared:
    """What became of every row."""

    table: Table
    recipe: Recipe
    survey: Survey
    choice: Choice
    tokens: Tokens | None
    """By row; 0 where it was not counted."""

    @property
    def report(self) -> dict[str, Any]:
        """The report's numbers; labels are added when the rows are written."""
        sides = {
            name: int((self.choice.side == side).sum()) for name, side in (("train", TRAIN), ("test", TEST))
        }
        return {
            "read": len(self.survey),
            "kept": sides["train"] + sides["test"],
            **sides,
            "dropped": self.choice.counts(),
            "examples": self.choice.examples(),
            "tokens": {name: self._token_numbers(side) for name, side in (("train", TRAIN), ("test", TEST))},
            "data_digest": rows_digest(self.survey, self.choice),
            "template_hash": self.recipe.template.hash,
        }

    def _token_numbers(self, side: int) -> dict[str, float]:
        if self.tokens is None:
            return {}
        counted = self.tokens[self.choice.side == side]
        if not counted.size:
            return {"total": 0}
        return {
            "total": int(counted.sum()),
            "mean": round(float(counted.mean()), 2),
            "max": int(counted.max()),
        }


def run(step: Step) -> None:
    """Read `data` and the tokenizer of `base`; write `train`, `test` and `report`."""
    given = step.parameters
    recipe = recipe_of(given)
    tokenizer = load(step.inputs["base"])
    max_length = int(given["max_length"])
    prepared = prepare(
        sorted((step.inputs["data"] / "files").iterdir()),
        recipe,
        test=float(given["test"]),
        limit=int(given["limit"]),
        tokenizer=tokenizer,
        max_length=max_length,
        progress=lambda done, total: step.progress(done, total, "rows"),
    )
    report = write(prepared, step.outputs["train"], step.outputs["test"], max_length)
    text = json.dumps(report, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    step.outputs["report"].write_text(text, encoding="utf-8")
    if report["dropped"]:
        step.note(f"Of {report['read']} rows {report['kept']} are used; {_counted(report['dropped'])}.")
    for name in ("train", "test"):
        step.describe(name, {"rows": report[name], "labels": report["labels"]})


def recipe_of(parameters: Mapping[str, Any]) -> Recipe:
    """The part of `prepare`'s parameters that says what a row becomes."""
    return Recipe(
        where=str(parameters["where"]),
        map=dict(parameters["map"]),
        columns=dict(parameters["columns"]),
        format=str(parameters["format"]),
        prompt=str(parameters["prompt"]),
        completion=str(parameters["completion"]),
        label=str(parameters["label"]),
        keep=tuple(parameters["keep"]),
        task=str(parameters["task"]),
    )


def prepare(
    files: list[Path],
    recipe: Recipe,
    *,
    test: float,
    limit: int,
    tokenizer: Tokenizer | None,
    max_length: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    held_out_only: bool = False,
) -> Prepared:
    """Decide about every row of `files`; nothing is written yet. Without `tokenizer`, lengths are not looked
    at; with `held_out_only`, no training rows are asked for.

    Raises: DataError if files or columns are not what `recipe` says, or no rows are left on a side.
    """
    table = open_table(files, recipe.columns)
    table.require(recipe.wanted())
    with explained(table.files, table.format):
        survey = Survey.of(surveyed(table, recipe).collect(engine="streaming"))
    choice = choose(survey, test, conflicts=recipe.task == "classify")
    order = by_hash(survey, choice.rows(TRAIN)) if limit else choice.rows(TRAIN)
    tokens = None
    if tokenizer is not None:
        measure = _Measure(table, recipe, tokenizer, np.zeros(len(survey), dtype=np.int32), progress)
        choice = measure.drop_too_long(choice, order, limit, max_length)
        tokens = measure.tokens
    if limit:
        choice = without(choice, order[choice.side[order] == TRAIN][limit:], "limit")
    prepared = Prepared(table, recipe, survey, choice, tokens)
    _check_some(prepared, held_out_only)
    check_leakage(survey, choice)
    return prepared


def write(prepared: Prepared, train: Path, test: Path, max_length: int) -> dict[str, Any]:
    """Write both sides, each a folder with `rows.parquet` and `info.json`, and give the report.

    Raises: DataError if the rows are to be classified, and a side has fewer than two labels or far too many.
    """
    rows = written(prepared.table, prepared.recipe)
    labels: dict[str, list[str]] = {}
    for folder, side, name in ((train, TRAIN, "training"), (test, TEST, "held-out")):
        folder.mkdir(parents=True, exist_ok=True)
        with explained(prepared.table.files, prepared.table.format):
            chosen = prepared.choice.side == side
            write_rows(rows, chosen, prepared.survey.row, prepared.tokens, folder / "rows.parquet")
        labels[name] = labels_of(folder / "rows.parquet")
    if prepared.recipe.task == "classify":
        _check_labels(labels, prepared)
    report = prepared.report
    known = sorted(set(labels["training"]) | set(labels["held-out"]))
    for folder, name in ((train, "train"), (test, "test")):
        write_info(folder / "info.json", prepared.recipe, report[name], known, max_length)
    return {**report, "labels": known}


class _Measure:
    """Counts tokens of rows, no row twice."""

    def __init__(
        self,
        table: Table,
        recipe: Recipe,
        tokenizer: Tokenizer,
        tokens: Tokens,
        progress: Callable[[int, int], None],
    ) -> None:
        self.table, self.recipe, self.tokenizer, self.tokens = table, recipe, tokenizer, tokens
        self.progress, self.done, self.total = progress, 0, 0

    def drop_too_long(self, choice: Choice, order: NDArray[np.int64], limit: int, max_length: int) -> Choice:
        """The choice without rows of more than `max_length` tokens.

        With a limit, rows are counted by hash until enough are short enough: which ones are trained on
        depends on the rows alone, and few of many are counted.
        """
        upto = min(len(order), limit + limit // 8 + 32) if limit else len(order)
        todo = np.concatenate([choice.rows(TEST), order[:upto]])
        while todo.size:
            at = np.sort(todo)
            self._count(at)
            choice = without(choice, at[self.tokens[at] > max_length], "too_long")
            if not limit or (choice.side[order[:upto]] == TRAIN).sum() >= limit:
                break
            todo, upto = order[upto : upto * 2], min(len(order), upto * 2)
        return choice

    def _count(self, at: NDArray[np.int64]) -> None:
        self.total += at.size
        rows = written(self.table, self.recipe)
        with explained(self.table.files, self.table.format):
            self.tokens[at] = count_tokens(
                rows, at, len(self.tokens), self.tokenizer, chat=self.recipe.chat, seen=self._seen
            )

    def _seen(self, count: int) -> None:
        self.done += count
        self.progress(self.done, self.total)


def labels_of(path: Path) -> list[str]:
    """The labels of a side's rows, sorted."""
    found = pl.scan_parquet(path).select(pl.col("label").drop_nulls().unique()).collect(engine="streaming")
    return sorted(found.to_series().to_list())


def write_info(
    path: Path,
    recipe: Recipe,
    rows: int,
    labels: list[str],
    max_length: int,
    more: Mapping[str, Any] | None = None,
) -> None:
    """`info.json` of a side: how its rows were written; `more` is put beside."""
    template = recipe.template
    body = {
        "rows": rows,
        "labels": labels,
        "format": template.format,
        "template": {"prompt": template.prompt, "completion": template.completion},
        "template_hash": template.hash,
        "max_length": max_length,
        **(more or {}),
    }
    path.write_text(json.dumps(body, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def _check_some(prepared: Prepared, held_out_only: bool) -> None:
    side, counts = prepared.choice.side, prepared.choice.counts()
    for wanted, name, hint in (
        (TRAIN, "training", ""),
        (TEST, "held-out", "Raise `data.split.test`, or give more. "),
    ):
        if not (side == wanted).any() and not (held_out_only and wanted == TRAIN):
            raise DataError(
                f"No {name} rows are left: of {len(side)} rows, {_counted(counts) or 'none were dropped'}.",
                hint=f"{hint}See `data.where` and `data.map`; `tuneline data preview` shows more.",
                details=[f"{number} dropped as `{reason}`" for reason, number in counts.items()],
            )


def _check_labels(labels: dict[str, list[str]], prepared: Prepared) -> None:
    column = prepared.recipe.label_column or "the answer"
    for name, found in labels.items():
        if len(found) < 2:
            only = f"`{found[0]}`" if found else "none"
            raise DataError(
                f"The {name} rows have one label in `{column}` ({only}): there is nothing to tell apart.",
                hint="See `data.where` and `data.map`; of few rows, `data.split.test` may hold out too few.",
            )
        if len(found) > MOST_LABELS:
            raise DataError(
                f"The {name} rows have {len(found)} labels in `{column}`: those are no classes.",
                hint="Name the column with the class in `data.label`.",
            )


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} dropped as `{reason}`" for reason, number in counts.items())
