"""What a rollout does next: pure. Plan, state, what was observed and the time give a decision.

    (not ready) -> step 0 -> step 1 -> ... -> promoted        steps: copies, 5 %, 25 %, as the plan has them
         |___________|__________|________________________> rolled back

A step goes on to the next one after its least time and requests. After the last one the candidate is promoted
once every metric's test rejects "worse by the margin"; it is rolled back as soon as any test rejects "no
worse", its error budget is used up, or its runtime does not live. The tests (`sequential.py`) may be looked
at at any time; one state of theirs lives over all steps, and they share one alpha. Time alone promotes
nothing.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

from tuneline.plan import sequential
from tuneline.plan.rollout_plan import LOWER_IS_BETTER, RolloutPlan, Step
from tuneline.plan.sequential import Counts, Hypothesis

Kind = Literal["hold", "advance", "promote", "rollback"]
NO_MEMORY = ("MemoryError", "out of memory", "Out of memory", "OutOfMemory", "Cannot allocate memory",
             "bad_alloc")  # fmt: skip
"""What a log says of a runtime that had too little memory: starting it again would change nothing."""


@dataclass(frozen=True)
class Observed:
    """What was seen since the last look."""

    batches: tuple[Mapping[str, Counts], ...] = ()
    """By metric, in time order; one a time in which weights did not change."""
    candidate: int = 0
    """Requests (or copies) it answered in this step."""
    stable: int = 0
    errors: int = 0
    """Of the candidate."""
    ready: bool = True
    """Whether the candidate can take requests now."""
    down: str = ""
    """Why its runtime will not be ready by itself; empty if it is or may be."""
    crashes: int = 0
    """How often its runtime ended since the rollout began."""
    problem: str = ""
    """What was said when it last ended."""
    behind: bool = False
    """Whether there are requests that are not counted yet."""


@dataclass(frozen=True)
class RolloutState:
    """All that is kept of a rollout. JSON-able; a change is a new value."""

    began: float
    """Unix seconds, as `since`."""
    since: float
    """When the step began."""
    tests: Mapping[str, sequential.State]
    """By metric."""
    step: int = -1
    """Of the plan's steps; -1: the candidate was not ready yet."""
    candidate: int = 0
    """Requests it answered in this step."""
    stable: int = 0
    errors: int = 0
    """Of the candidate, in all steps."""
    code: str = ""
    """Of the last decision."""
    history: tuple[tuple[float, str, str], ...] = ()
    """(time, kind, code) of every decision that changed something."""

    def to_json(self) -> dict[str, Any]:
        """A JSON object, exact."""
        return {**asdict(self), "tests": {name: each.to_json() for name, each in self.tests.items()}}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """The state that `to_json` wrote."""
        tests = {name: sequential.State.from_json(each) for name, each in body["tests"].items()}
        history = tuple((at, kind, code) for at, kind, code in body["history"])
        return cls(**{**body, "tests": tests, "history": history})


@dataclass(frozen=True)
class Decision:
    """What a look at the data came to."""

    kind: Kind
    code: str
    """Why, in a word: not_ready, restarting, reading, time, requests, evidence, undecided; ready, passed;
    shown; worse, budget, crashes, memory, never_ready."""
    reason: str
    """Why, in a sentence."""
    weight: float
    """Percent of the requests for the candidate; the stable release gets the rest."""
    shadow: bool
    numbers: Mapping[str, Any]
    """JSON: requests, errors, and every test's evidence."""
    next_at: float | None
    """When time alone may change something, Unix seconds; None: requests must come, or it is over."""
    state: RolloutState
    """After it."""
    news: bool = False
    """Whether it differs from the decision before: worth a line in the ledger."""
    alert: bool = field(default=False)
    """Whether somebody should look at it."""

    @property
    def weights(self) -> dict[str, float]:
        """Percent by arm."""
        return {"candidate": self.weight, "stable": 100.0 - self.weight}


def begin(plan: RolloutPlan, now: float) -> RolloutState:
    """The state before the first look."""
    alpha = sequential.split_alpha(plan.alpha, plan.tested)
    tests = {
        name: sequential.start(
            Hypothesis(name, name in LOWER_IS_BETTER, plan.margin(name), alpha[name], alpha[name])
        )
        for name in plan.tested
    }
    return RolloutState(began=now, since=now, tests=tests)


def look(plan: RolloutPlan, state: RolloutState, observed: Observed, now: float) -> Decision:
    """The decision at `now`. The same arguments give the same one."""
    state = _with(state, observed)
    shown = {name: sequential.evidence(test) for name, test in state.tests.items()}
    numbers = _numbers(plan, state, observed, shown)
    harm = _harm(plan, state, observed, shown)
    if harm is not None:
        return _decided(state, "rollback", *harm, Step(0.0), numbers, None, now)
    if not observed.ready:
        code, said = ("not_ready", "not ready yet") if state.step < 0 else ("restarting", "started again")
        late = _late(plan, state, now)
        reason = f"The candidate is {said}.{late}"
        return _decided(state, "hold", code, reason, Step(0.0), numbers, None, now, alert=bool(late))
    if state.step < 0:
        first = replace(state, step=0, since=now)
        reason = f"The candidate is ready: it gets {_part(plan.steps[0])}."
        return _decided(first, "advance", "ready", reason, plan.steps[0], numbers, now + plan.every_s, now)
    waits = _waits(plan, state, observed, shown, now)
    step = plan.steps[state.step]
    if waits is not None:
        code, reason, next_at = waits
        late = _late(plan, state, now)
        code = "undecided" if late and code in ("requests", "evidence") else code
        return _decided(state, "hold", code, reason + late, step, numbers, next_at, now, alert=bool(late))
    if state.step + 1 < len(plan.steps):
        after = replace(state, step=state.step + 1, since=now, candidate=0, stable=0)
        step = plan.steps[after.step]
        reason = f"Nothing speaks against the candidate: it gets {_part(step)}."
        return _decided(after, "advance", "passed", reason, step, numbers, now + plan.every_s, now)
    said = ", ".join(f"{name} by {plan.margin(name):g}" for name in plan.metrics)
    reason = f"It is shown that the candidate is not worse: not in {said}."
    return _decided(state, "promote", "shown", reason, step, numbers, None, now)


def _with(state: RolloutState, observed: Observed) -> RolloutState:
    """The state with what was observed in it."""
    tests = dict(state.tests)
    for batch in observed.batches:
        for name, counts in batch.items():
            if name in tests:
                tests[name] = sequential.observe(tests[name], counts)
    return replace(
        state,
        tests=tests,
        candidate=state.candidate + observed.candidate,
        stable=state.stable + observed.stable,
        errors=state.errors + observed.errors,
    )


def _harm(
    plan: RolloutPlan, state: RolloutState, observed: Observed, shown: Mapping[str, sequential.Evidence]
) -> tuple[str, str] | None:
    """Why to roll back now: a code and a sentence. None: nothing speaks for it."""
    if observed.crashes and any(word in observed.problem for word in NO_MEMORY):
        return "memory", f"The candidate has too little memory. {observed.problem}"
    if observed.crashes >= plan.max_crashes:
        return "crashes", f"The candidate's runtime ended {observed.crashes} times. {observed.problem}"
    if observed.down:
        return "never_ready", f"The candidate does not get ready. {observed.down}"
    if plan.error_budget and state.errors >= plan.error_budget:
        return "budget", f"The error budget is used up: {state.errors} of {plan.error_budget} failed answers."
    for name, found in shown.items():
        if found.rollback:
            return "worse", f"The candidate is worse in {name}: {found.text}"
    return None


def _waits(
    plan: RolloutPlan,
    state: RolloutState,
    observed: Observed,
    shown: Mapping[str, sequential.Evidence],
    now: float,
) -> tuple[str, str, float | None] | None:
    """What the step still waits for: a code, a sentence, and when time may change it. None: nothing."""
    due = state.since + plan.every_s
    if observed.behind:
        return "reading", "Requests that came meanwhile are still being counted.", now
    if now < due:
        return "time", f"The step lasts at least {plan.every_s:g} s.", due
    if state.candidate < plan.min_requests:
        return "requests", f"{state.candidate} of {plan.min_requests} requests of this step.", None
    if state.step + 1 < len(plan.steps):
        return None
    for name in plan.metrics:
        found = shown[name]
        if min(found.candidate_n, found.stable_n) < plan.min_requests:
            counts = f"{found.candidate_n} of the candidate, {found.stable_n} of the stable release"
            return "requests", f"Too few for {name}: {counts}; {plan.min_requests} of each are asked.", None
    open_ = [name for name in plan.metrics if not shown[name].promote]
    if open_:
        return (
            "evidence",
            f"Not shown yet: {'; '.join(f'{each}: {shown[each].text}' for each in open_)}",
            None,
        )
    return None


def _late(plan: RolloutPlan, state: RolloutState, now: float) -> str:
    if now - state.began <= plan.max_duration_s:
        return ""
    said = f" That is not decided after {plan.max_duration_s:g} s: look at it;"
    return f"{said} `tuneline promote` or `tuneline rollback` end it."


def _part(step: Step) -> str:
    return (
        "copies of requests, whose answers nobody gets" if step.shadow else f"{step.weight:g} % of requests"
    )


def _decided(
    state: RolloutState,
    kind: Kind,
    code: str,
    reason: str,
    step: Step,
    numbers: Mapping[str, Any],
    next_at: float | None,
    now: float,
    *,
    alert: bool = False,
) -> Decision:
    news = kind != "hold" or code != state.code
    history = (*state.history, (now, kind, code)) if news else state.history
    state = replace(state, code=code, history=history)
    return Decision(kind, code, reason, step.weight, step.shadow, numbers, next_at, state, news, alert)


def _numbers(
    plan: RolloutPlan, state: RolloutState, observed: Observed, shown: Mapping[str, sequential.Evidence]
) -> dict[str, Any]:
    return {
        "step": state.step + 1,
        "steps": len(plan.steps),
        "requests": {"candidate": state.candidate, "stable": state.stable},
        "errors": state.errors,
        "crashes": observed.crashes,
        "tests": {name: _test(plan, found) for name, found in shown.items()},
    }


def _test(plan: RolloutPlan, found: sequential.Evidence) -> dict[str, Any]:
    return {
        "needed": found.metric in plan.metrics,
        "margin": plan.margin(found.metric),
        "candidate": {"n": found.candidate_n, "mean": found.candidate_mean},
        "stable": {"n": found.stable_n, "mean": found.stable_mean},
        "difference": found.difference,
        "interval": list(found.interval),
        "e_promote": found.e_promote,
        "e_rollback": found.e_rollback,
        "promote": found.promote,
        "rollback": found.rollback,
        "text": found.text,
    }
