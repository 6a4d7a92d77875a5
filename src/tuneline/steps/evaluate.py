"""`evaluate`: scores base, candidate and live release on the same held-out rows, row by row.

Rows the live release was trained on would flatter it: they are left out for all three, and counted.
"""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tuneline.errors import DataError, ModelError, SpecError
from tuneline.steps.io import Step
from tuneline.train import machine, metrics
from tuneline.train.model import load
from tuneline.train.rows import Split, read_split
from tuneline.train.score import classify, questions

Probabilities = NDArray[np.float64]


def run(step: Step) -> None:
    """Parameters `task`, `metrics`, `slices`, `dtype`; inputs `base`, `adapter`, `test`, `live`; outputs
    `predictions`, `metrics`, `report`."""
    task = str(step.parameters.get("task", "classify"))
    if task != "classify":
        raise SpecError(f"evaluate.task: `{task}` is not built yet.", hint="Use `classify`.")
    whole = read_split(step.inputs["test"])
    columns = [str(name) for name in step.parameters.get("slices") or []]
    _check_slices(whole, columns)
    live = live_adapter(step.inputs.get("live"), step.inputs["base"])
    split, left_out = without(whole, trained_rows(step.inputs.get("live")))
    if left_out:
        step.note(f"{left_out} held-out rows were left out: the live release was trained on them.")
    completions = choices(split, step.inputs["adapter"])
    machine.settle(0)
    who: dict[str, Path | None] = {"base": None, "candidate": step.inputs["adapter"]}
    if live is not None:
        who["live"] = live
    found = _score(step, split, completions, who)
    classes = list(completions)
    truth = np.array([classes.index(str(label)) for label in split.rows["label"]], dtype=np.int64)
    report: dict[str, Any] = {"task": task, "rows": len(truth), "left_out": left_out, "labels": classes}
    for name in ("candidate", "base", "live"):
        report[name] = _judged(split, truth, found[name], classes, columns) if name in found else None
    report["live_digest"] = str(step.parameters.get("live_digest") or "") if live is not None else ""
    step.outputs["report"].write_text(json.dumps(report, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    numbers = {key: value for key, value in report["candidate"].items() if isinstance(value, float)}
    step.outputs["metrics"].write_text(json.dumps(numbers, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    step.describe("metrics", numbers)
    rows = io.BytesIO()  # polars hides which fault of the system stopped a write to a file
    predictions(split, truth, found, classes).write_parquet(rows)
    step.outputs["predictions"].write_bytes(rows.getvalue())


def live_adapter(package: Path | None, base: Path) -> Path | None:
    """What the live release adds to its base; None if nothing is live.

    Raises ModelError if it was trained on another base: its answers here would not be those it gives live.
    """
    if package is None or not any(package.iterdir()):
        return None
    manifest = json.loads((package / "manifest.json").read_text(encoding="utf-8"))
    here = json.loads((base / "base.json").read_text(encoding="utf-8"))
    if manifest["base"]["file_sha256"] != here["file_sha256"]:
        raise ModelError(
            f"The live release stands on another base ({manifest['base']['name']}, "
            f"{manifest['base']['file_sha256'][:12]}) than "
            f"this run ({here['name']}, {here['file_sha256'][:12]}), so the two cannot be compared here.",
            hint="Keep the base, or give the model another name: a new base is a new line of releases.",
        )
    return package / "adapter"


def trained_rows(package: Path | None) -> set[str]:
    """The hashes of the rows the live release was trained on."""
    path = package / "rows.txt" if package is not None else None
    return set(path.read_text(encoding="utf-8").split()) if path is not None and path.is_file() else set()


def without(split: Split, trained: set[str]) -> tuple[Split, int]:
    """`split` without the rows in `trained`, and how many they were. Raises DataError if none remains."""
    kept = split.rows.filter(~pl.col("row").is_in(sorted(trained))) if trained else split.rows
    if not len(kept):
        raise DataError(
            f"All {len(split.rows)} held-out rows were training rows of the live release: nothing is "
            "left to compare on.",
            hint="Add fresh rows, or hold out more with data.split.test.",
        )
    return Split(kept, split.info), len(split.rows) - len(kept)


def choices(split: Split, adapter: Path) -> dict[str, str]:
    """Label -> completion, sorted: those the candidate was trained on and those of the held-out rows.

    Raises DataError if they contradict each other, or there are fewer than two.
    """
    path = adapter / "tuneline.json"
    trained = json.loads(path.read_text(encoding="utf-8")).get("completions", {}) if path.is_file() else {}
    held_out = split.completions
    torn = [label for label in held_out if trained.get(label, held_out[label]) != held_out[label]]
    if torn:
        raise DataError(
            f"The label `{torn[0]}` was trained as `{trained[torn[0]]}` but is held out as "
            f"`{held_out[torn[0]]}`."
        )
    found = dict(sorted({**trained, **held_out}.items()))
    if len(found) < 2:
        raise DataError(
            f"To classify takes two labels at least; the rows have {len(found)}.",
            hint="Look at `tuneline data preview`; set data.label if the label is not found.",
        )
    return found


def predictions(
    split: Split, truth: NDArray[np.int64], found: Mapping[str, Probabilities], classes: list[str]
) -> pl.DataFrame:
    """One row per held-out row: its hash, its label, what each model says and how sure it is."""
    columns: dict[str, Any] = {"row": split.rows["row"], "label": split.rows["label"]}
    for name in ("candidate", "base", "live"):
        given = found.get(name)
        guess = None if given is None else given.argmax(axis=1)
        rows = np.arange(len(truth))
        text = [None] * len(truth) if guess is None else [classes[k] for k in guess]
        columns[name] = pl.Series(text, dtype=pl.Utf8)
        for suffix, chosen in (("p", guess), ("gold_p", truth)):
            values = [None] * len(truth) if given is None or chosen is None else given[rows, chosen].tolist()
            columns[f"{name}_{suffix}"] = pl.Series(values, dtype=pl.Float64)
    kept = [name for name in split.rows.columns if name.startswith("keep_")]
    return pl.DataFrame(columns).with_columns(split.rows.select(kept)) if kept else pl.DataFrame(columns)


def _score(
    step: Step, split: Split, completions: dict[str, str], who: Mapping[str, Path | None]
) -> dict[str, Probabilities]:
    total, done, found = len(split.rows) * len(who), 0, {}
    asked = None
    for name, adapter in who.items():
        model = load(step.inputs["base"], adapter, str(step.parameters.get("dtype", "auto")))
        asked = asked or questions(model.tokenizer, split, list(completions.values()))

        def more(rows: int) -> None:
            nonlocal done
            done += rows
            step.progress(done, total, "rows")

        found[name] = classify(model, asked, more)
    return found


def _judged(
    split: Split, truth: NDArray[np.int64], given: Probabilities, classes: list[str], columns: list[str]
) -> dict[str, Any]:
    judged = metrics.report(truth, given, classes)
    judged["slices"] = {
        name: metrics.slices(truth, given, [_text(v) for v in split.rows[f"keep_{name}"]], len(classes))
        for name in columns
    }
    return judged


def _text(value: Any) -> str:
    return "(none)" if value is None else str(value)


def _check_slices(split: Split, columns: list[str]) -> None:
    missing = [name for name in columns if f"keep_{name}" not in split.rows.columns]
    if missing:
        raise SpecError(
            f"evaluate.slices: the held-out rows have no column `{missing[0]}`.",
            hint="Add it to `data.keep`, so that it is kept beside the text.",
        )
