"""The gate's evidence: what candidate, base and live answered on the same rows, and metrics over them.

Made from the evaluation's report and per-row predictions; no IO. Each metric is a function of sums over rows:
a resample of the bootstrap costs one matrix product. Classes are compared by their labels; numbers, texts and
what own code measures by the score of each row (columns `candidate_score_NAME`, `live_score_NAME`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneline.errors import DataError
from tuneline.plan.statistics import Floats

WHO = ("candidate", "base", "live")
ECE_BINS = 10
"""Equal bins of confidence, (0, 0.1], (0.1, 0.2], ..., as the evaluation has them."""
_SMALLEST_P = 1e-15


@dataclass(frozen=True)
class Answers:
    """One model's answers, one entry a row of the comparison."""

    label: NDArray[np.int64]
    """Index of the predicted label; -1 where the model was not asked."""
    p: Floats
    """Probability of the predicted label."""
    gold_p: Floats
    """Probability of the right one."""
    scores: Mapping[str, Floats] = field(default_factory=dict)
    """Metric -> its value in each row, nan where there is none."""


@dataclass(frozen=True)
class Comparison:
    """What `judge` decides on."""

    rows: int
    left_out: int
    """Held-out rows that were left out because the live release was trained on them."""
    metrics: Mapping[str, Mapping[str, Any]]
    """The report's numbers of `candidate`, `base` and, if there is one, `live`."""
    labels: tuple[str, ...]
    gold: NDArray[np.int64]
    answers: Mapping[str, Answers]
    slices: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    """Column -> its value in every row."""
    live_release: str = ""
    live_digest: str = ""
    """Empty when nothing is live."""
    live_unknown: str = ""
    """Why it is not known whether anything is live; empty when it is known."""
    own_metrics: frozenset[str] = frozenset()
    """Metrics that the project's own code reported, or gave for each row."""
    sets: Mapping[str, "Comparison"] = field(default_factory=dict)
    """The same of each further held-out set, by name."""
    latency: Mapping[str, Any] = field(default_factory=dict)
    """What `measure` found, as `plan.latency` has it; empty where nothing was measured."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What was compared: digests of rows, sources and models."""

    @classmethod
    def of(
        cls,
        report: Mapping[str, Any],
        predictions: Mapping[str, Sequence[Any]],
        *,
        live_release: str = "",
        live_digest: str = "",
        live_unknown: str = "",
    ) -> "Comparison":
        """The comparison of `evaluate`'s report and its predictions (column name -> one value a row).

        Raises: DataError if the two do not belong together.
        """
        labels = tuple(str(label) for label in report.get("labels", ()))
        classes = report.get("task", "classify") == "classify"
        gold = _codes(predictions["label"], labels, "label") if classes else _answered(predictions["label"])
        metrics = {who: dict(report[who]) for who in WHO if report.get(who) is not None}
        answers = {who: _answers(predictions, who, labels if classes else None) for who in metrics}
        made = cls(
            rows=len(gold),
            left_out=int(report.get("left_out", 0)),
            metrics=metrics,
            labels=labels,
            gold=gold,
            answers=answers,
            slices={
                name.removeprefix("keep_"): np.array(
                    ["(none)" if v is None else str(v) for v in values], dtype=np.str_
                )
                for name, values in predictions.items()
                if name.startswith("keep_")
            },
            live_release=live_release,
            live_digest=live_digest,
            live_unknown=live_unknown,
            own_metrics=frozenset(report.get("own_metrics", ())),
        )
        _must_belong_together(made, report)
        return made

    def shared(self, against: str, where: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """Numbers of the rows that both the candidate and `against` answered, among `where` if given."""
        both = (self.answers["candidate"].label >= 0) & (self.answers[against].label >= 0)
        return np.flatnonzero(both if where is None else both & where)

    def right(self, who: str, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of `rows` a model answered right."""
        return np.asarray(self.answers[who].label[rows] == self.gold[rows], dtype=np.bool_)


@dataclass(frozen=True)
class Sums:
    """A metric as sums over rows: `per_row` (rows, k), and the function from (m, k) summed lines to (m,)."""

    per_row: Floats
    value: Callable[[Floats], Floats]


def sums(comparison: Comparison, metric: str, who: str, rows: NDArray[np.int64]) -> Sums:
    """The metric of one model over `rows`. Raises: KeyError for a metric that is not made of sums."""
    scores = comparison.answers[who].scores
    if metric == "rmse" and "mse" in scores:
        made = _mean(scores["mse"][rows])
        return Sums(made.per_row, lambda s: np.sqrt(made.value(s)))
    return _mean(scores[metric][rows]) if metric in scores else _METRICS[metric](comparison, who, rows)


def has(comparison: Comparison, metric: str, who: str) -> bool:
    """Whether the predictions tell the metric of one model row by row."""
    scores = comparison.answers[who].scores
    return (
        metric in scores
        or (metric == "rmse" and "mse" in scores)
        or (metric in _METRICS and bool(comparison.labels))
    )


def total(comparison: Comparison, metric: str, who: str, rows: NDArray[np.int64]) -> float:
    """The metric's value of one model over `rows`."""
    made = sums(comparison, metric, who, rows)
    return float(made.value(made.per_row.sum(axis=0, keepdims=True))[0])


def difference(comparison: Comparison, metric: str, against: str, rows: NDArray[np.int64]) -> Sums:
    """Candidate's metric minus the other model's, over the same rows."""
    ours = sums(comparison, metric, "candidate", rows)
    theirs = sums(comparison, metric, against, rows)
    width = ours.per_row.shape[1]
    return Sums(
        np.hstack([ours.per_row, theirs.per_row]),
        lambda lines: ours.value(lines[:, :width]) - theirs.value(lines[:, width:]),
    )


def _accuracy(comparison: Comparison, who: str, rows: NDArray[np.int64]) -> Sums:
    right = comparison.right(who, rows)
    return Sums(np.column_stack([right, np.ones(len(rows))]), lambda s: s[:, 0] / s[:, 1])


def _mean(values: Floats) -> Sums:
    return Sums(np.column_stack([values, np.ones(len(values))]), lambda s: s[:, 0] / s[:, 1])


def _log_loss(comparison: Comparison, who: str, rows: NDArray[np.int64]) -> Sums:
    loss = -np.log(np.maximum(comparison.answers[who].gold_p[rows], _SMALLEST_P))
    return Sums(np.column_stack([loss, np.ones(len(rows))]), lambda s: s[:, 0] / s[:, 1])


def _f1(comparison: Comparison, who: str, rows: NDArray[np.int64]) -> Sums:
    """Macro F1 over the labels that occur, as gold or as prediction; 0 for one that is never right."""
    labels = np.arange(len(comparison.labels))
    gold = comparison.gold[rows][:, None] == labels
    said = comparison.answers[who].label[rows][:, None] == labels
    width = len(labels)

    def value(s: Floats) -> Floats:
        hits, seen = s[:, :width], s[:, width:]
        f1 = np.divide(2 * hits, seen, out=np.zeros_like(hits), where=seen > 0)
        return np.asarray(f1.sum(axis=1) / np.maximum(1, (seen > 0).sum(axis=1)), dtype=np.float64)

    per_row = np.hstack([gold & said, gold.astype(np.float64) + said])
    return Sums(per_row.astype(np.float64), value)


def _ece(comparison: Comparison, who: str, rows: NDArray[np.int64]) -> Sums:
    """Expected calibration error: |confidence - accuracy| of each bin, weighted by its rows."""
    p = comparison.answers[who].p[rows]
    number = np.clip(np.ceil(np.nan_to_num(p) * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)
    inside = number[:, None] == np.arange(ECE_BINS)
    gap = inside * (p - comparison.right(who, rows))[:, None]
    per_row = np.hstack([gap, np.ones((len(rows), 1))])
    return Sums(per_row, lambda s: np.abs(s[:, :ECE_BINS]).sum(axis=1) / s[:, ECE_BINS])


_METRICS: Mapping[str, Callable[[Comparison, str, NDArray[np.int64]], Sums]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "ece": _ece,
    "log_loss": _log_loss,
}


def _answers(predictions: Mapping[str, Sequence[Any]], who: str, labels: tuple[str, ...] | None) -> Answers:
    """labels: None where answers are no classes."""
    if who not in predictions:
        raise DataError(
            f"The evaluation reports on `{who}`, and its predictions have no such column.",
            hint="Run `evaluate` again: report and predictions are not of one evaluation.",
        )

    def numbers(column: str) -> Floats:
        values = predictions[column] if column in predictions else [None] * len(predictions[who])
        return np.array([math.nan if v is None else float(v) for v in values], dtype=np.float64)

    said = predictions[who]
    return Answers(
        _answered(said) if labels is None else _codes(said, labels, who),
        numbers(f"{who}_p"),
        numbers(f"{who}_gold_p"),
        {
            name.removeprefix(f"{who}_score_"): numbers(name)
            for name in predictions
            if name.startswith(f"{who}_score_")
        },
    )


def _answered(values: Sequence[Any]) -> NDArray[np.int64]:
    """0 where there is an answer, -1 where there is none."""
    return np.array([-1 if value is None else 0 for value in values], dtype=np.int64)


def _codes(values: Sequence[Any], labels: tuple[str, ...], column: str) -> NDArray[np.int64]:
    index = {label: code for code, label in enumerate(labels)}
    try:
        return np.array([-1 if v is None else index[str(v)] for v in values], dtype=np.int64)
    except KeyError as error:
        raise DataError(
            f"Column `{column}` of the predictions has the label {error}; known: {', '.join(labels)}.",
            hint="Run `evaluate` again: report and predictions are not of one evaluation.",
        ) from error


def _must_belong_together(made: Comparison, report: Mapping[str, Any]) -> None:
    """Rows and accuracies of the predictions are those of the report: a verdict rests on one evaluation."""
    faults = (
        [] if int(report.get("rows", -1)) == made.rows else [f"rows: {report.get('rows')} and {made.rows}"]
    )
    for who, answers in made.answers.items():
        reported = None if "accuracy" in made.own_metrics else made.metrics[who].get("accuracy")
        asked = np.flatnonzero(answers.label >= 0)
        if reported is not None and len(asked):
            counted = float(made.right(who, asked).mean())
            if not abs(counted - float(reported)) < 1e-6:
                faults.append(f"accuracy of {who}: {reported} and {counted}")
    if faults:
        raise DataError(
            "The evaluation's report and its predictions disagree.",
            hint="Run `evaluate` again: they are not of one evaluation.",
            details=faults,
        )
