"""The step `evaluate` of a project with own code: candidate and live release on the same held-out rows.

What they predicted was found by `score` and `score-live`, in the code's own environment; here it is judged.
Own metrics (`evaluate.entry` returns them) stand beside ours, and take their place where they have one name.
"""

import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tuneline.errors import DataError, SpecError
from tuneline.steps.held_out import left_out_of
from tuneline.steps.io import Step
from tuneline.steps.own_judging import (
    Judged,
    Said,
    classes_of,
    judge_classes,
    judge_numbers,
    judge_texts,
    said_of,
    slice_numbers,
)

Found = Mapping[str, Any]
"""What a `score` task found: `{"metrics", "predictions"}`."""


def run(step: Step) -> None:
    """Parameters `task`, `slices`, `live_digest`, `left_out`; inputs `test`, `scores`, `live_scores`.

    Puts out `predictions`, `metrics` and `report`.
    """
    rows = pl.read_parquet(step.inputs["test"] / "rows.parquet")
    task, slices = str(step.parameters["task"]), [str(name) for name in step.parameters.get("slices") or []]
    found = {"candidate": _read(step.inputs["scores"])}
    live = _read(step.inputs["live_scores"])
    if live["predictions"] is not None or live["metrics"]:
        found["live"] = live
    report, table = compare(rows, task, found, slices)
    report["left_out"] = int(step.parameters["left_out"])
    info = json.loads((step.inputs["test"] / "info.json").read_text(encoding="utf-8"))
    if "set" in info:
        report["set"] = info["set"]
        report["left_out"] += left_out_of(info)
    report["live_digest"] = str(step.parameters.get("live_digest") or "") if "live" in found else ""
    step.outputs["report"].write_text(json.dumps(report, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    numbers = {key: value for key, value in report["candidate"].items() if isinstance(value, float)}
    step.outputs["metrics"].write_text(json.dumps(numbers, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    step.describe("metrics", numbers)
    written = io.BytesIO()  # polars hides which fault of the system stopped a write to a file
    table.write_parquet(written)
    step.outputs["predictions"].write_bytes(written.getvalue())


def compare(
    rows: pl.DataFrame, task: str, found: Mapping[str, Found], slices: Sequence[str]
) -> tuple[dict[str, Any], pl.DataFrame]:
    """The report and the table of predictions, one line a held-out row.

    Raises: DataError if predictions are not of the task; SpecError if a slice's column is not there.
    """
    missing = [name for name in slices if f"keep_{name}" not in rows.columns]
    if missing:
        raise SpecError(f"evaluate.slices: the held-out rows have no column `{missing[0]}`.")
    said = {
        who: said_of(one["predictions"], task, who)
        for who, one in found.items()
        if one["predictions"] is not None
    }
    judged, classes = _judged(rows["label"], task, said)
    own = {name for one in found.values() for name in one["metrics"]}
    own |= {name for one in said.values() for name in one.scores}
    report: dict[str, Any] = {"task": task, "rows": len(rows), "labels": classes, "base": None, "live": None}
    report["own_metrics"] = sorted(own)
    if task == "classify" and not classes:  # no labels, or no predictions: only own metrics can be judged
        report["task"] = "own"
    for who, one in found.items():
        numbers = judged[who].numbers if who in judged else {}
        means = (
            {name: float(np.mean(values)) for name, values in said[who].scores.items()} if who in said else {}
        )
        report[who] = _finite({**numbers, **means, **one["metrics"]})
        report[who]["slices"] = _slices(rows, judged.get(who), slices, classes)
    return report, _table(rows, task, judged)


def _finite(numbers: dict[str, Any]) -> dict[str, Any]:
    """JSON has no word for nan: None, which a rule refuses."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in numbers.items()
    }


def _judged(truth: pl.Series, task: str, said: Mapping[str, Said]) -> tuple[dict[str, Judged], list[str]]:
    """What each model is worth, and the classes. Nothing where there are no predictions or no labels."""
    if not said or truth.is_null().any():
        return {who: Judged({}, _bare(one)) for who, one in said.items()}, []
    if task == "classify":
        labels = truth.to_list()
        classes = classes_of(labels, said)
        return {who: judge_classes(labels, one, classes) for who, one in said.items()}, classes
    if task == "regress":
        numbers = truth.cast(pl.Float64, strict=False)
        if numbers.is_null().any() or not numbers.is_finite().all():
            raise DataError(
                "A label of the held-out rows is no finite number.",
                hint="With `evaluate.task: regress`, `data.label` is a column of numbers: see `data.where`.",
            )
        values = numbers.to_numpy()
        return {who: judge_numbers(values, one) for who, one in said.items()}, []
    return {who: judge_texts(truth.to_list(), one) for who, one in said.items()}, []


def _bare(said: Said) -> dict[str, list[Any]]:
    return {"": said.values, **{f"score_{name}": values for name, values in said.scores.items()}}


def _slices(
    rows: pl.DataFrame, judged: Judged | None, slices: Sequence[str], classes: list[str]
) -> dict[str, Any]:
    if judged is None:
        return {name: {} for name in slices}
    truth = rows["label"].to_list()
    found: dict[str, Any] = {}
    for name in slices:
        column = np.array(["(none)" if value is None else str(value) for value in rows[f"keep_{name}"]])
        found[name] = {
            str(value): slice_numbers(judged, truth, column == value, classes) for value in np.unique(column)
        }
    return found


def _table(rows: pl.DataFrame, task: str, judged: Mapping[str, Judged]) -> pl.DataFrame:
    """`row`, `label`, and for each model what it predicted and the scores of it."""
    kind = pl.Float64 if task == "regress" else pl.String
    columns: dict[str, Any] = {"row": rows["row"], "label": rows["label"]}
    for who in ("candidate", "base", "live"):
        found = judged[who].columns if who in judged else {}
        columns[who] = pl.Series(found.get("", [None] * len(rows)), dtype=kind)
        for name in ("p", "gold_p"):
            columns[f"{who}_{name}"] = pl.Series(found.get(name, [None] * len(rows)), dtype=pl.Float64)
        for name, values in found.items():
            if name.startswith("score_"):
                columns[f"{who}_{name}"] = pl.Series(values, dtype=pl.Float64)
    kept = [name for name in rows.columns if name.startswith("keep_")]
    return pl.DataFrame(columns).with_columns(rows.select(kept)) if kept else pl.DataFrame(columns)


def _read(path: Path) -> Found:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
