"""The whole comparison as a table, kept with the release: candidate, base and live by set, slice and metric.

Each line has its rows, the estimates, and the candidate's difference with a 95 % interval where one can be
had; beside it stands what exactly was compared, by digest. It decides nothing: the rules do. Pure.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneline.plan.comparison import WHO, Comparison, difference, has, total
from tuneline.plan.paired import RESAMPLES, SEED
from tuneline.plan.power import MIN_ROWS
from tuneline.plan.rule_names import METRICS
from tuneline.plan.statistics import bootstrap, tango_interval, wilson_interval

ALPHA = 0.025
"""Each side of an interval: together 95 %."""
MOST_LINES = 500
"""Further lines, of columns with very many values, are left off and counted."""
MOST_RESAMPLED = 5_000
"""Rows up to which F1 and calibration error are bootstrapped."""
_Z = 1.959963984540054
_RESAMPLED = frozenset({"f1", "ece"})


@dataclass(frozen=True)
class _Part:
    """Some rows of one set."""

    name: str
    column: str
    value: str
    comparison: Comparison
    numbers: Mapping[str, Mapping[str, Any]]
    """By model, as the evaluation reports them."""
    where: NDArray[np.bool_] | None


def compared(comparison: Comparison) -> dict[str, Any]:
    """`{"level", "against", "models", "sets", "lines", "left_off", "latency"}`; docs/gate.md has the keys.

    `set` is "" for the main held-out set; `column` and `value` are "" for all of its rows.
    """
    sets = {"": comparison, **comparison.sets}
    parts = [part for name, one in sets.items() for part in _parts(name, one)]
    lines = [line for part in parts for line in _lines(part)]
    return {
        "level": 1 - 2 * ALPHA,
        "against": _against(comparison),
        "models": _models(comparison),
        "sets": [_about(name, one) for name, one in sets.items()],
        "lines": lines[:MOST_LINES],
        "left_off": max(0, len(lines) - MOST_LINES),
        "latency": _latency(comparison.latency),
    }


def _against(comparison: Comparison) -> str | None:
    """Whom the candidate's differences are to."""
    return next((who for who in ("live", "base") if who in comparison.answers), None)


def _models(comparison: Comparison) -> dict[str, dict[str, Any]]:
    told: Mapping[str, Any] = comparison.about.get("models") or {}
    found = {who: dict(told.get(who, {})) for who in WHO if who in comparison.metrics}
    if "live" in found:
        found["live"] = {"release": comparison.live_release, "digest": comparison.live_digest}
    return found


def _about(name: str, one: Comparison) -> dict[str, Any]:
    source = one.about.get("set") or {}
    return {
        "set": name,
        "rows": one.rows,
        "left_out": one.left_out,
        "rows_digest": one.about.get("rows_digest"),
        "source": source.get("source"),
        "source_digest": source.get("digest"),
    }


def _parts(name: str, one: Comparison) -> Iterator[_Part]:
    yield _Part(name, "", "", one, one.metrics, None)
    for column, values in (one.metrics.get("candidate", {}).get("slices") or {}).items():
        if column not in one.slices:
            continue
        for value in values:
            numbers = {
                who: found.get("slices", {}).get(column, {}).get(value, {})
                for who, found in one.metrics.items()
            }
            yield _Part(name, column, value, one, numbers, np.asarray(one.slices[column] == value))


def _lines(part: _Part) -> Iterator[dict[str, Any]]:
    ours = part.numbers.get("candidate", {})
    known = [name for name in METRICS if name in ours]
    own = sorted(name for name in ours if name in part.comparison.own_metrics and name not in METRICS)
    here = part.where if part.where is not None else np.ones(part.comparison.rows, dtype=np.bool_)
    rows = int(here.sum())
    for metric in (*known, *own):
        line: dict[str, Any] = {
            "set": part.name, "column": part.column, "value": part.value, "metric": metric, "rows": rows,
            **{who: _number(part.numbers.get(who, {}).get(metric)) for who in WHO},
            "interval": None, "difference": None, "difference_interval": None, "method": None,
        }  # fmt: skip
        if line["candidate"] is not None and has(part.comparison, metric, "candidate"):
            line |= _candidate(part.comparison, metric, line["candidate"], part.where)
        yield line


def _candidate(one: Comparison, metric: str, said: float, where: NDArray[np.bool_] | None) -> dict[str, Any]:
    """What the predictions tell beyond the estimates; nothing if the metric is another of this name."""
    rows = one.shared("candidate", where)
    if not len(rows) or not abs(total(one, metric, "candidate", rows) - said) < 1e-6:
        return {}
    found: dict[str, Any] = {}
    if metric in ("accuracy", "exact_match"):
        interval = wilson_interval(round(said * len(rows)), len(rows), ALPHA)
        found["interval"] = [interval.low, interval.high]
    against = _against(one)
    if against is None or not has(one, metric, against):
        return found
    pairs = one.shared(against, where)
    if len(pairs) < MIN_ROWS:
        return found
    return found | _difference(one, metric, against, pairs, whole=where is None)


def _difference(
    one: Comparison, metric: str, against: str, rows: NDArray[np.int64], *, whole: bool
) -> dict[str, Any]:
    if metric == "accuracy":
        ours, theirs = one.right("candidate", rows), one.right(against, rows)
        wins, losses = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
        found = tango_interval(wins, losses, len(rows), ALPHA)
        counts = {"candidate_only": wins, "reference_only": losses}
        said = _said((wins - losses) / len(rows), found.low, found.high, "Tango score interval")
        return {**said, "discordant": counts}
    made = difference(one, metric, against, rows)
    if not np.isfinite(made.per_row).all():
        return {}
    if metric in _RESAMPLED and whole and len(rows) <= MOST_RESAMPLED:
        drawn = bootstrap(made.per_row, made.value, alpha=ALPHA, resamples=RESAMPLES, seed=SEED)
        if not drawn.differing:
            return {"difference": drawn.estimate}
        return _said(drawn.estimate, drawn.interval.low, drawn.interval.high, "BCa bootstrap")
    if metric in _RESAMPLED or metric == "rmse":  # no mean of rows
        return {"difference": float(made.value(made.per_row.sum(axis=0, keepdims=True))[0])}
    apart = made.per_row[:, 0] - made.per_row[:, made.per_row.shape[1] // 2]
    middle, error = float(apart.mean()), float(apart.std(ddof=1)) / math.sqrt(len(rows))
    return _said(middle, middle - _Z * error, middle + _Z * error, "paired means, normal")


def _said(estimate: float, low: float, high: float, method: str) -> dict[str, Any]:
    if not (math.isfinite(low) and math.isfinite(high)):
        return {"difference": estimate}
    return {"difference": estimate, "difference_interval": [low, high], "method": method}


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None


def _latency(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """What was measured, without each prompt's own numbers."""
    if not found:
        return None
    kept = dict(found)
    for who in ("candidate", "live"):
        if kept.get(who):
            kept[who] = {name: value for name, value in kept[who].items() if name != "per_prompt"}
    return kept
