"""The bet on one block of observations of two arms: pure arithmetic, on numbers or arrays.

`plan/sequential.py` multiplies these bets into its e-values. A block holds `n_high` and `n_low`
observations in [0, 1]. Tested is H0: the mean of the arm `high` is at most that of the arm `low` plus
`null`. Before the block's values are seen, a point `(high0, low0)` on the border of H0 and two slopes are
chosen, and one observation y of an arm multiplies the wealth by

    (1 + slope (1 - border)) ** y * (1 - slope border) ** (1 - y)      slope_high > 0 > slope_low

which is a likelihood ratio of two coins. Where `n_high slope_high + n_low slope_low = 0`, the expectation
of the block's product is at most 1 under H0, whatever the common level of the two means is in that block:

1. A factor is convex in y, so under the line `1 + slope (y - border)`, of mean `1 + slope (mean - border)`.
2. On the border of H0 both means differ from `(high0, low0)` by the same u. The arithmetic mean of all the
   factors' means is then `1 + u (n_high slope_high + n_low slope_low) / n = 1`, so their product is at most
   1.
3. Inside H0 the higher arm's mean is lower, or the lower one's higher: the product is lower still.

For coins this is the E-variable of Turner, Ly and Grünwald, "Generic E-variables for exact sequential
k-sample tests that allow for optional stopping", Journal of Statistical Planning and Inference 230 (2024)
106116 (their border point is the nearest to the alternative; any keeps the proof). Steps 1 and 2 show that
it holds for all values in [0, 1], and in a block over which the means move, for each arm's mean over the
block.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Values = Array | float
Number = TypeVar("Number", float, Array)

EDGE = 1e-4
"""Means are taken to be this far from 0 and 1: a wrong guess there costs evidence, never validity."""
WHOLE = 0.98
"""At most this part of the wealth is put on one observation."""
MEMORY = 300.0
"""The recent rate of an arm is over about this many of its observations."""


class Bet(NamedTuple):
    """Logarithms of what an observation of 1 and one of 0 multiply the wealth by, in each arm."""

    high_one: Array
    high_zero: Array
    low_one: Array
    low_zero: Array

    def log_wealth(self, n_high: Values, sum_high: Values, n_low: Values, sum_low: Values) -> Array:
        """What a block with these numbers and sums of observations adds to the logarithm of the wealth."""
        return (
            self.high_one * sum_high
            + self.high_zero * (n_high - sum_high)
            + self.low_one * sum_low
            + self.low_zero * (n_low - sum_low)
        )


def rollback_bet(level: Values, gap: Array, n_candidate: Values, n_stable: Values) -> Bet:
    """Against "no worse": the candidate's rate is `gap` above the stable arm's, which is about `level`."""
    return bet(level, gap, 0.0, n_candidate, n_stable)


def promote_bet(level: Values, gap: Array, margin: float, n_candidate: Values, n_stable: Values) -> Bet:
    """Against "worse by at least `margin`": the candidate's rate is `gap` below `level + margin`.

    The candidate is the arm `low` of this bet.
    """
    return bet(level + margin - gap, gap, -margin, n_stable, n_candidate)


def bet(low: Values, gap: Array, null: float, n_high: Values, n_low: Values) -> Bet:
    """The bet that the mean of `high` is `low + null + gap`, that of `low` being about `low`.

    Args:
        low: the expected mean of the lower arm; known before the block.
        gap: above 0; how far the expected means are from H0.
        null: in (-1, 1); H0 is `mean of high <= mean of low + null`.
        n_high, n_low: the block's numbers of observations, above 0.
    All broadcast against each other. A poor guess of `low` or `gap` makes the bet weak, never invalid;
    where the guess is inside H0, nothing is bet.
    """
    low = np.clip(low, EDGE, 1 - EDGE)
    high = np.clip(low + null + gap, EDGE, 1 - EDGE)
    gap = np.maximum(high - low - null, 0.0)
    spread_low, spread_high = low * (1 - low) / n_low, high * (1 - high) / n_high
    border = low + gap * spread_low / (spread_low + spread_high)
    low0 = np.clip(border, EDGE + max(0.0, -null), 1 - EDGE - max(0.0, null))
    high0 = low0 + null
    stake = gap / (low0 * (1 - low0) / n_low + high0 * (1 - high0) / n_high)
    stake = np.minimum(stake, WHOLE * np.minimum(n_high / high0, n_low / (1 - low0)))
    rise, fall = stake / n_high, stake / n_low
    return Bet(
        np.log1p(rise * (1 - high0)),
        np.log1p(-rise * high0),
        np.log1p(-fall * (1 - low0)),
        np.log1p(fall * low0),
    )


@cache
def promote_guesses(margin: float) -> tuple[Array, Array]:
    """How far below "worse by the margin" a candidate may be; each guess's weight, half on "as good"."""
    return margin * np.array([0.5, 1.0, 2.0, 4.0]), np.array([0.2, 0.5, 0.2, 0.1])


@cache
def rollback_guesses(margin: float) -> tuple[Array, Array]:
    """How much worse a candidate may be, from half the margin, doubled, to about 1; each guess's weight."""
    smallest = max(margin, 0.005) / 2
    gaps = smallest * np.exp2(np.arange(1 + max(0, int(math.log2(0.9 / smallest)))))
    return gaps, np.full(len(gaps), 1 / len(gaps))


def mixed(log_wealth: Sequence[float], weights: Array) -> float:
    """The e-value: the weighted mean of the guesses' wealths. At most 1e299: a JSON number."""
    top = max(log_wealth)
    log_e = top + math.log(float(weights @ np.exp(np.array(log_wealth) - top)))
    return math.exp(min(log_e, 690.0))


def recent(weight: Number, total: Number) -> Number:
    """The mean of observations with this weight and weighted sum, and of one more, of 0.2: in (0, 1)."""
    return (total + 0.2) / (weight + 1)


def moved(kept: tuple[Number, Number], n: Number, total: Number) -> tuple[Number, Number]:
    """Weight and weighted sum of the recent observations after `n` more with the sum `total`."""
    fade = np.exp(-n / MEMORY)
    return kept[0] * fade + n, kept[1] * fade + total
