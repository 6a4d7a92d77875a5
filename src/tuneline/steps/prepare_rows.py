"""The step `prepare` of a project with code of its own: rows as they are, on two sides, by the hash rule.

    survey   one pass: is each row taken, has it a label and values of their types; its identity
    write    another pass: `rows.jsonl` for the code, `rows.parquet` (row, label, kept columns) for us

What a model is shown is every column but the label, so a row's side hangs on those. Rows are not compared
with each other: how often a row occurs is something a classical model learns from. Streams; memory does not
grow with rows.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tuneline.errors import DataError
from tuneline.spec.where import columns_of, parse_where
from tuneline.steps.choosing import (
    MOST_LABELS,
    TEST,
    TRAIN,
    Choice,
    Survey,
    by_hash,
    choose,
    rows_digest,
    without,
)
from tuneline.steps.io import Step
from tuneline.steps.row_text import FIELD, PART, input_number, normalised, row_digest
from tuneline.steps.shapes import CODE, mapped
from tuneline.steps.tables import Table, explained, open_table
from tuneline.steps.where_filter import filter_of
from tuneline.steps.writing import hexadecimal, marked

PROOF_ROWS = 64
"""Held-out rows, those with the smallest hash, that the proof asks."""
_KINDS: Mapping[str, pl.DataType] = {
    "number": pl.Float64(), "integer": pl.Int64(), "text": pl.String(), "boolean": pl.Boolean(),
}  # fmt: skip
_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True)
class RowRecipe:
    """The parameters that say which rows there are, and what their columns hold."""

    where: str = ""
    map: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)
    label: str = ""
    keep: tuple[str, ...] = ()
    task: str = "classify"

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> "RowRecipe":
        """Of the step's parameters."""
        return cls(
            where=str(parameters["where"]),
            map=dict(parameters["map"]),
            columns=dict(parameters["columns"]),
            types=dict(parameters["types"]),
            label=str(parameters["label"]),
            keep=tuple(parameters["keep"]),
            task=str(parameters["task"]),
        )

    def wanted(self) -> dict[str, str]:
        """Every column that must be there, and the key that wants it."""
        found: dict[str, str] = {}
        if self.where.strip():
            found |= dict.fromkeys(columns_of(parse_where(self.where)), "data.where")
        found |= dict.fromkeys(self.map, "data.map") | dict.fromkeys(self.types, "data.types")
        found |= {self.label: "data.label"} if self.label else {}
        return found | dict.fromkeys(self.keep, "data.keep")


@dataclass(frozen=True)
class Rows:
    """What became of every row."""

    table: Table
    recipe: RowRecipe
    survey: Survey
    choice: Choice

    @property
    def report(self) -> dict[str, Any]:
        """The report's numbers; labels are added when the rows are written."""
        sides = {
            name: int((self.choice.side == side).sum()) for name, side in (("train", TRAIN), ("test", TEST))
        }
        return {
            "read": len(self.survey),
            "kept": sum(sides.values()),
            **sides,
            "dropped": self.choice.counts(),
            "examples": self.choice.examples(),
            "tokens": {"train": {}, "test": {}},
            "data_digest": rows_digest(self.survey, self.choice),
            "template_hash": "",
        }


def run(step: Step) -> None:
    """Read `data`; write `train`, `test` and `report`."""
    given = step.parameters
    files = sorted((step.inputs["data"] / "files").iterdir())
    rows = choose_rows(files, RowRecipe.of(given), test=float(given["test"]), limit=int(given["limit"]))
    report = write(rows, step.outputs["train"], step.outputs["test"])
    text = json.dumps(report, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    step.outputs["report"].write_text(text, encoding="utf-8")
    if report["dropped"]:
        why = ", ".join(f"{number} dropped as `{reason}`" for reason, number in report["dropped"].items())
        step.note(f"Of {report['read']} rows {report['kept']} are used; {why}.")
    for name in ("train", "test"):
        step.describe(name, {"rows": report[name], "labels": report["labels"]})


def choose_rows(
    files: list[Path], recipe: RowRecipe, *, test: float, limit: int, held_out_only: bool = False
) -> Rows:
    """Decide about every row of `files`; nothing is written yet. `held_out_only`: without training rows.

    Raises: DataError if files or columns are not what `recipe` says, or no rows are left on a side.
    """
    table = open_table(files, recipe.columns)
    table.require(recipe.wanted())
    _refuse_bytes(table)
    with explained(table.files, table.format):
        survey = Survey.of(_surveyed(table, recipe).collect(engine="streaming"))
    choice = choose(survey, test, conflicts=False, repeated=True)
    if limit:
        choice = without(choice, by_hash(survey, choice.rows(TRAIN))[limit:], "limit")
    for side, name, hint in ((TRAIN, "training", ""), (TEST, "held-out", "Raise `data.split.test`. ")):
        if not (choice.side == side).any() and not (held_out_only and side == TRAIN):
            dropped = [f"{number} dropped as `{reason}`" for reason, number in choice.counts().items()]
            raise DataError(
                f"No {name} rows are left: of {len(survey)} rows, {', '.join(dropped) or 'none dropped'}.",
                hint=f"{hint}See `data.where`, `data.map` and `data.types`.",
                details=dropped,
            )
    return Rows(table, recipe, survey, choice)


def write(rows: Rows, train: Path, test: Path) -> dict[str, Any]:
    """Write both sides and give the report. Raises: DataError if rows to classify are not of classes."""
    labels: dict[str, list[str]] = {}
    columns = [name for name in rows.table.schema if name != rows.recipe.label]
    for folder, side, name in ((train, TRAIN, "training"), (test, TEST, "held-out")):
        folder.mkdir(parents=True, exist_ok=True)
        chosen = rows.choice.side == side
        with explained(rows.table.files, rows.table.format):
            _write_side(rows, chosen, folder)
        labels[name] = _labels(rows.recipe, folder / "rows.parquet", name)
    known = sorted(set(labels["training"]) | set(labels["held-out"]))
    report = rows.report
    about = {"labels": known, "columns": columns, "label": rows.recipe.label, "task": rows.recipe.task}
    for folder, name in ((train, "train"), (test, "test")):
        body = {"rows": report[name], **about, "proof": proof_rows(folder) if name == "test" else []}
        _write_json(folder / "info.json", body)
    return {**report, "labels": known}


def write_held_out(
    rows: Rows, chosen: NDArray[np.bool_], folder: Path, labels: Iterable[str], more: Mapping[str, Any]
) -> None:
    """Write a held-out set of its own. labels: known beside the rows' own. more: put into `info.json`."""
    folder.mkdir(parents=True)
    with explained(rows.table.files, rows.table.format):
        _write_side(rows, chosen, folder)
    known: set[str] = set()
    if rows.recipe.task == "classify" and rows.recipe.label:
        known = {*pl.read_parquet(folder / "rows.parquet", columns=["label"])["label"].unique(), *labels}
    body = {
        "rows": int(chosen.sum()),
        "labels": sorted(known),
        "columns": [name for name in rows.table.schema if name != rows.recipe.label],
        "label": rows.recipe.label,
        "task": rows.recipe.task,
        "proof": proof_rows(folder),
        **more,
    }
    _write_json(folder / "info.json", body)


def proof_rows(folder: Path) -> list[int]:
    """The places, in `rows.jsonl`, of the rows with the smallest hash; of equal rows the first alone."""
    rows = pl.read_parquet(folder / "rows.parquet", columns=["row"]).with_row_index("at")
    first = rows.unique("row", keep="first", maintain_order=True).sort("row").head(PROOF_ROWS)
    return [int(at) for at in first["at"]]


def values(table: Table, recipe: RowRecipe) -> dict[str, pl.Expr]:
    """Every column as the code gets it."""
    return {name: _value(table, recipe, name) for name in table.schema}


def _surveyed(table: Table, recipe: RowRecipe) -> pl.LazyFrame:
    """For every row, in order: `reason`, `input` and `row`, as `choosing.Survey` has them."""
    taken = filter_of(parse_where(recipe.where)) if recipe.where.strip() else pl.lit(True)
    shown = sorted(name for name in table.schema if name != recipe.label)
    fields = {f"__n_{at}": normalised(_text(table, recipe, name)) for at, name in enumerate(shown)}
    answer = normalised(_text(table, recipe, recipe.label)) if recipe.label else pl.lit("")
    frame = table.frame.select(__taken=taken, __reason=_reason(table, recipe), __answer=answer, **fields)
    frame = frame.with_columns(__input=pl.concat_str(list(fields) or [pl.lit("")], separator=FIELD))
    reason = pl.when(~pl.col("__taken")).then(CODE["where"]).otherwise(pl.col("__reason")).cast(pl.UInt8)
    whole = pl.concat_str("__input", pl.lit(PART), "__answer")
    return frame.select(reason=reason, input=input_number(pl.col("__input")), row=row_digest(whole))


def _reason(table: Table, recipe: RowRecipe) -> pl.Expr:
    unfit: list[tuple[pl.Expr, str]] = []
    if recipe.label:
        unfit.append((pl.col(recipe.label).is_null(), "null"))
    for name in recipe.map:
        unfit.append((pl.col(name).is_not_null() & _value(table, recipe, name).is_null(), "unmapped"))
    for name in recipe.types:
        before = _unconverted(table, recipe, name)
        unfit.append((before.is_not_null() & _value(table, recipe, name).is_null(), "type"))
    code: pl.Expr = pl.lit(0)
    for condition, reason in reversed(unfit):
        code = pl.when(condition).then(CODE[reason]).otherwise(code)
    return code


def _unconverted(table: Table, recipe: RowRecipe, name: str) -> pl.Expr:
    column = pl.col(name)
    return mapped(column.cast(pl.String), recipe.map[name]) if name in recipe.map else column


def _value(table: Table, recipe: RowRecipe, name: str) -> pl.Expr:
    """A column as the code gets it: mapped, then of its type; null where it is not of it."""
    value = _unconverted(table, recipe, name)
    kind = recipe.types.get(name)
    if kind is None:
        return value
    is_text = table.schema[name] == pl.String() or name in recipe.map
    if kind == "boolean" and is_text:
        return (
            value.str.strip_chars()
            .str.to_lowercase()
            .replace_strict(_TRUTH, default=None, return_dtype=pl.Boolean)
        )
    text = value.str.strip_chars() if is_text and kind != "text" else value
    return text.cast(_KINDS[kind], strict=False)


def _text(table: Table, recipe: RowRecipe, name: str) -> pl.Expr:
    """A column as text, for a row's identity; what is nested as JSON."""
    kind = table.schema[name]
    if kind.is_nested():
        return pl.struct(name).struct.json_encode().fill_null("")
    return _value(table, recipe, name).cast(pl.String).fill_null("")


def _write_side(rows: Rows, chosen: NDArray[np.bool_], folder: Path) -> None:
    table, recipe = rows.table, rows.recipe
    side = table.frame.filter(marked(chosen))
    side.select(**values(table, recipe)).sink_ndjson(folder / "rows.jsonl", maintain_order=True)
    label = _value(table, recipe, recipe.label) if recipe.label else pl.lit(None, dtype=pl.String)
    kept = {f"keep_{name}": _text(table, recipe, name) for name in recipe.keep}
    index = side.select(
        hexadecimal(rows.survey.row).alias("row"), label.cast(pl.String).alias("label"), **kept
    )
    index.sink_parquet(
        folder / "rows.parquet", compression="uncompressed", statistics=False, maintain_order=True
    )


def _labels(recipe: RowRecipe, path: Path, side: str) -> list[str]:
    """The labels of rows that are to be classified. Raises: DataError if they are no classes."""
    if recipe.task != "classify" or not recipe.label:
        return []
    found = pl.scan_parquet(path).select(pl.col("label").unique()).collect(engine="streaming")
    labels = sorted(found.to_series().to_list())
    if len(labels) < 2:
        raise DataError(
            f"The {side} rows have one label in `{recipe.label}` (`{labels[0]}`): there is nothing to tell "
            "apart.",
            hint="See `data.where` and `data.map`; of few rows, `data.split.test` may hold out too few.",
        )
    if len(labels) > MOST_LABELS:
        raise DataError(
            f"The {side} rows have {len(labels)} labels in `{recipe.label}`: those are no classes.",
            hint="Set `evaluate.task: regress`, or name the column with the class in `data.label`.",
        )
    return labels


def _refuse_bytes(table: Table) -> None:
    odd = [name for name, kind in table.schema.items() if kind == pl.Binary()]
    if odd:
        raise DataError(
            f"{table.files[0].name}: the column `{odd[0]}` holds bytes, which a row of text cannot.",
            hint="Leave it out of the file, or write it as text.",
        )


def _write_json(path: Path, body: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(body, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
