"""The exact tests against scipy, and against every order of small samples."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from tuneline.plan.exact_tests import SMALLEST_P, fisher, ks, ks_chance


@pytest.mark.parametrize("sizes", [(3, 5), (4, 4), (2, 9)])
def test_the_chance_of_a_distance_is_that_among_all_orders(sizes):
    m, n = sizes
    found = []
    for places in combinations(range(m + n), m):
        others = [place for place in range(m + n) if place not in places]
        found.append(ks(places, others))
    distances = np.array([distance for distance, _ in found])
    for distance, p in found:
        assert p == pytest.approx(np.mean(distances >= distance - 1e-12))


@pytest.mark.parametrize("sizes", [(50, 50), (100, 200), (97, 311), (1000, 2000)])
@pytest.mark.parametrize("shift", [0.0, 0.1, 0.5])
def test_a_distance_s_chance_is_scipy_s(sizes, shift):
    chance = np.random.default_rng(1)
    a, b = chance.normal(0, 1, sizes[0]), chance.normal(shift, 1, sizes[1])
    theirs = stats.ks_2samp(a, b, method="exact")
    value, p = ks(a, b)
    assert value == pytest.approx(theirs.statistic)
    assert p == pytest.approx(max(theirs.pvalue, SMALLEST_P), rel=1e-3, abs=1e-10)


def test_samples_that_do_not_overlap_and_equal_ones_are_the_ends():
    assert ks([0] * 60, [1] * 60) == (1.0, SMALLEST_P)
    assert ks([3] * 60, [3] * 70) == (0.0, 1.0)
    assert ks_chance(0, 3, 4) == 1.0


@pytest.mark.parametrize("side, theirs", [("more", "greater"), ("fewer", "less")])
@pytest.mark.parametrize(
    "table", [(0, 100, 9, 200), (30, 100, 20, 200), (100, 100, 200, 200), (5, 60, 60, 100)]
)
def test_a_share_s_chance_is_scipy_s(table, side, theirs):
    hits, of, other, other_of = table
    wanted = stats.fisher_exact([[hits, of - hits], [other, other_of - other]], alternative=theirs).pvalue
    assert fisher(*table, side) == pytest.approx(wanted, rel=1e-6)
    assert fisher(*table) == pytest.approx(
        min(1.0, 2 * min(fisher(*table, "more"), fisher(*table, "fewer"))), rel=1e-9
    )
