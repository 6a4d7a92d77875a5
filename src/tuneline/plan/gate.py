"""The gate: rules over a paired comparison with the live release -> a verdict with its evidence. Pure.

Bare comparisons use point estimates. `noninferior` and `better` use one-sided bounds on the paired difference
over the same held-out rows: for accuracy Tango's score bound and McNemar's exact test, for others a BCa
bootstrap. A rule that cannot be evaluated refuses, with the reason. `docs/gate.md` has the formulas.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tuneline.errors import SpecError
from tuneline.plan.comparison import Comparison
from tuneline.plan.latency import readable
from tuneline.plan.paired import NOT, Refused, decide, no_live
from tuneline.plan.power import decidable
from tuneline.plan.rules import Rule, check_rules, evaluate, parse
from tuneline.plan.safety import safety_rules, safety_said
from tuneline.plan.verdict import Evidence, Finding, Verdict

__all__ = ["Evidence", "Finding", "Verdict", "check_rules", "decidable", "judge"]


def judge(rules: Sequence[Any], comparison: Comparison, safety: Mapping[str, Any] | None = None) -> Verdict:
    """The verdict of a project's rules on a comparison. No rules at all pass, and the verdict says so.

    safety: the value of `evaluate.safety`; its rules stand after the project's own.
    """
    findings = tuple(_finding(rule, comparison) for rule in rules)
    for rule in safety_rules(safety or {}):
        findings += (replace(_finding(rule, comparison), origin=safety_said(safety or {})),)
    refused = [finding for finding in findings if not finding.passed]
    if not findings:
        reason = "no rules: the gate is empty, so everything passes it"
    elif refused:
        reason = "; ".join(f"`{finding.rule}`: {finding.reason}" for finding in refused)
    else:
        reason = f"all {len(findings)} rules hold" if len(findings) > 1 else "the rule holds"
    c = comparison
    return Verdict(not refused, reason, findings, c.rows, c.left_out, c.live_release, c.live_digest)


def _finding(text: Any, comparison: Comparison) -> Finding:
    values: dict[str, Any] = {}
    tests: list[Evidence] = []
    try:
        if not isinstance(text, str):
            raise Refused(f"{NOT}: a rule is a text, this is {text!r}")
        if comparison.rows == 0:
            raise Refused(f"{NOT}: there are no held-out rows")
        rule = parse(text, comparison.own_metrics.union(*(s.own_metrics for s in comparison.sets.values())))
        context = _context(comparison)
        for path in rule.paths:
            value = _read(path, context, comparison)
            if isinstance(value, int | float):
                values[".".join(path)] = value
        tests.extend(decide(test, comparison) for test in rule.tests)
        context.update({f"test_{number}": test.passed for number, test in enumerate(tests)})
        passed = evaluate(rule, context)
    except SpecError as fault:
        return Finding(str(text), False, f"{NOT}: {fault.message}", values, tuple(tests))
    except Refused as refusal:
        return Finding(str(text), False, str(refusal), values, tuple(tests))
    return Finding(rule.text, passed, _why(rule, passed, values, tests), values, tuple(tests))


def _why(rule: Rule, passed: bool, values: Mapping[str, Any], tests: Sequence[Evidence]) -> str:
    numbers = ", ".join(
        f"{n} is {v:.4f}" if isinstance(v, float) else f"{n} is {v}" for n, v in values.items()
    )
    said = "; ".join([*([numbers] if numbers else []), *(test.reason for test in tests)])
    if len(tests) == 1 and not values and tests[0].passed is passed:
        return said
    return (
        f"{'holds' if passed else 'does not hold'}: {said}"
        if said
        else ("holds" if passed else "does not hold")
    )


def _context(comparison: Comparison) -> dict[str, Any]:
    """The variables of the rules. What is no finite number is left out, so that reading it refuses."""
    metrics = comparison.metrics
    context = {
        **_finite(metrics.get("candidate", {})),
        "rows": comparison.rows,
        "left_out": comparison.left_out,
    }
    for who in ("base", "live"):
        if who in metrics:
            context[who] = _finite(metrics[who])
    if comparison.latency:
        context["latency"] = readable(comparison.latency["candidate"])
        if comparison.latency.get("live") and "live" in context:
            context["live"]["latency"] = readable(comparison.latency["live"])
    for name, inner in comparison.sets.items():
        found = _context(inner)
        for who in ("base", "live"):
            if (theirs := found.pop(who, None)) is not None and who in context:
                context[who].setdefault("sets", {})[name] = theirs
        context.setdefault("sets", {})[name] = found
    return context


def _finite(value: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, inner in value.items():
        if name == "confusion_matrix" and isinstance(inner, Mapping):
            kept[name] = _cells(inner)
        elif isinstance(inner, Mapping):
            kept[name] = _finite(inner)
        elif isinstance(inner, int | float) and not isinstance(inner, bool) and math.isfinite(inner):
            kept[name] = inner
    return kept


def _cells(matrix: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """A confusion matrix by label: `[true][predicted]` is a number of rows."""
    labels = [str(label) for label in matrix["labels"]]
    rows = zip(labels, matrix["rows"], strict=True)
    return {true: dict(zip(labels, map(int, row), strict=True)) for true, row in rows}


def _read(path: tuple[str, ...], context: Mapping[str, Any], comparison: Comparison) -> Any:
    """What a name stands for. Raises: Refused with the reason if it stands for nothing."""
    written = ".".join(path)
    if path[0] == "live" and "live" not in context:
        why = no_live(comparison)
        raise Refused(f"{NOT}: {why}, so `{written}` has no value (`noninferior` holds for a first release)")
    value: Any = context
    for depth, name in enumerate(path):
        if not isinstance(value, Mapping) or name not in value:
            known = ", ".join(sorted(map(str, value)))[:200] if isinstance(value, Mapping) else ""
            what = "is not a finite number or not in the evaluation's report"
            if name == "latency":
                what = "was not measured (it is where the gate names it as the run starts)"
            elif path[depth - 1 : depth] == ("latency",):
                what = f"is not measured on this runtime (there are: {known or 'none'})"
            elif path[depth - 1 : depth] == ("sets",):
                what = f"is no held-out set that was compared (there are: {known or 'none'})"
            elif "slices" in path[:depth]:
                what = f"has no held-out row or is not in `evaluate.slices` (there are: {known or 'none'})"
            elif depth and path[depth - 1] not in ("base", "live"):
                what = f"is not there (there are: {known or 'none'})"
            raise Refused(f"{NOT}: `{'.'.join(path[: depth + 1])}` {what}")
        value = value[name]
    if value == {} or (isinstance(value, Mapping) and value.get("rows") == 0):
        raise Refused(f"{NOT}: `{written}` is empty")
    return value
