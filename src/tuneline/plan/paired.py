"""One test of a rule, `noninferior` or `better`, decided on the rows that both models answered. Pure.

For accuracy Tango's score bound and McNemar's exact test, for other metrics and for seconds a BCa bootstrap.
`docs/gate.md` has the formulas.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneline.plan.comparison import Comparison, Sums, difference, has, total
from tuneline.plan.power import MIN_ROWS, rows_needed
from tuneline.plan.rule_names import METRICS, lower_is_better, split_set
from tuneline.plan.rules import Test
from tuneline.plan.statistics import (
    Interval,
    better_p,
    bootstrap,
    exact_interval,
    noninferior_p,
    tango_interval,
    unseen_share,
)
from tuneline.plan.verdict import Evidence

RESAMPLES = 9_999
SEED = 20_240_229
"""Of the bootstrap. Fixed, so that the same predictions always give the same verdict."""
NOT = "cannot be evaluated"


class Refused(Exception):
    """A rule cannot be evaluated; the message is why."""


def no_live(comparison: Comparison) -> str:
    """Why there are no answers of a live release."""
    if comparison.live_unknown:
        return f"it is not known what is live ({comparison.live_unknown})"
    if comparison.live_digest:
        return f"the evaluation has no answers of the live release {comparison.live_release}"
    return "nothing is live"


def decide(test: Test, comparison: Comparison) -> Evidence:
    """Decide one test. Raises: Refused if it cannot be decided."""
    named, metric = split_set(test.metric)
    if named and named not in comparison.sets:
        known = ", ".join(comparison.sets) or "none"
        raise Refused(f"{NOT}: `{test.text}`: there is no held-out set `{named}` (there are: {known})")
    if named:
        found = decide(replace(test, metric=metric), comparison.sets[named])
        said = found.reason if found.method == "none" else f"sets.{named}.{found.reason}"
        return replace(found, metric=".".join(test.metric), reason=said)
    if test.against not in comparison.answers:
        if test.name == "noninferior" and test.against == "live" and no_live(comparison) == "nothing is live":
            reason = "first release: nothing is live that it could be worse than"
            return _evidence(test, True, reason, "none", 0)
        raise Refused(f"{NOT}: `{test.text}`: {no_live(comparison)}")
    if test.metric[0] == "latency":
        return _on_latency(test, comparison)
    rows = comparison.shared(test.against, _where(test, comparison))
    if len(rows) < MIN_ROWS:
        left = f" ({comparison.left_out} left out)" if comparison.left_out else ""
        raise Refused(
            f"{NOT}: `{test.text}`: {len(rows)} rows{left} are too few, it takes at least {MIN_ROWS}"
            f"{_for_an_equal_one(test, len(rows))}"
        )
    _refuse_another(test, comparison)
    decided = _on_accuracy if test.metric[-1] == "accuracy" else _on_bootstrap
    return decided(test, comparison, rows)


def _refuse_another(test: Test, comparison: Comparison) -> None:
    """A paired test computes the metric from the predictions; own code may mean another by its name."""
    metric = test.metric[-1]
    if not has(comparison, metric, "candidate") or not has(comparison, metric, test.against):
        raise Refused(
            f"{NOT}: `{test.text}`: the predictions have no `{metric}` of each row"
            + ("" if metric in METRICS else '; give it in their `scores`: {"prediction", "scores"}')
        )
    if metric not in comparison.own_metrics or test.metric[0] == "slices":
        return
    everywhere = comparison.shared("candidate")
    counted, said = (
        total(comparison, metric, "candidate", everywhere),
        comparison.metrics["candidate"][metric],
    )
    if abs(counted - said) > 1e-6:
        raise Refused(
            f"{NOT}: `{test.text}`: `{metric}` of the project's own code is {said:.4f}, and "
            f"{counted:.4f} by the predictions: it is another metric; give it another name, and its value in "
            "each row's `scores`"
        )


def _where(test: Test, comparison: Comparison) -> NDArray[np.bool_] | None:
    if test.metric[0] != "slices":
        return None
    column, value = test.metric[1:3]
    if column not in comparison.slices:
        known = ", ".join(comparison.slices) or "none"
        raise Refused(f"{NOT}: there is no slice column `{column}` (there are: {known})")
    return np.asarray(comparison.slices[column] == value, dtype=np.bool_)


def _on_accuracy(test: Test, comparison: Comparison, rows: NDArray[np.int64]) -> Evidence:
    ours, theirs = comparison.right("candidate", rows), comparison.right(test.against, rows)
    wins, losses, n = int((ours & ~theirs).sum()), int((theirs & ~ours).sum()), len(rows)
    if test.name == "noninferior":
        p_value = noninferior_p(wins, losses, n, test.margin)
        interval, method = tango_interval(wins, losses, n, test.alpha), "Tango score bound"
    else:
        p_value = better_p(wins, losses)
        interval, method = exact_interval(wins, losses, n, test.alpha), "McNemar exact"
    passed = p_value <= test.alpha
    few = "" if passed else _for_an_equal_one(test, n)
    reason = _bound_said(test, (wins - losses) / n, interval, passed, n, f"; p={p_value:.3g}{few}")
    return _evidence(
        test, passed, f"{reason}; only the candidate right: {wins}, only {test.against}: {losses}", method, n,
        estimate=(wins - losses) / n, interval=(interval.low, interval.high), p_value=p_value,
        candidate=float(ours.mean()), reference=float(theirs.mean()),
        discordant={"candidate_only": wins, "reference_only": losses},
    )  # fmt: skip


def _for_an_equal_one(test: Test, rows: int) -> str:
    """What is said where so few rows cannot show that a candidate that answers alike is not worse."""
    if test.name != "noninferior" or test.metric[-1] != "accuracy" or test.margin <= 0:
        return ""
    needed = rows_needed(test.margin, test.alpha)
    said = f"even of a candidate that answers alike it takes {needed} rows to rule out {test.margin:g}"
    return f"; {said}" if rows < needed else ""


def _on_latency(test: Test, comparison: Comparison) -> Evidence:
    """Seconds of both models on the same prompts, asked by turns."""
    name, latency = test.metric[-1], comparison.latency
    if test.against == "base":
        raise Refused(f"{NOT}: `{test.text}`: the base is not served, so it is not measured")
    ours, theirs = (
        ((latency.get(who) or {}).get("per_prompt") or {}).get(name) for who in ("candidate", "live")
    )
    if not ours or not theirs or len(ours) < MIN_ROWS:
        what = f"{len(ours)} prompts are too few" if ours and theirs else "was not measured of both"
        raise Refused(f"{NOT}: `{test.text}`: `latency.{name}` {what}")
    pairs = np.column_stack([ours, theirs]).astype(np.float64)
    made = Sums(np.column_stack([pairs, np.ones(len(pairs))]), lambda s: (s[:, 0] - s[:, 1]) / s[:, 2])
    means = {"candidate": float(pairs[:, 0].mean()), "reference": float(pairs[:, 1].mean())}
    return _bootstrapped(test, made, means)


def _on_bootstrap(test: Test, comparison: Comparison, rows: NDArray[np.int64]) -> Evidence:
    metric = test.metric[-1]
    made = difference(comparison, metric, test.against, rows)
    if not np.isfinite(made.per_row).all():
        raise Refused(f"{NOT}: `{test.text}`: the predictions have no probabilities for `{metric}`")
    values = {
        "candidate": total(comparison, metric, "candidate", rows),
        "reference": total(comparison, metric, test.against, rows),
    }
    return _bootstrapped(test, made, values)


def _bootstrapped(test: Test, made: Sums, values: Mapping[str, float]) -> Evidence:
    """Decide by a paired bootstrap. values: `candidate` and `reference`."""
    rows = len(made.per_row)
    found = bootstrap(made.per_row, made.value, alpha=test.alpha, resamples=RESAMPLES, seed=SEED)
    interval, method = found.interval, f"BCa bootstrap, {RESAMPLES} resamples, seed {SEED}"
    if not found.differing:  # one difference on every row: the spread is unseen, not zero
        share, at = unseen_share(rows, test.alpha), found.estimate
        interval, method = Interval(at - share, at + share), "no row differs: rule of three"
    if _lower(test):
        bound, passed = interval.high, interval.high < test.margin
    else:
        bound, passed = interval.low, interval.low > -test.margin
    reason = _bound_said(test, found.estimate, interval, passed, rows, "")
    if not math.isfinite(bound):
        raise Refused(f"{NOT}: `{test.text}`: the bootstrap's bound is {bound}")
    return _evidence(
        test, passed, reason, method, rows,
        estimate=found.estimate, interval=(interval.low, interval.high), **values,
    )  # fmt: skip


def _lower(test: Test) -> bool:
    """Whether less is better of what a test compares."""
    return test.metric[0] == "latency" or lower_is_better(test.metric[-1])


def _bound_said(test: Test, estimate: float, interval: Interval, passed: bool, rows: int, more: str) -> str:
    lower = _lower(test)
    bound, limit = (interval.high, test.margin) if lower else (interval.low, -test.margin)
    unit = "prompts" if test.metric[0] == "latency" else "rows"
    word = ("under" if passed else "not under") if lower else ("above" if passed else "not above")
    return (
        f"{'.'.join(test.metric)} {estimate:+.4f} against {test.against} on {rows} {unit}; "
        f"{100 * (1 - test.alpha):g}% bound {bound:+.4f} is {word} {limit + 0.0:+g}{more}"
    )


def _evidence(test: Test, passed: bool, reason: str, method: str, rows: int, **numbers: Any) -> Evidence:
    metric = ".".join(test.metric)
    return Evidence(
        test.text, passed, reason, metric, test.against, test.margin, test.alpha, method, rows, **numbers
    )
