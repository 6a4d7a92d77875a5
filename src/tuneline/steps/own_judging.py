"""What predictions of a project's own code are worth: their forms read, metrics and scores of each row. Pure.

A prediction is a label, a number or a text, or an object with it as `prediction` or `label`, and beside it
`probabilities` (label -> number) and `scores` (metric -> the row's value).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneline.errors import DataError
from tuneline.serve.own_proof import bare
from tuneline.steps.text_metrics import text_scores
from tuneline.train import metrics

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Said:
    """The predictions of one model, one entry a row."""

    values: list[Any]
    """Text for classes and texts, numbers for `regress`."""
    probabilities: list[Mapping[str, float]] | None = None
    scores: Mapping[str, list[float]] = field(default_factory=dict)
    """Of metrics that every row has."""


@dataclass(frozen=True)
class Judged:
    """What one model is worth."""

    numbers: dict[str, Any]
    columns: dict[str, list[Any]]
    """Of the predictions' table: "" is the prediction, `p`, `gold_p` and `score_NAME` what is known of it."""


def said_of(predictions: Sequence[Any], task: str, who: str) -> Said:
    """The predictions as values of the task. Raises: DataError, naming the first that is none."""
    values, probabilities, rows = [], [], []
    for at, found in enumerate(predictions):
        whole = found if isinstance(found, Mapping) else {"prediction": found}
        values.append(_value(bare(found), task, who, at))
        probabilities.append(whole.get("probabilities"))
        rows.append(whole.get("scores") or {})
    names = set(rows[0]).intersection(*rows) if rows else set()
    scores = {str(name): [float(row[name]) for row in rows] for name in sorted(names)}
    complete = [entry for entry in probabilities if isinstance(entry, Mapping) and entry]
    return Said(values, complete if len(complete) == len(values) and values else None, scores)


def label_text(value: Any) -> str:
    """A label as text: 1.0 is `1`, True is `true`, as a column of numbers or truths is written."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def classes_of(truth: Sequence[str], found: Mapping[str, Said]) -> list[str]:
    """Every label there is or was predicted, sorted."""
    return sorted({*truth, *(value for said in found.values() for value in said.values)})


def judge_classes(truth: Sequence[str], said: Said, classes: list[str]) -> Judged:
    """Accuracy, F1 and so on; with probabilities also calibration and log loss; of numbers their error."""
    index = {label: at for at, label in enumerate(classes)}
    gold = np.array([index[label] for label in truth], dtype=np.int64)
    guess = np.array([index[value] for value in said.values], dtype=np.int64)
    numbers = metrics.of_guesses(gold, guess, classes)
    columns: dict[str, list[Any]] = {"": said.values}
    if said.probabilities is not None:
        table = np.array([[float(row.get(label, 0.0)) for label in classes] for row in said.probabilities])
        rows = np.arange(len(truth))
        numbers["ece"] = metrics.calibration_error(gold, table)
        numbers["log_loss"] = metrics.log_loss(gold, table)
        columns |= {"p": table[rows, guess].tolist(), "gold_p": table[rows, gold].tolist()}
    if (errors := _errors(truth, said.values)) is not None:
        numbers |= _of_errors(errors)
        columns |= _error_columns(errors)
    return Judged(numbers, columns | _score_columns(said))


def judge_numbers(truth: Floats, said: Said) -> Judged:
    """Mean squared and absolute error, root of the first, share of the variance explained."""
    errors = np.array(said.values, dtype=np.float64) - truth
    spread = float(((truth - truth.mean()) ** 2).sum())
    numbers = _of_errors(errors) | {"r2": 1.0 - float((errors**2).sum()) / spread if spread else math.nan}
    return Judged(numbers, {"": said.values, **_error_columns(errors), **_score_columns(said)})


def judge_texts(truth: Sequence[str], said: Said) -> Judged:
    """Exact match, ROUGE-L and chrF. Raises: MissingPartError without their libraries."""
    scores = text_scores(said.values, truth)
    numbers = {name: float(np.mean(values)) for name, values in scores.items()}
    columns = {f"score_{name}": values for name, values in scores.items()}
    return Judged(numbers, {"": said.values, **columns, **_score_columns(said)})


def slice_numbers(
    judged: Judged, truth: Sequence[Any], here: NDArray[np.bool_], classes: list[str]
) -> dict[str, Any]:
    """The metrics of some rows: those that are means of scores, and, of classes, accuracy and F1."""
    found: dict[str, Any] = {"rows": int(here.sum())}
    for name, values in judged.columns.items():
        if name.startswith("score_"):
            found[name.removeprefix("score_")] = float(np.mean(np.array(values, dtype=np.float64)[here]))
    if "mse" in found:
        found["rmse"] = math.sqrt(found["mse"])
    if classes:
        index = {label: at for at, label in enumerate(classes)}
        gold = np.array([index[label] for label in truth], dtype=np.int64)[here]
        guess = np.array([index[value] for value in judged.columns[""]], dtype=np.int64)[here]
        matrix = metrics.confusion_matrix(gold, guess, len(classes))
        found |= {"accuracy": metrics.accuracy(gold, guess), "f1": metrics.macro_f1(matrix)}
    return found


def _value(value: Any, task: str, who: str, at: int) -> Any:
    if task != "regress":
        return label_text(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(
            f"The {who}'s prediction of held-out row {at + 1} is no finite number: {str(value)[:80]!r}.",
            hint="With `evaluate.task: regress` every prediction is a number.",
        )
    return number


def _errors(truth: Sequence[str], values: Sequence[str]) -> Floats | None:
    """Predicted minus true, where labels are numbers."""
    try:
        found = np.array([float(value) for value in values]) - np.array([float(value) for value in truth])
    except ValueError:
        return None
    return found if np.isfinite(found).all() else None


def _of_errors(errors: Floats) -> dict[str, float]:
    mse = float((errors**2).mean())
    return {"mse": mse, "mae": float(np.abs(errors).mean()), "rmse": math.sqrt(mse)}


def _error_columns(errors: Floats) -> dict[str, list[Any]]:
    return {"score_mse": (errors**2).tolist(), "score_mae": np.abs(errors).tolist()}


def _score_columns(said: Said) -> dict[str, list[Any]]:
    return {f"score_{name}": values for name, values in said.scores.items()}
