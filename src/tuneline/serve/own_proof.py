"""The proof for a project's own code: what is served says what the model said where it was scored. Pure.

Held-out rows went through `predict` in the task `score`, in the environment the model was trained in; they
go through the runtime as it will be deployed, over HTTP, each alone and all at once. Labels, texts and
shapes must be equal, numbers within the tolerance. Where own code evaluated, what it said passed the gate:
that too must be what is served.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tuneline.serve.proof import SCHEMA, Identity


@dataclass(frozen=True)
class OwnBounds:
    """What a proof demands."""

    tolerance: float = 1e-6
    """Two numbers are the same if they differ by no more than this share of the larger, or by this much."""


@dataclass(frozen=True)
class OwnProof:
    """The outcome, as proof.json has it."""

    identity: Identity
    rows: int
    rows_equal: int
    """Rows whose prediction was the same asked alone."""
    batch_equal: int
    """Rows whose prediction was the same asked with all others."""
    evaluated: int
    """Rows whose evaluated prediction could be compared with the served one."""
    evaluated_equal: int
    max_difference: float
    """The largest difference of two numbers, of those compared."""
    bounds: OwnBounds = field(default_factory=OwnBounds)
    reasons: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the two sides are the same model."""
        return not self.reasons

    def to_json(self) -> dict[str, Any]:
        """proof.json."""
        body = asdict(self)
        body.pop("identity")
        difference = self.max_difference if math.isfinite(self.max_difference) else None
        return {
            "schema": SCHEMA,
            "passed": self.passed,
            **asdict(self.identity),
            **body,
            "max_difference": difference,
            "reasons": list(self.reasons),
        }


def prove_own(
    identity: Identity,
    scored: Sequence[Any],
    alone: Sequence[Any],
    batch: Sequence[Any],
    evaluated: Sequence[Any] | None,
    bounds: OwnBounds = OwnBounds(),
) -> OwnProof:
    """The proof of lists of predictions of the same rows. evaluated: None where no own code evaluated."""
    tolerance = bounds.tolerance
    pairs = [*zip(scored, alone, strict=True), *zip(scored, batch, strict=True)]
    both = [
        (one, other)
        for one, other in zip(map(bare, evaluated or ()), map(bare, alone if evaluated else ()), strict=True)
        if not isinstance(one, list | Mapping) and not isinstance(other, list | Mapping)
    ]
    proof = OwnProof(
        identity,
        rows=len(scored),
        rows_equal=sum(same(*pair, tolerance) for pair in pairs[: len(scored)]),
        batch_equal=sum(same(*pair, tolerance) for pair in pairs[len(scored) :]),
        evaluated=len(both),
        evaluated_equal=sum(_same_label(*pair, tolerance) for pair in both),
        max_difference=max((difference(*pair) for pair in pairs), default=0.0),
        bounds=bounds,
    )
    return OwnProof(**{**vars(proof), "reasons": tuple(_reasons(proof))})


def bare(prediction: Any) -> Any:
    """The prediction itself: of an object its `prediction` or `label`."""
    if not isinstance(prediction, Mapping):
        return prediction[0] if isinstance(prediction, list) and len(prediction) == 1 else prediction
    return next((prediction[name] for name in ("prediction", "label") if name in prediction), prediction)


def same(one: Any, other: Any, tolerance: float) -> bool:
    """Whether two values are the same: numbers within the tolerance, all else exactly."""
    if _is_number(one) and _is_number(other):
        return math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key], tolerance) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(lambda a, b: same(a, b, tolerance), one, other))
    if other is None and isinstance(one, float):
        return not math.isfinite(one)  # JSON has no word for it; null is what is served
    return type(one) is type(other) and bool(one == other)


def difference(one: Any, other: Any) -> float:
    """The largest difference of two numbers at the same place."""
    if _is_number(one) and _is_number(other):
        return abs(float(one) - float(other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return max((difference(one[key], other[key]) for key in one.keys() & other.keys()), default=0.0)
    if isinstance(one, list) and isinstance(other, list):
        return max(map(difference, one, other), default=0.0)
    return 0.0


def _same_label(one: Any, other: Any, tolerance: float) -> bool:
    """1 and `1` are one label: own code may write it as the data does."""
    return same(one, other, tolerance) or str(one) == str(other)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _reasons(proof: OwnProof) -> list[str]:
    reasons = []
    if not proof.rows:
        reasons.append("no held-out row was compared")
    for name, equal in (("alone", proof.rows_equal), ("all at once", proof.batch_equal)):
        if equal < proof.rows:
            reasons.append(
                f"asked {name}, {proof.rows - equal} of {proof.rows} held-out rows got another prediction "
                f"than in `score` (numbers differ by {proof.max_difference:.3g} at most; "
                f"{proof.bounds.tolerance:g} are allowed)"
            )
    if proof.evaluated_equal < proof.evaluated:
        reasons.append(
            f"{proof.evaluated - proof.evaluated_equal} of {proof.evaluated} held-out rows get another "
            "prediction from `deploy.entry` than `evaluate.entry` gave to the gate"
        )
    return reasons
