"""What was timed of the runtimes as numbers that rules can read, and whether a rule asks for any. Pure.

Times are seconds. Quantiles are interpolated linearly between the two nearest answers.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tuneline.errors import SpecError
from tuneline.plan.rule_names import LATENCY
from tuneline.plan.rule_tokens import tokens_of

Timings = Sequence[tuple[float, float | None, int | None]]
"""Of each prompt: seconds, seconds to the first token (None: none), tokens (None: not known)."""
PARTS = 3
"""Into so many parts, in order, the prompts are cut; how far their quantiles lie apart is the spread."""


def names_latency(rules: Sequence[Any]) -> bool:
    """Whether a rule reads `latency`: only then is it measured. What cannot be read asks for nothing."""
    for rule in rules:
        try:
            tokens = tokens_of(rule) if isinstance(rule, str) else []
        except SpecError:
            continue  # `check_rules` reports it
        if any(token.kind == "name" and token.text == "latency" for token in tokens):
            return True
    return False


def summary(timed: Timings) -> dict[str, Any]:
    """The numbers of one model: those of `LATENCY` it has, their spread, and each prompt's own."""
    totals = [seconds for seconds, _, _ in timed]
    firsts = [first for _, first, _ in timed if first is not None]
    found: dict[str, Any] = {"prompts": len(timed), "requests": len(timed), **_numbers(totals, "")}
    found["sd"] = float(np.std(totals, ddof=1)) if len(totals) > 1 else 0.0
    found["least"], found["most"] = float(min(totals)), float(max(totals))
    if len(firsts) == len(timed):
        found |= _numbers(firsts, "ttft_")
    counted = [number for _, _, number in timed if number is not None]
    tokens = sum(counted)
    if len(counted) == len(timed) and tokens > 0:
        found["tokens_per_s"], found["tokens"] = tokens / math.fsum(totals), tokens
    parts = [
        _numbers([float(x) for x in part], "")
        for part in np.array_split(np.array(totals), PARTS)
        if len(part)
    ]
    found["spread"] = {
        name: [min(part[name] for part in parts), max(part[name] for part in parts)]
        for name in ("p50", "p95", "mean")
    }
    per_prompt = {"mean": totals, **({"ttft_mean": firsts} if len(firsts) == len(timed) else {})}
    return found | {"per_prompt": per_prompt}


def readable(found: Mapping[str, Any]) -> dict[str, float]:
    """Of a model's numbers those that rules can read."""
    return {name: found[name] for name in LATENCY if name in found}


def _numbers(seconds: Sequence[float], prefix: str) -> dict[str, float]:
    p50, p95 = np.quantile(np.array(seconds), (0.5, 0.95))
    return {
        f"{prefix}p50": float(p50),
        f"{prefix}p95": float(p95),
        f"{prefix}mean": math.fsum(seconds) / len(seconds),
    }
