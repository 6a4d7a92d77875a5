"""The gate's statistics on paired rows: McNemar, Tango's score bound, the paired bootstrap. numpy and stdlib.

Two models answer the same held-out rows, so what tells them apart is the rows on which they differ: `wins`
(only the candidate is right) and `losses` (only the reference is right) out of `rows`. All here is pure;
the bootstrap's chance is a seed passed in.

Sources: McNemar, Psychometrika 12 (1947) 153-157; Tango, Statistics in Medicine 17 (1998) 891-908;
Efron, JASA 82 (1987) 171-185.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_NORMAL = NormalDist()
_BATCH_CELLS = 4_000_000
"""Random row numbers drawn at once: 32 MB, whatever the number of rows."""


@dataclass(frozen=True)
class Interval:
    """Two-sided, of level `1 - 2 * alpha`: each end alone is a one-sided bound of level `1 - alpha`."""

    low: float
    high: float


def binomial_tail(wins: int, trials: int, chance: float = 0.5) -> float:
    """P(X >= wins) for X ~ Binomial(trials, chance). 1 if `wins` <= 0."""
    if wins <= 0:
        return 1.0
    if wins > trials or chance <= 0.0:
        return 0.0
    if chance >= 1.0:
        return 1.0
    wins, trials = int(wins), int(trials)  # numpy's would overflow below
    if chance == 0.5:  # exact in integers, so that a verdict at its boundary is not one of rounding
        return float(_ways(wins, trials) / 2**trials)
    ks = np.arange(wins, trials + 1)
    return min(1.0, float(np.exp(_log_trinomial(trials, ks, trials - ks, chance, 1 - chance)).sum()))


def mcnemar_exact(wins: int, losses: int) -> float:
    """Two-sided p-value of McNemar's exact test: a fair coin thrown for each row on which the two differ."""
    trials = wins + losses
    return min(1.0, 2 * binomial_tail(max(wins, losses), trials)) if trials else 1.0


def mcnemar_chi2(wins: int, losses: int, *, correction: bool = True) -> tuple[float, float]:
    """McNemar's chi-squared (1 degree of freedom) and p-value; `correction` is Edwards', for continuity."""
    trials = wins + losses
    if trials == 0:
        return 0.0, 1.0
    statistic = (abs(wins - losses) - (1 if correction else 0)) ** 2 / trials
    return statistic, math.erfc(math.sqrt(statistic / 2))


def better_p(wins: int, losses: int) -> float:
    """One-sided p-value of McNemar's exact test against "it is right no more often": P(X >= wins)."""
    return binomial_tail(wins, wins + losses)


def exact_interval(wins: int, losses: int, rows: int, alpha: float) -> Interval:
    """The interval of the difference that goes with McNemar's exact test, given m, the rows that differ.

    The Clopper-Pearson interval [l, h] of the share of wins among those m, as a difference: (2 l - 1) m / n.
    Its low end is above 0 exactly when `better_p` is under alpha.
    """
    trials = wins + losses
    if trials == 0:
        return Interval(0.0, 0.0)
    low = 0.0 if wins == 0 else _root(lambda p: binomial_tail(wins, trials, p) - alpha, 0.0, 1.0)
    high = 1.0 if losses == 0 else 1 - _root(lambda p: binomial_tail(losses, trials, p) - alpha, 0.0, 1.0)
    return Interval((2 * low - 1) * trials / rows, (2 * high - 1) * trials / rows)


def wilson_interval(right: int, rows: int, alpha: float) -> Interval:
    """Wilson's score interval of one share. (Wilson, JASA 22, 1927, 209-212.)"""
    z2 = _NORMAL.inv_cdf(1 - alpha) ** 2
    share, middle = right / rows, (right + z2 / 2) / (rows + z2)
    half = math.sqrt(z2 * (share * (1 - share) + z2 / (4 * rows)) * rows) / (rows + z2)
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def tango_z(wins: Any, losses: Any, rows: int, difference: float) -> Any:
    """Tango's score statistic of "candidate's accuracy - reference's = `difference`", which is in (-1, 1).

    (wins - losses - n d) / sqrt(n (2 q + d (1 - d))), q: the likeliest share of losses under that difference.
    At 0 its square is McNemar's chi-squared without correction. `wins` and `losses` may be arrays.
    """
    n, d = rows, difference
    a, c = 2.0 * n, -np.asarray(losses) * d * (1 - d)
    b = -np.asarray(wins) - np.asarray(losses) + (2 * n - np.asarray(wins) + np.asarray(losses)) * d
    q = np.maximum(0.0, (np.sqrt(np.maximum(0.0, b * b - 4 * a * c)) - b) / (2 * a))
    variance = n * (2 * q + d * (1 - d))
    above = np.asarray(wins) - np.asarray(losses) - n * d
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(variance > 1e-12, above / np.sqrt(np.maximum(variance, 1e-300)), np.sign(above) * np.inf)
    z = np.where(above == 0, 0.0, z)
    return float(z) if z.ndim == 0 else z


def noninferior_p(wins: int, losses: int, rows: int, margin: float) -> float:
    """One-sided p-value against "the candidate is worse by at least `margin`", by Tango's score statistic."""
    return _NORMAL.cdf(-tango_z(wins, losses, rows, -margin))


def tango_interval(wins: int, losses: int, rows: int, alpha: float) -> Interval:
    """Tango's score interval of the difference: all that his statistic does not reject at alpha, each side.

    Its low end is above `-margin` exactly when `noninferior_p` is under alpha.
    """
    critical, edge = _NORMAL.inv_cdf(1 - alpha), 1 - 1e-12
    middle = min(max((wins - losses) / rows, -edge), edge)
    low = _root(lambda d: critical - float(tango_z(wins, losses, rows, d)), -edge, middle)
    high = _root(lambda d: -critical - float(tango_z(wins, losses, rows, d)), middle, edge)
    return Interval(low, high)


def noninferior_power(rows: int, margin: float, alpha: float, differing: float, loss: float) -> float:
    """How likely `noninferior` holds on `rows` rows, if the two differ on the share `differing` of all rows
    and the candidate's true accuracy is `loss` lower. Summed over every count of wins and losses with weight.
    """
    p_win, p_loss = (differing - loss) / 2, (differing + loss) / 2
    if p_win < 0 or p_loss > 1:
        return math.nan
    critical = _NORMAL.inv_cdf(1 - alpha)
    wins, losses = _likely(rows, p_win)[:, None], _likely(rows, p_loss)[None, :]
    weight = np.exp(_log_trinomial(rows, wins, losses, p_win, p_loss))
    return float(weight[tango_z(wins, losses, rows, -margin) >= critical].sum())


def better_power(rows: int, alpha: float, differing: float, gain: float) -> float:
    """How likely `better` holds on `rows` rows, if the two differ on the share `differing` of all rows and
    the candidate's true accuracy is `gain` higher.
    """
    p_win, p_loss = (differing + gain) / 2, (differing - gain) / 2
    if p_loss < 0 or p_win > 1:
        return math.nan
    trials = _likely(rows, differing)
    weights = np.exp(_log_trinomial(rows, trials, rows - trials, differing, 1 - differing))
    total = 0.0
    for count, weight in zip(trials.tolist(), weights.tolist(), strict=True):
        wins = np.arange(count + 1)
        fair = np.cumsum(np.exp(_log_trinomial(count, wins, count - wins, 0.5, 0.5))[::-1])[::-1]
        needed = int(np.count_nonzero(fair > alpha * (1 + 1e-12)))
        total += weight * binomial_tail(needed, count, p_win / differing) if needed <= count else 0.0
    return total


@dataclass(frozen=True)
class Bootstrap:
    """A paired bootstrap of one number."""

    estimate: float
    interval: Interval
    resamples: int
    differing: bool
    """False if every resample gave the same number: the rows then say nothing about its spread."""


def bootstrap(
    sums: Floats, statistic: Callable[[Floats], Floats], *, alpha: float, resamples: int, seed: int
) -> Bootstrap:
    """Efron's BCa interval of a statistic that depends on its rows only through sums over them.

    Args:
        sums: (rows, k): what each row adds. A resample draws rows with their whole line: pairs stay together.
        statistic: maps (m, k) summed lines to (m,) numbers; must not depend on the number of rows otherwise.
    Equal to `scipy.stats.bootstrap(..., paired=True, method="BCa")` for the same generator.
    """
    rows = len(sums)
    estimate = float(statistic(sums.sum(axis=0, keepdims=True))[0])
    values = _resampled(sums, statistic, resamples, np.random.default_rng(seed))
    if not np.ptp(values) > 0:
        return Bootstrap(estimate, Interval(estimate, estimate), resamples, False)
    below = (np.count_nonzero(values < estimate) + np.count_nonzero(values <= estimate)) / (2 * resamples)
    bias = _NORMAL.inv_cdf(min(max(below, 0.5 / resamples), 1 - 0.5 / resamples))
    left_out = statistic(sums.sum(axis=0, keepdims=True) - sums)
    spread = (rows - 1) * (left_out.mean() - left_out)
    square = float((spread**2).sum()) / rows**2
    acceleration = float((spread**3).sum()) / rows**3 / square**1.5 / 6 if square > 0 else 0.0

    def level(z: float) -> float:
        return _NORMAL.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))

    ends = np.quantile(values, [level(_NORMAL.inv_cdf(alpha)), level(_NORMAL.inv_cdf(1 - alpha))])
    return Bootstrap(estimate, Interval(float(ends[0]), float(ends[1])), resamples, True)


def unseen_share(rows: int, alpha: float) -> float:
    """The largest share that may differ when none of `rows` did: 1 - alpha^(1/n), the rule of three."""
    return 1 - math.exp(math.log(alpha) / rows)


def _resampled(
    sums: Floats, statistic: Callable[[Floats], Floats], resamples: int, rng: np.random.Generator
) -> Floats:
    rows, batch = len(sums), max(1, _BATCH_CELLS // len(sums))
    values = []
    for start in range(0, resamples, batch):
        size = min(batch, resamples - start)
        drawn = rng.integers(0, rows, (size, rows)) + rows * np.arange(size)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows)
        values.append(statistic(weights.astype(np.float64) @ sums))
    return np.concatenate(values)


def _ways(wins: int, trials: int) -> int:
    """How many of the 2^trials outcomes have at least `wins` wins."""
    total, ways = 0, math.comb(trials, wins)
    for k in range(wins, trials + 1):
        total += ways
        ways = ways * (trials - k) // (k + 1)
    return total


def _likely(rows: int, chance: float) -> NDArray[np.int64]:
    """The counts out of `rows` that have any weight (all but 1e-9) at this chance."""
    spread = 6.2 * math.sqrt(rows * chance * (1 - chance)) + 12
    return np.arange(max(0, int(rows * chance - spread)), min(rows, int(rows * chance + spread)) + 1)


_log_factorial = np.vectorize(lambda n: math.lgamma(n + 1.0), otypes=[np.float64])


def _log_trinomial(rows: int, first: Any, second: Any, p_first: float, p_second: float) -> Floats:
    """Log-probability of `first` and `second` (arrays) out of `rows`; -inf where they exceed it."""
    rest, p_rest = rows - first - second, max(0.0, 1 - p_first - p_second)
    logs = math.lgamma(rows + 1) - _log_factorial(first) - _log_factorial(second)
    logs = logs - _log_factorial(np.maximum(rest, 0))
    for count, chance in ((first, p_first), (second, p_second), (rest, p_rest)):
        never = np.where(np.asarray(count) == 0, 0.0, -np.inf)
        logs = logs + (count * math.log(chance) if chance > 1e-15 else never)
    return np.asarray(np.where(rest >= 0, logs, -np.inf), dtype=np.float64)


def _root(rising: Callable[[float], float], low: float, high: float) -> float:
    for _ in range(80):
        middle = (low + high) / 2
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
