"""Candidate or stable: tests that may be looked at after every request. Pure; `plan/rollout.py` decides.

    start -> State -> observe(batch) -> State -> observe ... -> evidence(state) -> Evidence

Each metric has two hypotheses, in terms of a rate where lower is better (a score y is turned into 1 - y):
- promote rejects H0: `candidate - stable >= margin`, "the candidate is worse by at least the margin";
- rollback rejects H0: `candidate - stable <= 0`, "the candidate is no worse".

**Method.** Observations are gathered into blocks that hold both arms. Each block is bet on by
`plan/bets.py`, with several guesses of the effect, and the e-value is the weighted mean of their wealths:
under H0 a test supermartingale that starts at 1, so the chance that it ever reaches 1/alpha is at most
alpha (Ville's inequality; Ramdas, Grünwald, Vovk and Shafer, "Game-theoretic statistics and safe
anytime-valid inference", Statistical Science 38 (2023) 576-601). It knows no number of looks, no horizon
and no schedule. One state lives over all stages of a rollout, so they share one alpha. `1 / e` is a
p-value.

**What it assumes.** In a block, given the past: the two arms' mean rates keep H0; observations are
independent of each other; how many there are of each arm does not depend on their values. From block to
block rates may move, for both arms together, as far and as often as they like, and so may the weights: no
block compares one time with another. So observe before weights change. Not assumed: a constant rate, known
weights, values of 0 and 1 only.

**What breaks it.** With sticky assignment a user's requests stay in one arm and are alike: clusters, not
independent draws. E-values are then too large, in the worst case as if each user's requests were that many
users. Where few users send most requests, count each user once, by its first value.
And feedback that comes later, or more often, for bad scores in one arm only compares different things; no
test can see that.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np

from tuneline.errors import SpecError
from tuneline.plan.bets import (
    mixed,
    moved,
    promote_bet,
    promote_guesses,
    recent,
    rollback_bet,
    rollback_guesses,
)
from tuneline.plan.bounds import Difference

BLOCK = 1.0
"""A block is closed at this effective size, `n_candidate n_stable / (n_candidate + n_stable)`: 2 of each."""


@dataclass(frozen=True)
class Hypothesis:
    """What is decided on one metric, with observations in [0, 1]."""

    metric: str
    """`errors`, `slow`, `feedback`, `agreement`, or any other name."""
    lower_is_better: bool
    margin: float
    """In (0, 1): promote rejects "the candidate is worse by at least this"."""
    alpha_promote: float
    """In (0, 1): how often, at most, a candidate worse by the margin is promoted, by this metric."""
    alpha_rollback: float
    """In (0, 1): how often, at most, a candidate that is no worse is rolled back."""

    def __post_init__(self) -> None:
        for name in ("margin", "alpha_promote", "alpha_rollback"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise SpecError(
                    f"Metric {self.metric}: {name} is {value}.", hint="Give a number between 0 and 1."
                )


@dataclass(frozen=True)
class Counts:
    """A batch of observations in [0, 1] since the last look, in time order, all under the same weights."""

    candidate_n: int
    candidate_sum: float
    stable_n: int
    stable_sum: float

    def __post_init__(self) -> None:
        for arm, n, total in (
            ("candidate", self.candidate_n, self.candidate_sum),
            ("stable", self.stable_n, self.stable_sum),
        ):
            if not (n >= 0 and 0 <= total <= n):
                raise ValueError(f"{n} observations of {arm} with sum {total}: each must be in [0, 1].")

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.candidate_n + other.candidate_n,
            self.candidate_sum + other.candidate_sum,
            self.stable_n + other.stable_n,
            self.stable_sum + other.stable_sum,
        )

    @property
    def size(self) -> float:
        """The effective size: that of the difference of means, `n n / (n + n)`. 0 while an arm is missing."""
        total = self.candidate_n + self.stable_n
        return self.candidate_n * self.stable_n / total if total else 0.0


NOTHING = Counts(0, 0.0, 0, 0.0)


@dataclass(frozen=True)
class State:
    """All that is kept of a test, whatever was observed. Sums in it are turned so that lower is better."""

    hypothesis: Hypothesis
    seen: Counts
    """All observations in closed blocks."""
    open: Counts
    """Those of the block that is not closed yet."""
    level: tuple[float, float]
    """Weight and weighted sum of the stable arm's recent observations."""
    promote: tuple[float, ...]
    """Logarithm of each guess's wealth."""
    rollback: tuple[float, ...]
    difference: Difference

    def to_json(self) -> dict[str, Any]:
        """A JSON object, exact."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Self:
        """The state that `to_json` wrote."""
        return cls(
            hypothesis=Hypothesis(**body["hypothesis"]),
            seen=Counts(**body["seen"]),
            open=Counts(**body["open"]),
            level=(body["level"][0], body["level"][1]),
            promote=tuple(body["promote"]),
            rollback=tuple(body["rollback"]),
            difference=Difference(**body["difference"]),
        )


@dataclass(frozen=True)
class Evidence:
    """What a look shows. Numbers and means are of all observations, those of the open block too."""

    metric: str
    candidate_n: int
    stable_n: int
    candidate_mean: float | None
    """None before the first observation, as the next two."""
    stable_mean: float | None
    difference: float | None
    """Candidate minus stable: the mean of the blocks' differences, weighted by size. It compares no time with
    another, so it may differ from the difference of the two means above."""
    interval: tuple[float, float]
    """For that mean difference, at every look at once: its worse end is missed with at most
    `alpha_promote`, its better end with at most `alpha_rollback`. Mostly weaker than the tests: it may hold
    what they reject."""
    e_promote: float
    e_rollback: float
    promote: bool
    """`e_promote >= 1 / alpha_promote`: "worse by at least the margin" is rejected now."""
    rollback: bool
    text: str


def split_alpha(alpha: float, metrics: Sequence[str]) -> dict[str, float]:
    """`alpha` in equal parts for these metrics (Bonferroni).

    A rollback for any one metric is an error if that one is no worse, so the parts must sum to alpha. That
    holds however the metrics hang together, and those of the same requests do. Where promotion asks for
    every metric, each might use the whole alpha; the parts keep it also where a metric without data is left
    out of the decision. Raises SpecError for no metric, or one named twice.
    """
    if not metrics or len(set(metrics)) != len(metrics):
        raise SpecError(f"Metrics are {list(metrics)}.", hint="Name each metric once, and at least one.")
    return {metric: alpha / len(metrics) for metric in metrics}


def start(hypothesis: Hypothesis) -> State:
    """Before the first observation: all e-values are 1."""
    guesses = promote_guesses(hypothesis.margin)[0], rollback_guesses(hypothesis.margin)[0]
    promote, rollback = ((0.0,) * len(each) for each in guesses)
    return State(hypothesis, NOTHING, NOTHING, (0.0, 0.0), promote, rollback, Difference())


def observe(state: State, batch: Counts) -> State:
    """With a batch more: with what is open it is one block, if that holds enough of both arms."""
    block = state.open + (batch if state.hypothesis.lower_is_better else _turned(batch))
    if block.size < BLOCK:
        return replace(state, open=block)
    margin, seen = state.hypothesis.margin, state.seen
    n_candidate, n_stable = float(block.candidate_n), float(block.stable_n)
    candidate, stable = (n_candidate, block.candidate_sum), (n_stable, block.stable_sum)
    level, n = recent(*state.level), (n_candidate, n_stable)
    promote = promote_bet(level, promote_guesses(margin)[0], margin, *n).log_wealth(*stable, *candidate)
    rollback = rollback_bet(level, rollback_guesses(margin)[0], *n).log_wealth(*candidate, *stable)
    return State(
        hypothesis=state.hypothesis,
        seen=seen + block,
        open=NOTHING,
        level=moved(state.level, *stable),
        promote=tuple((np.array(state.promote) + promote).tolist()),
        rollback=tuple((np.array(state.rollback) + rollback).tolist()),
        difference=state.difference.seen(
            (*candidate, recent(seen.candidate_n, seen.candidate_sum)),
            (*stable, recent(seen.stable_n, seen.stable_sum)),
        ),
    )


def evidence(state: State) -> Evidence:
    """What the observations so far show. Everything in it may be read after every request."""
    hypothesis, counts = state.hypothesis, state.seen + state.open
    e_promote = mixed(state.promote, promote_guesses(hypothesis.margin)[1])
    e_rollback = mixed(state.rollback, rollback_guesses(hypothesis.margin)[1])
    difference = state.difference.mean
    low, high = state.difference.interval(hypothesis.alpha_rollback, hypothesis.alpha_promote)
    if not hypothesis.lower_is_better:
        counts, low, high = _turned(counts), -high, -low
        difference = None if difference is None else -difference
    found = Evidence(
        metric=hypothesis.metric,
        candidate_n=counts.candidate_n,
        stable_n=counts.stable_n,
        candidate_mean=counts.candidate_sum / counts.candidate_n if counts.candidate_n else None,
        stable_mean=counts.stable_sum / counts.stable_n if counts.stable_n else None,
        difference=difference,
        interval=(low, high),
        e_promote=e_promote,
        e_rollback=e_rollback,
        promote=e_promote * hypothesis.alpha_promote >= 1,
        rollback=e_rollback * hypothesis.alpha_rollback >= 1,
        text="",
    )
    return replace(found, text=_text(found, hypothesis))


def _turned(counts: Counts) -> Counts:
    """Each y as 1 - y."""
    return replace(
        counts,
        candidate_sum=counts.candidate_n - counts.candidate_sum,
        stable_sum=counts.stable_n - counts.stable_sum,
    )


def _text(found: Evidence, hypothesis: Hypothesis) -> str:
    if found.candidate_mean is None or found.stable_mean is None or found.difference is None:
        arms = f"{found.candidate_n} of the candidate, {found.stable_n} of stable"
        return f"{found.metric}: too few observations to compare: {arms}"
    low, high = found.interval
    state = "undecided"
    if found.rollback:
        state = f"worse: e = {found.e_rollback:.3g} >= {1 / hypothesis.alpha_rollback:.3g}"
    elif found.promote:
        bound = 1 / hypothesis.alpha_promote
        state = f"not worse by {hypothesis.margin:g}: e = {found.e_promote:.3g} >= {bound:.3g}"
    return (
        f"{found.metric}: {found.candidate_mean:.4f} in {found.candidate_n} of the candidate, "
        f"{found.stable_mean:.4f} in {found.stable_n} of stable, difference {found.difference:+.4f} "
        f"[{low:+.4f}, {high:+.4f}]; {state}"
    )
