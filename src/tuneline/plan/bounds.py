"""A confidence sequence for the mean difference of two arms: an interval that holds at every look. Pure.

Over the blocks of `plan/sequential.py`, each with its effective size h = n_c n_s / (n_c + n_s) and
difference D (candidate's mean minus stable's), it bounds the weighted mean of the blocks' true differences
d, sum(h d) / sum(h). These may change from block to block, and so may the rates.

For x in [-1, 1] and 0 < t < 1, `exp(t x - (-log(1 - t) - t) x**2) <= 1 + t x` (Fan, Grama and Liu,
"Exponential inequalities for martingales with applications", Electronic Journal of Probability 20 (2015)).
With x = a(y - guess), where a is h over the arm's number and the guess of its mean was made before the
block, `exp(t sum(h (D - d)) - (-log(1 - t) - t) V)` is a supermartingale, V the sum of x**2. This is the
empirical-Bernstein bound of Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric,
nonasymptotic confidence sequences", Annals of Statistics 49 (2021), theorem 4; several t share alpha. Only
sums are known, so y**2 is taken to be its largest, y: exact for values of 0 and 1, else the interval is
wider than it need be.
"""

import math
from dataclasses import dataclass, replace
from typing import Self

TILTS = tuple(0.8 * 0.5**power for power in range(8))
_COSTS = tuple(-math.log1p(-tilt) - tilt for tilt in TILTS)


@dataclass(frozen=True)
class Difference:
    """What is known of the difference: sums over closed blocks."""

    size: float = 0.0
    """Sum of h."""
    drift: float = 0.0
    """Sum of h D."""
    spread: float = 0.0
    """V."""

    def seen(self, candidate: tuple[float, float, float], stable: tuple[float, float, float]) -> Self:
        """With one block more. Of each arm: number, sum, and the guess of its mean made before."""
        (n_c, sum_c, guess_c), (n_s, sum_s, guess_s) = candidate, stable
        size = n_c * n_s / (n_c + n_s)
        off_c = sum_c * (1 - 2 * guess_c) + n_c * guess_c**2
        off_s = sum_s * (1 - 2 * guess_s) + n_s * guess_s**2
        return replace(
            self,
            size=self.size + size,
            drift=self.drift + size * (sum_c / n_c - sum_s / n_s),
            spread=self.spread + (size / n_c) ** 2 * off_c + (size / n_s) ** 2 * off_s,
        )

    @property
    def mean(self) -> float | None:
        """The weighted mean of the blocks' differences; None before the first."""
        return self.drift / self.size if self.size else None

    def interval(self, alpha_low: float, alpha_high: float) -> tuple[float, float]:
        """Low and high end, each missed with at most its alpha, over all looks together. [-1, 1] at first."""
        if self.mean is None:
            return -1.0, 1.0
        low = self.mean - self._radius(alpha_low) / self.size
        high = self.mean + self._radius(alpha_high) / self.size
        return max(-1.0, low), min(1.0, high)

    def _radius(self, alpha: float) -> float:
        budget = math.log(len(TILTS) / alpha)
        return min((budget + cost * self.spread) / tilt for tilt, cost in zip(TILTS, _COSTS, strict=True))
