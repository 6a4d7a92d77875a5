"""Thousands of rollouts at once, a look after every request: the bets of `plan/bets.py` on arrays.

`batches` makes what each rollout sees after each request; `simulate` follows their e-values and says when
each first decided. tests/plan/test_sequential_errors.py shows that this equals `observe` and `evidence` to
the number, and asserts error rates; bench/sequential.py prints curves and comparisons.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tuneline.plan.bets import moved, promote_bet, promote_guesses, recent, rollback_bet, rollback_guesses
from tuneline.plan.sequential import BLOCK

Floats = NDArray[np.float64]
NEVER = 10**9
STAGES = ((0.2, 0.05), (0.2, 0.10), (0.2, 0.25), (0.4, 0.50))
"""A canary: shares of all requests, with the candidate's weight."""


@dataclass(frozen=True)
class Setting:
    """What happens in a rollout. Rates are of 1s; lower is better."""

    name: str
    level: float
    """The stable arm's rate where there is no burst."""
    effect: float = 0.0
    """The candidate's rate minus the stable arm's, at all times."""
    stages: tuple[tuple[float, float], ...] = ((1.0, 0.5),)
    """(share of all requests, the candidate's weight) one after the other."""
    burst: float = 0.0
    """The stable arm's rate in a burst, 0 for none; it hits both arms."""
    aligned: bool = False
    """Bursts fill every second stage: the trap for who pools. Else they come and go by chance."""
    reported: float = 1.0
    """The part of requests whose value is ever known."""
    delay: int = 0
    """Values come up to so many requests later, evenly."""
    hasty: bool = False
    """A 1 comes at half the delay and 0s are reported half as often, in both arms: people complain sooner."""
    graded: bool = False
    """Values are not 0 or 1: half the rate, plus half a coin."""
    users: int = 0
    """So many users, sticky, whose rates differ (`spread`); 0: each request is one of its own."""
    spread: float = 0.0
    """Correlation of two requests of one user."""

    def weight(self, at: float) -> tuple[int, float]:
        """The stage and the candidate's weight at this part, 0 to 1, of all requests."""
        for number, (share, weight) in enumerate(self.stages):
            if at < share or number == len(self.stages) - 1:
                return number, weight
            at -= share
        raise AssertionError("a setting has a stage")


class Batch(NamedTuple):
    """Of each rollout, what became known at one look."""

    n_c: Floats
    sum_c: Floats
    n_s: Floats
    sum_s: Floats


def batches(setting: Setting, rollouts: int, requests: int, seed: int) -> Iterator[Batch]:
    """One batch a request."""
    rng = np.random.default_rng(seed)
    every = np.arange(rollouts)
    bursting = rng.random(rollouts) < 0.5
    late = np.zeros((setting.delay + 1, 4, rollouts), np.float32)
    sticky = rng.random((rollouts, setting.users), dtype=np.float32)
    rates = _rates_of_users(setting, rollouts, rng)
    for at in range(requests):
        stage, weight = setting.weight(at / requests)
        if setting.users:
            user = rng.integers(0, setting.users, rollouts)
            arm, rate = sticky[every, user] < weight, rates[every, user] + 0.0
        else:
            arm, rate = rng.random(rollouts, dtype=np.float32) < weight, np.full(rollouts, setting.level)
        if setting.burst:
            bursting = (
                np.full(rollouts, stage % 2 == 1)
                if setting.aligned
                else bursting ^ (rng.random(rollouts) < 1 / 300)
            )
            rate = np.where(bursting, setting.burst, rate)
        rate = np.clip(rate + setting.effect * arm, 0, 1)
        one = rng.random(rollouts) < rate
        value = (rate + one) / 2 if setting.graded else one + 0.0
        known = np.ones(rollouts, bool)
        if setting.reported < 1:
            told = np.where(one, 1, 0.5) if setting.hasty else 1.0
            known = rng.random(rollouts) < setting.reported * told
        now = Batch(known & arm, known * arm * value, known & ~arm, known * ~arm * value)
        if not setting.delay:
            yield Batch(*(each.astype(np.float64) for each in now))
            continue
        wait = rng.integers(0, setting.delay + 1, rollouts)
        wait = np.where(one, wait // 2, wait) if setting.hasty else wait
        slot = (at + wait) % (setting.delay + 1)
        for part, values in enumerate(now):
            late[slot, part, every] += values
        come = late[at % (setting.delay + 1)]
        yield Batch(*come.astype(np.float64))
        come[:] = 0


def _rates_of_users(setting: Setting, rollouts: int, rng: np.random.Generator) -> NDArray[np.float32]:
    if not setting.spread:
        return np.full((rollouts, setting.users), setting.level, np.float32)
    size = 1 / setting.spread - 1
    return rng.beta(setting.level * size, (1 - setting.level) * size, (rollouts, setting.users)).astype(
        np.float32
    )


@dataclass(frozen=True)
class Outcome:
    """When each rollout first decided, in requests from 1; NEVER if it did not."""

    promoted: NDArray[np.int64]
    rolled_back: NDArray[np.int64]
    log_promote: Floats
    """The logarithm of the e-value at the end."""
    log_rollback: Floats


def simulate(
    setting: Setting, margin: float, alpha: float, rollouts: int, requests: int, seed: int, sides: str = "pr"
) -> Outcome:
    """All rollouts, a look after every request. `sides`: "p" follows promotion alone, "r" rollback alone."""
    promote, rollback = _Side(promote_guesses(margin), rollouts), _Side(rollback_guesses(margin), rollouts)
    open_ = np.zeros((4, rollouts))
    level = np.zeros(rollouts), np.zeros(rollouts)
    for at, batch in enumerate(batches(setting, rollouts, requests, seed), 1):
        open_ += batch
        total = open_[0] + open_[2]
        closed = np.flatnonzero(open_[0] * open_[2] >= BLOCK * np.maximum(total, 1e-9))
        if not closed.size:
            continue
        n_c, sum_c, n_s, sum_s = open_[:, closed, None]
        kept = level[0][closed], level[1][closed]
        rate = recent(*kept)[:, None]
        if "p" in sides:
            chosen = promote_bet(rate, promote.gaps, margin, n_c, n_s)
            promote.add(closed, chosen.log_wealth(n_s, sum_s, n_c, sum_c), alpha, at)
        if "r" in sides:
            chosen = rollback_bet(rate, rollback.gaps, n_c, n_s)
            rollback.add(closed, chosen.log_wealth(n_c, sum_c, n_s, sum_s), alpha, at)
        level[0][closed], level[1][closed] = moved(kept, n_s[:, 0], sum_s[:, 0])
        open_[:, closed] = 0
    return Outcome(promote.first, rollback.first, promote.log_e(slice(None)), rollback.log_e(slice(None)))


@dataclass(frozen=True)
class OfZ:
    """What tests with a fixed number of observations say of the same rollouts."""

    peeking: dict[str, NDArray[np.int64]]
    """By side, at which request a z test made after each first rejected."""
    at_the_end: dict[str, NDArray[np.bool_]]
    """By side, whether the one z test after the last request rejected."""


def z_tests(setting: Setting, margin: float, alpha: float, rollouts: int, requests: int, seed: int) -> OfZ:
    """One-sided z tests of the same hypotheses on all observations pooled, from 30 of each arm on.

    With one 1 and one 0 more in each arm (Agresti and Caffo, The American Statistician 54, 2000), without
    which rare errors make it useless.
    """
    bound = NormalDist().inv_cdf(1 - alpha)
    sums = np.zeros((4, rollouts))
    first = {side: np.full(rollouts, NEVER) for side in "pr"}
    rejected = {side: np.zeros(rollouts, bool) for side in "pr"}
    for at, batch in enumerate(batches(setting, rollouts, requests, seed), 1):
        sums += batch
        n_c, n_s = sums[0] + 2, sums[2] + 2
        mean_c, mean_s = (sums[1] + 1) / n_c, (sums[3] + 1) / n_s
        error = np.sqrt(mean_c * (1 - mean_c) / n_c + mean_s * (1 - mean_s) / n_s)
        enough = np.minimum(n_c, n_s) >= 32
        rejected = {
            "p": enough & (margin - (mean_c - mean_s) > bound * error),
            "r": enough & (mean_c - mean_s > bound * error),
        }
        for side in "pr":
            first[side] = np.where(rejected[side], np.minimum(first[side], at), first[side])
    return OfZ(first, rejected)


class _Side:
    """The wealths of one hypothesis in all rollouts."""

    def __init__(self, guesses: tuple[Floats, Floats], rollouts: int) -> None:
        self.gaps, weights = guesses
        self.log_weights = np.log(weights)
        self.wealth = np.zeros((rollouts, len(self.gaps)))
        self.first = np.full(rollouts, NEVER)

    def add(self, closed: NDArray[np.int64], gained: Floats, alpha: float, at: int) -> None:
        self.wealth[closed] += gained
        crossed = closed[self.log_e(closed) >= -math.log(alpha)]
        self.first[crossed] = np.minimum(self.first[crossed], at)

    def log_e(self, which: NDArray[np.int64] | slice) -> Floats:
        weighed = self.wealth[which] + self.log_weights
        top = weighed.max(axis=1)
        return top + np.log(np.exp(weighed - top[:, None]).sum(axis=1))


def at_the_border(setting: Setting, margin: float) -> tuple[Setting, Setting]:
    """The setting at promotion's null boundary, and at rollback's."""
    return replace(setting, effect=margin), replace(setting, effect=0.0)
