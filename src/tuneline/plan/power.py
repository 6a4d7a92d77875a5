"""What N held-out rows can decide, computed before anything is trained: what `tuneline check` says of a gate.

Exact sums over the multinomial counts (accuracy) or the binomial (bare comparisons). Pure.
"""

import math
import re
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

from tuneline.errors import SpecError
from tuneline.plan.rule_names import AnyName, lower_is_better
from tuneline.plan.rules import Rule, Test, parse
from tuneline.plan.statistics import (
    better_p,
    better_power,
    binomial_tail,
    noninferior_p,
    noninferior_power,
)

MIN_ROWS = 20
"""Fewer paired rows than this decide nothing: `noninferior` and `better` refuse."""
USUAL_SHARE = 0.10
"""Share of rows on which two fine-tunings of one base usually differ; the probabilities below assume it."""
_BARE = re.compile(r"\s*accuracy\s*(>=|>)\s*(0?\.\d+|0|1|1\.0*)\s*")


Known = Mapping[tuple[str, ...], int]
"""Rows of slices and sets, as far as they are known: `("slices", "site", "berlin")`, `("sets", "hard")`,
`("sets", "hard", "slices", "site", "berlin")`."""


def decidable(rules: Sequence[Any], rows: int, known: Known | None = None) -> list[str]:
    """One line a rule (those that can be read): what `rows` held-out rows can decide about it."""
    lines = []
    for text in rules:
        try:
            rule = parse(text, AnyName()) if isinstance(text, str) else None
        except SpecError:
            continue  # `check_rules` reports it
        if rule is not None:
            lines.extend(_of_rule(rule, rows, known or {}))
    return lines


def most_differing(rows: int, margin: float, alpha: float) -> int:
    """The most rows on which equally good models may differ while `noninferior` holds; -1 if none."""
    pairs = range(rows // 2 + 1)
    low, high = -1, len(pairs) - 1
    while low < high:  # more disagreement widens the bound, so the answer is found by halving
        middle = (low + high + 1) // 2
        if noninferior_p(middle, middle, rows, margin) <= alpha:
            low = middle
        else:
            high = middle - 1
    return 2 * low if low >= 0 else -1


def rows_needed(margin: float, alpha: float) -> int:
    """The fewest rows on which `noninferior` of accuracy holds if no answer differs; margin above 0."""
    return max(MIN_ROWS, math.ceil(NormalDist().inv_cdf(1 - alpha) ** 2 * (1 - margin) / margin))


def _of_rule(rule: Rule, rows: int, known: Known) -> list[str]:
    lines = [_of_test(test, rows, known) for test in rule.tests]
    bare = _BARE.fullmatch(rule.text)
    if bare and rows > 0:
        lines.append(_bare(rule.text, float(bare.group(2)), bare.group(1) == ">", rows))
    return lines


def known_rows(comparison: Mapping[str, Any]) -> dict[tuple[str, ...], int]:
    """The rows of every slice and further set of a verdict's comparison, as `plan.compared` makes it."""
    found: dict[tuple[str, ...], int] = {}
    for one in comparison.get("lines", ()):
        of_set = ("sets", one["set"]) if one["set"] else ()
        of_slice = ("slices", one["column"], one["value"]) if one["column"] else ()
        if of_set or of_slice:
            found[(*of_set, *of_slice)] = int(one["rows"])
    return found


def _of_test(test: Test, rows: int, known: Known) -> str:
    if test.metric[0] == "latency":
        return f"{test.text}: seconds over prompts: what they decide depends on the machine (bootstrap)"
    part = test.metric[:-1]
    if part[:1] == ("sets",) and part not in known:
        return f"{test.text}: what it can decide is known once a run has held out rows of `{'.'.join(part)}`"
    rows = known.get(part, rows)
    if rows < MIN_ROWS:
        return f"{test.text}: refuses: {rows} held-out rows are too few, it takes at least {_least(test)}"
    if lower_is_better(test.metric[-1]):
        return f"{test.text}: what {rows} rows decide depends on the predictions (bootstrap)"
    said = f"{test.text}: with {rows} rows "
    if part and part not in known:
        said = f"{test.text}: if all {rows} rows were of that slice, "
    if test.metric[-1] != "accuracy":
        said += "its bootstrap bound depends on the predictions; as a guide, for accuracy "
    return said + (_noninferior(test, rows) if test.name == "noninferior" else _better(test, rows))


def _least(test: Test) -> int:
    """The fewest rows with which a test can pass a candidate that answers as the other model does."""
    able = test.name == "noninferior" and test.metric[-1] == "accuracy" and test.margin > 0
    return rows_needed(test.margin, test.alpha) if able else MIN_ROWS


def _noninferior(test: Test, rows: int) -> str:
    most = most_differing(rows, test.margin, test.alpha)
    if most < 0:
        return f"it cannot pass an equally good candidate; {_enough(test.margin, test.alpha)}"
    share = _share(test.margin)

    def chance(loss: float) -> str:
        return _percent(noninferior_power(rows, test.margin, test.alpha, share, loss))

    half = test.margin / 2
    return (
        f"it passes an equally good candidate that differs from {test.against} on at most {most} rows "
        f"({_percent(most / rows)}); where they differ on {_percent(share)}, it passes with probability "
        f"{chance(0.0)} if they are equally good, {chance(half)} if the candidate is truly {half:g} worse, "
        f"{chance(test.margin)} if it is {test.margin:g} worse"
    )


def _enough(margin: float, alpha: float) -> str:
    """Rows at which the bound clears the margin when no answer differs: n m / (1 - m) >= z^2."""
    if margin == 0:
        return "with margin=0 it asks for a better one, as `better` does"
    return f"even if no answer differs it takes {rows_needed(margin, alpha)} rows"


def _better(test: Test, rows: int) -> str:
    needed = next((wins for wins in range(1, rows + 1) if better_p(wins, 0) <= test.alpha), None)
    if needed is None:
        return "it can never pass: too few rows"
    gains = [
        f"{_percent(better_power(rows, test.alpha, _share(0.04), gain))} for a true gain of {gain:g}"
        for gain in (0.02, 0.04)
    ]
    return (
        f"it takes at least {needed} rows only the candidate has right and none that only {test.against} "
        f"has; where they differ on {_percent(_share(0.04))}, it passes with probability {', '.join(gains)}"
    )


def _bare(text: str, limit: float, strict: bool, rows: int) -> str:
    needed = math.floor(limit * rows + 1e-9) + 1 if strict else math.ceil(limit * rows - 1e-9)
    error = math.sqrt(limit * (1 - limit) / rows)
    low, high = max(0.0, limit - 2 * error), min(1.0, limit + 2 * error)
    return (
        f"{text}: a point estimate; with {rows} rows it takes {needed} right (standard error {error:.3f}): "
        f"a candidate truly at {low:.3f} passes {_percent(binomial_tail(needed, rows, low))}, "
        f"one at {high:.3f} {_percent(binomial_tail(needed, rows, high))} of the time"
    )


def _share(difference: float) -> float:
    return max(USUAL_SHARE, difference)


def _percent(share: float) -> str:
    return (
        f"{100 * share:.1f}%" if 0.0005 <= share < 0.9995 else "over 99.9%" if share > 0.5 else "under 0.1%"
    )
