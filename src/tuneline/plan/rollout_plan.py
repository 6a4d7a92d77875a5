"""The plan of a rollout: what is asked for before it begins. Values alone; `rollout.py` decides by them.

canary   a small part of the requests, then more, then all
shadow   copies of requests, whose answers nobody gets, then all
ab       one part for as long as it takes to tell the two apart, then all
switch   all at once: no rollout is made of it
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

from tuneline.errors import SpecError

STRATEGIES = ("switch", "canary", "shadow", "ab")
METRICS = ("errors", "slow", "feedback", "agreement")
LOWER_IS_BETTER = frozenset({"errors", "slow"})
MARGINS: Mapping[str, float] = {"errors": 0.02, "slow": 0.05, "feedback": 0.1, "agreement": 0.05}
"""By how much of a metric, as a part of 1, a candidate may be worse."""
AB_MARGINS: Mapping[str, float] = {**MARGINS, "feedback": 0.01}
STAGES: Mapping[str, tuple[float, ...]] = {"canary": (5.0, 25.0, 100.0), "ab": (50.0,)}


@dataclass(frozen=True)
class Step:
    """What the candidate gets for a while."""

    weight: float
    """Percent of the requests, under 100: to have all is to be promoted."""
    shadow: bool = False
    """Whether it gets copies of the others' requests."""


@dataclass(frozen=True)
class RolloutPlan:
    """How a candidate is tried, and what must be shown before it is promoted."""

    strategy: str = "canary"
    stages: tuple[float, ...] = ()
    """Percent of the requests, growing. 100 is what promotion gives. Empty: the strategy's own."""
    every_s: float = 600.0
    """The least time in a stage, seconds."""
    shadow: bool = False
    """Whether the first stage is one of copies alone."""
    min_requests: int = 100
    """In every stage for the candidate, and for every metric of both before promotion."""
    max_duration_s: float = 86_400.0
    """After which a rollout that cannot be decided is told of; it goes on."""
    alpha: float = 0.05
    """How often, at most, a candidate worse by a margin is promoted, and one no worse is rolled back."""
    margins: Mapping[str, float] = field(default_factory=dict)
    """By metric, where not `MARGINS`."""
    metrics: tuple[str, ...] = ("errors", "slow")
    """Each must show before promotion that the candidate is not worse by its margin."""
    watched: tuple[str, ...] = ("feedback",)
    """Can roll back, and are not waited for."""
    error_budget: int = 0
    """Answers of the candidate that may fail, whatever the tests say; 0: as many as they let."""
    max_crashes: int = 3
    """The end of its runtime that rolls it back."""
    slow_ms: float = 0.0
    """A slow answer takes longer; 0: 1.5 times what 95 of 100 answers of the stable release take."""
    min_agreement: float = 0.9
    """For `agreement`: how many of its answers to copies should equal the stable release's."""

    def __post_init__(self) -> None:
        wrong = [*_wrong_words(self), *_wrong_numbers(self)]
        if wrong:
            raise SpecError(
                "The plan of the rollout has faults.", hint="docs/rollouts.md has every key.", details=wrong
            )

    @property
    def steps(self) -> tuple[Step, ...]:
        """What the candidate gets, one after another, before it is promoted. Empty for `switch`."""
        if self.strategy == "switch":
            return ()
        stages = self.stages or STAGES.get(self.strategy, ())
        mirrored = (Step(0.0, shadow=True),) if self.shadow or self.strategy == "shadow" else ()
        if self.strategy == "shadow":
            return mirrored
        return (*mirrored, *(Step(weight) for weight in stages if weight < 100))

    @property
    def tested(self) -> tuple[str, ...]:
        """All metrics that are tested; one alpha is split over them."""
        return (*self.metrics, *(each for each in self.watched if each not in self.metrics))

    def margin(self, metric: str) -> float:
        """By how much the candidate may be worse."""
        usual = AB_MARGINS if self.strategy == "ab" else MARGINS
        return self.margins.get(metric, usual[metric])

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """What `to_json` wrote, or some of its keys. Raises SpecError, naming every fault."""
        known = {each.name for each in fields(cls)}
        unknown = sorted(set(body) - known)
        if unknown:
            raise SpecError(
                f"A rollout has no `{unknown[0]}`.", hint=f"Its keys: {', '.join(sorted(known))}."
            )
        given: dict[str, Any] = {}
        wrong = []
        for name, value in body.items():
            try:
                given[name] = _READ[name](value)
            except (TypeError, ValueError, AttributeError):
                wrong.append(f"{name} is {value!r}")
        if wrong:
            raise SpecError("The plan of the rollout has faults.", hint="docs/rollouts.md.", details=wrong)
        return cls(**given)

    def changed(self, **given: Any) -> Self:
        """The plan with other values; those that are None stay. Raises SpecError."""
        return replace(self, **{name: value for name, value in given.items() if value is not None})


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _listed(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError
    return tuple(value)


_READ: Mapping[str, Callable[[Any], Any]] = {
    "strategy": str, "stages": lambda value: tuple(float(each) for each in _listed(value)),
    "every_s": float, "shadow": _flag, "min_requests": int, "max_duration_s": float, "alpha": float,
    "margins": lambda value: {str(name): float(each) for name, each in value.items()},
    "metrics": _listed, "watched": _listed, "error_budget": int, "max_crashes": int, "slow_ms": float,
    "min_agreement": float,
}  # fmt: skip
"""How each field is read from JSON."""


def from_deploy(deploy: Mapping[str, Any]) -> RolloutPlan:
    """The plan that a project's `deploy` has; `switch` if it says nothing of it. Raises SpecError."""
    body = {name: value for name, value in (deploy.get("rollout") or {}).items() if name != "sticky"}
    stages = percents([str(each) for each in body.pop("stages", ())])
    return RolloutPlan.from_json({"strategy": "switch", **body, "stages": stages})


def percents(texts: Sequence[str]) -> tuple[float, ...]:
    """`["5%", "25"]` as numbers. Raises SpecError."""
    try:
        return tuple(float(text.strip().removesuffix("%")) for text in texts)
    except ValueError:
        raise SpecError(
            f"The stages of a rollout are {', '.join(texts)}.", hint="Write percents, e.g. 5%,25%,100%."
        ) from None


def _wrong_words(plan: RolloutPlan) -> list[str]:
    wrong = []
    if plan.strategy not in STRATEGIES:
        wrong.append(f"strategy is `{plan.strategy}`; it can be {', '.join(STRATEGIES)}")
    named = [*plan.metrics, *plan.watched, *plan.margins]
    wrong += [f"there is no metric `{each}`; there are {', '.join(METRICS)}" for each in named
              if each not in METRICS]  # fmt: skip
    if not plan.metrics or len(set(plan.metrics)) != len(plan.metrics):
        wrong.append("metrics must name at least one metric, each once")
    copies = plan.shadow or plan.strategy == "shadow"
    if "agreement" in plan.tested and not copies:
        wrong.append("agreement is measured on copies alone: it needs shadow")
    if "feedback" in plan.metrics and plan.strategy == "shadow":
        wrong.append("nobody sees the answers to copies, so strategy shadow has no feedback")
    return wrong


def _wrong_numbers(plan: RolloutPlan) -> list[str]:
    wrong = [f"a margin is {each}; it must be between 0 and 1" for each in plan.margins.values()
             if not 0 < each < 1]  # fmt: skip
    stages = plan.stages
    if any(not 0 < each <= 100 for each in stages) or list(stages) != sorted(set(stages)):
        wrong.append(f"stages are {', '.join(f'{each:g}%' for each in stages)}; they must grow up to 100%")
    if stages and stages[0] == 100 and plan.strategy in ("canary", "ab"):
        wrong.append(f"strategy {plan.strategy} needs a stage under 100%")
    if plan.strategy == "ab" and len([each for each in stages if each < 100]) > 1:
        wrong.append("strategy ab has one stage under 100%")
    for name, low in (("every_s", 0), ("max_duration_s", 1), ("min_requests", 1), ("error_budget", 0)):
        if getattr(plan, name) < low:
            wrong.append(f"{name} is {getattr(plan, name)}; it must be at least {low}")
    for name in ("alpha", "min_agreement"):
        if not 0 < getattr(plan, name) < 1:
            wrong.append(f"{name} is {getattr(plan, name)}; it must be between 0 and 1")
    if plan.max_crashes < 1 or plan.slow_ms < 0:
        wrong.append("max_crashes must be at least 1, and slow_ms not negative")
    return wrong
