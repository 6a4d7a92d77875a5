"""What the gate says: a verdict, a finding a rule, the evidence of each test; their one wire form."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tuneline.plan.rule_names import lower_is_better


@dataclass(frozen=True)
class Evidence:
    """What one call of `noninferior` or `better` rests on."""

    test: str
    passed: bool
    reason: str
    metric: str
    against: str
    margin: float
    alpha: float
    method: str
    rows: int
    """Held-out rows that both models answered."""
    estimate: float | None = None
    """Candidate minus reference, in the metric's own direction."""
    interval: tuple[float, float] | None = None
    """Two-sided, of level 1 - 2 alpha; one of its ends is the bound that decided."""
    p_value: float | None = None
    candidate: float | None = None
    reference: float | None = None
    discordant: Mapping[str, int] | None = None
    """`{"candidate_only", "reference_only"}`: rows that only one of the two answered right."""


@dataclass(frozen=True)
class Finding:
    """What became of one rule."""

    rule: str
    passed: bool
    reason: str
    values: Mapping[str, Any]
    """Every number the rule read, by name."""
    tests: tuple[Evidence, ...] = ()
    origin: str = ""
    """Where a rule is from that stands not in `gate`, e.g. `evaluate.safety`; in JSON only then."""

    def to_json(self) -> dict[str, Any]:
        """`{"rule", "passed", "reason", "estimate", "interval", "method", "values", "tests"}`;
        the three in the middle are those of the rule's first test, or the one number a bare comparison read.
        """
        first = self.tests[0] if self.tests else None
        only = next(iter(self.values.values())) if len(self.values) == 1 else None
        return {
            "rule": self.rule,
            "passed": self.passed,
            "reason": self.reason,
            "estimate": first.estimate if first else only if isinstance(only, float | int) else None,
            "interval": list(first.interval) if first and first.interval else None,
            "method": first.method if first else "point estimate",
            "values": dict(self.values),
            "tests": [{**asdict(test), "interval": _listed(test.interval)} for test in self.tests],
            **({"origin": self.origin} if self.origin else {}),
        }


@dataclass(frozen=True)
class Verdict:
    """The gate's decision: passed if every rule passed."""

    passed: bool
    reason: str
    findings: tuple[Finding, ...]
    rows: int
    left_out: int
    live_release: str
    live_digest: str
    comparison: Mapping[str, Any] | None = None
    """All that was compared, as `plan.compared` makes it; in JSON only if it was given."""

    def to_json(self) -> dict[str, Any]:
        """The verdict artifact."""
        return {
            "schema": 1,
            "passed": self.passed,
            "reason": self.reason,
            "rules": [finding.to_json() for finding in self.findings],
            "rows": self.rows,
            "left_out": self.left_out,
            "live_release": self.live_release or None,
            "live_digest": self.live_digest or None,
            **({"comparison": dict(self.comparison)} if self.comparison is not None else {}),
        }


def numbers(rule: Mapping[str, Any]) -> dict[str, Any]:
    """What the ledger keeps of a rule of a verdict: whether it holds, and every number that decided it.

    `{"rule", "passed", "values", "tests": [{"test", "passed", "estimate", "bound", "margin", "alpha", "p",
    "rows", "candidate", "reference"}]}`; what a rule has not is left out.
    """
    tests = [_decided(test) for test in rule.get("tests") or ()]
    kept = {"values": dict(rule.get("values") or {}), "tests": tests}
    return {
        "rule": rule.get("rule"),
        "passed": rule.get("passed"),
        **{key: value for key, value in kept.items() if value},
    }


def _decided(test: Mapping[str, Any]) -> dict[str, Any]:
    low, high = test.get("interval") or (None, None)
    bound = high if lower_is_better(str(test.get("metric", "")).rpartition(".")[2]) else low
    names = ("test", "passed", "estimate", "margin", "alpha", "rows", "candidate", "reference")
    found = {name: test.get(name) for name in names} | {"bound": bound, "p": test.get("p_value")}
    return {name: value for name, value in found.items() if value is not None}


def _listed(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)
