"""Exact two-sample tests: chances under "both samples come from one source", without any approximation.

Every p-value here is valid for finite samples (the chance that it is at most `a` is at most `a`), also with
ties, as long as the units are exchangeable. Used by `plan.drift`, where limits are far below what resampling
could resolve. Pure.

Sources: Hodges 1958, "The significance probability of the Smirnov two-sample test" (lattice paths); Fisher's
exact test, two-sided by doubling the smaller tail.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

SMALLEST_P = 1e-9
"""Smaller chances of `ks` are told as this one: one less a sum near one is not exact any more."""


def ks(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Kolmogorov-Smirnov: the largest distance of the two distribution functions, and its chance or a smaller
    one.

    Ties make the true chance smaller than the one given, never larger. Raises: ValueError for an empty
    sample.
    """
    m, n = len(first), len(second)
    if not m or not n:
        raise ValueError("a sample is empty")
    a, b = np.sort(np.asarray(first, float)), np.sort(np.asarray(second, float))
    values = np.concatenate([a, b])
    above = np.searchsorted(a, values, "right") * n - np.searchsorted(b, values, "right") * m
    reach = int(np.abs(above).max())  # the distance times m * n, a whole number
    return reach / (m * n), ks_chance(reach, min(m, n), max(m, n))


@lru_cache(maxsize=4096)
def ks_chance(reach: int, m: int, n: int) -> float:
    """The chance of a distance of at least `reach / (m * n)` between samples of m and n values without ties.

    All orders of the m + n values are equally likely; each is a path from (0, 0) to (m, n), and the distance
    stays smaller exactly if the path stays where `|i * n - j * m| < reach`. Those paths are counted row by
    row. m <= n. Time: m rows of a band.
    """
    if reach <= 0:
        return 1.0
    logs, low, row = 0.0, 0, np.ones(_upper(0, reach, m, n) + 1)
    for i in range(1, m + 1):
        first, last = max(0, (i * n - reach) // m + 1), _upper(i, reach, m, n)
        if first > last:
            return 1.0
        above = np.zeros(last - first + 1)
        end = min(last, low + len(row) - 1)
        above[: end - first + 1] = row[first - low : end - low + 1]
        low, row = first, np.cumsum(above)
        largest = float(row[-1])
        if largest == 0.0:
            return 1.0
        row /= largest
        logs += math.log(largest)
    inside = logs + math.log(row[-1]) - log_choose(m + n, n)
    return min(1.0, max(SMALLEST_P, -math.expm1(min(0.0, inside))))


def _upper(i: int, reach: int, m: int, n: int) -> int:
    return min(n, -((-i * n - reach) // m) - 1)


def fisher(hits: int, of: int, other_hits: int, other_of: int, side: str = "both") -> float:
    """Fisher's exact test of two shares: the chance that, with so many hits in both together, `hits / of` is
    so far from `other_hits / other_of`.

    side: `more` or `fewer` hits among the first, or `both` (twice the smaller tail).
    """
    total, all_hits = of + other_of, hits + other_hits
    low, high = max(0, all_hits - other_of), min(of, all_hits)
    more = _tail(hits, high, of, all_hits, total) if side != "fewer" else 1.0
    fewer = _tail(low, hits, of, all_hits, total) if side != "more" else 1.0
    return min(1.0, 2 * min(more, fewer) if side == "both" else min(more, fewer))


def _tail(first: int, last: int, drawn: int, hits: int, total: int) -> float:
    """The chance of `first` to `last` hits among `drawn` of `total`, of which `hits` are hits."""
    facts = log_factorials(total)
    k = np.arange(first, last + 1)
    misses = total - hits
    logs = (
        facts[hits] - facts[k] - facts[hits - k]
        + facts[misses] - facts[drawn - k] - facts[misses - drawn + k]
        - facts[total] + facts[drawn] + facts[total - drawn]
    )  # fmt: skip
    return float(np.exp(logs).sum())


@lru_cache(maxsize=64)
def log_factorials(up_to: int) -> np.ndarray:
    """log(0!), log(1!) and so on up to log(up_to!)."""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, up_to + 1)))])


def log_choose(n: int, k: int) -> float:
    """The logarithm of the number of ways to choose k of n."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
