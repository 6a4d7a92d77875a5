"""`evaluate`: base, candidate and live release compared on the same held-out rows, row by row.

Base and candidate were scored by `score`. The live release is scored here, unless it is the same adapter.
Rows it was trained on would flatter it: they are left out for all three, and counted.
"""

import importlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tuneline.errors import DataError, ModelError, SpecError
from tuneline.execute.files import digest_path
from tuneline.steps import texts
from tuneline.steps.held_out import left_out_of
from tuneline.steps.io import Step
from tuneline.train import metrics
from tuneline.train.rows import Split, read_split

Probabilities = NDArray[np.float64]

SCORE = "tuneline.steps.score"
"""Imported by name when it is needed: it brings torch, and most comparisons need none."""
Live = tuple[Path, Path]
"""The base and the adapter of the live release."""


def run(step: Step) -> None:
    """Parameters `metrics`, `slices`, `dtype`, `max_new_tokens`, `live_digest`, `live_base`.

    Inputs `base`, `adapter`, `test`, `scores`, `scored`, `live`; outputs `predictions`, `metrics`, `report`.
    """
    columns = [str(name) for name in step.parameters.get("slices") or []]
    whole = read_split(step.inputs["test"])
    _check_slices(whole, columns)
    live_base = str(step.parameters.get("live_base") or "")
    live = live_model(step.inputs.get("live"), step.inputs["base"], live_base)
    split, left_out = without(whole, trained_rows(step.inputs.get("live")))
    if left_out:
        step.note(f"{left_out} held-out rows were left out: the live release was trained on them.")
    scored = json.loads(step.inputs["scored"].read_text(encoding="utf-8"))
    compare = _compare_texts if scored["task"] == "generate" else _compare_classes
    judged, table = compare(step, split, live, scored["completions"], columns)
    report: dict[str, Any] = {"task": scored["task"], "rows": len(split.rows), "left_out": left_out, **judged}
    if "set" in whole.info:
        report["set"] = whole.info["set"]
        report["left_out"] += left_out_of(whole.info)
    report["models"] = _models(step, live)
    report["live_digest"] = str(step.parameters.get("live_digest") or "") if live is not None else ""
    step.outputs["report"].write_text(json.dumps(report, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    numbers = {key: value for key, value in report["candidate"].items() if isinstance(value, float)}
    step.outputs["metrics"].write_text(json.dumps(numbers, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    step.describe("metrics", numbers)
    rows = io.BytesIO()  # polars hides which fault of the system stopped a write to a file
    table.write_parquet(rows)
    step.outputs["predictions"].write_bytes(rows.getvalue())


def _models(step: Step, live: Live | None) -> dict[str, dict[str, str]]:
    """What exactly is compared: the adapters by digest, the base by that of the file it was made from."""
    base = json.loads((step.inputs["base"] / "base.json").read_text(encoding="utf-8"))
    sha256 = str(base.get("file_sha256", "")).removeprefix("sha256:")
    found: dict[str, dict[str, str]] = {
        "candidate": {"digest": digest_path(step.inputs["adapter"])[0]},
        "base": {"name": str(base.get("name", "")), "digest": f"sha256:{sha256}"},
    }
    if live is not None:
        found["live"] = {"digest": digest_path(live[1])[0]}
    return found


def _compare_classes(
    step: Step, split: Split, live: Live | None, completions: dict[str, str], columns: list[str]
) -> tuple[dict[str, Any], pl.DataFrame]:
    """Each model's part of the report, and the table of predictions."""
    classes = list(completions)
    found = _read_scores(step.inputs["scores"], split)
    if live is not None:
        found["live"] = _live_scores(step, live, split, completions, found["candidate"])
    truth = np.array([classes.index(str(label)) for label in split.rows["label"]], dtype=np.int64)
    report: dict[str, Any] = {"labels": classes}
    for name in ("candidate", "base", "live"):
        report[name] = _judged(split, truth, found[name], classes, columns) if name in found else None
    return report, predictions(split, truth, found, classes)


def _compare_texts(
    step: Step, split: Split, live: Live | None, completions: dict[str, str], columns: list[str]
) -> tuple[dict[str, Any], pl.DataFrame]:
    """The same of answers."""
    table = _scores_of(step.inputs["scores"], split)
    found = {who: texts.answers_in(table, who) for who in ("candidate", "base")}
    if live is not None and _is_candidate(step, live):
        found["live"] = found["candidate"]
    elif live is not None:
        dtype, limit = str(step.parameters.get("dtype", "auto")), int(step.parameters["max_new_tokens"])
        more = _counted(step, split)
        asking = importlib.import_module(SCORE)
        found["live"] = asking.answers(*live, dtype, split, limit, more, step.model_at_work)
    report: dict[str, Any] = {"labels": []}
    for name in ("candidate", "base", "live"):
        report[name] = texts.judged(found[name], split, columns) if name in found else None
    return report, texts.predictions(split, found)


def live_model(package: Path | None, base: Path, live_base: str) -> Live | None:
    """The base and the adapter of the live release; None if nothing is live.

    base: this run's. live_base: the folder of the release's own, which is used where the two differ.
    Raises ModelError if it is another one and its folder is gone.
    """
    if package is None or not any(package.iterdir()):
        return None
    theirs = json.loads((package / "manifest.json").read_text(encoding="utf-8"))["base"]
    here = json.loads((base / "base.json").read_text(encoding="utf-8"))
    if theirs["file_sha256"] == here["file_sha256"]:
        return base, package / "adapter"
    own = Path(live_base) / "base.json" if live_base else None
    found = json.loads(own.read_text(encoding="utf-8")) if own is not None and own.is_file() else {}
    if found.get("file_sha256") != theirs["file_sha256"]:
        raise ModelError(
            f"The live release stands on another base ({theirs['name']}, {theirs['file_sha256'][:12]}) than "
            f"this run ({here['name']}, {here['file_sha256'][:12]}), and is gone: {live_base or '-'}.",
            hint="Bring the folder back: a run of the live release's own project makes it again.",
        )
    return Path(live_base), package / "adapter"


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


def _read_scores(path: Path, split: Split) -> dict[str, Probabilities]:
    """What `score` found for the rows of `split`, in their order."""
    scores = _scores_of(path, split)
    return {name: np.array(scores[name].to_list(), dtype=np.float64) for name in ("base", "candidate")}


def _scores_of(path: Path, split: Split) -> pl.DataFrame:
    """The lines of `score` for the rows of `split`, in their order."""
    return split.rows.select("row").join(pl.read_parquet(path), on="row", how="left", maintain_order="left")


def _is_candidate(step: Step, live: Live) -> bool:
    """Whether the live release is the candidate's adapter; then it need not be asked again."""
    base, adapter = live
    same = base == step.inputs["base"] and digest_path(adapter)[0] == digest_path(step.inputs["adapter"])[0]
    if same:
        step.note("The candidate is the live release's adapter: its scores are the same.")
    return same


def _counted(step: Step, split: Split) -> Callable[[int], None]:
    done = 0

    def more(rows: int) -> None:
        nonlocal done
        done += rows
        step.progress(done, len(split.rows), "rows")

    return more


def _live_scores(
    step: Step, live: Live, split: Split, completions: dict[str, str], candidate: Probabilities
) -> Probabilities:
    """What the live release finds; the candidate's own scores if it is the same adapter."""
    if _is_candidate(step, live):
        return candidate
    base, adapter = live
    more = _counted(step, split)
    dtype = str(step.parameters.get("dtype", "auto"))
    scoring = importlib.import_module(SCORE)
    found: Probabilities = scoring.probabilities(
        base, adapter, dtype, split, completions, more, step.model_at_work
    )
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
