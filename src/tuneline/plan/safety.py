"""Safety slices (`evaluate.safety`): the rules they add to the gate. Pure.

For each slice, `noninferior` against the live release at alpha / k, k being the number of slices
(Bonferroni). All must hold, so a candidate that is worse by the margin on any slice passes with probability
alpha / k at most; and the bounds of all slices, read together, hold at once with probability 1 - alpha.
"""

import json
from collections.abc import Mapping
from typing import Any


def safety_rules(safety: Mapping[str, Any]) -> list[str]:
    """The rules of `{"slices": {column: [value]}, "metric", "margin", "alpha"}`, in the order written."""
    slices = [(column, value) for column, values in safety.get("slices", {}).items() for value in values]
    if not slices:
        return []
    metric, margin = safety["metric"], float(safety["margin"])
    alpha = float(safety["alpha"]) / len(slices)
    return [
        f"noninferior(slices[{_quoted(column)}][{_quoted(value)}].{metric}, live, "
        f"margin={margin:.10g}, alpha={alpha:.10g})"
        for column, value in slices
    ]


def safety_said(safety: Mapping[str, Any]) -> str:
    """The rules' origin in a few words."""
    count = sum(len(values) for values in safety.get("slices", {}).values())
    return f"evaluate.safety: alpha {float(safety['alpha']):g} over {count} slice{'s' * (count != 1)}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
