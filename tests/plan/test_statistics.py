"""Our statistics beside those people trust, on 200 random tables, and beside slow obvious versions."""

import itertools
import math

import numpy as np
import pytest
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar

from tuneline.plan import statistics as ours

TABLES = 200


def random_tables(seed):
    """(wins, losses, rows) of 200 paired tables, empty and one-sided ones among them."""
    rng = np.random.default_rng(seed)
    for number in range(TABLES):
        rows = int(rng.integers(20, 600))
        chances = rng.dirichlet([8, 1, 1, 3]) if number % 10 else np.array([0.7, 0.0, 0.05, 0.25])
        _, wins, losses, _ = rng.multinomial(rows, chances).tolist()
        yield wins, losses, rows


def test_mcnemar_agrees_with_statsmodels_on_200_random_tables():
    for wins, losses, rows in random_tables(1):
        table = [[rows - wins - losses, wins], [losses, 0]]
        assert ours.mcnemar_exact(wins, losses) == pytest.approx(mcnemar(table, exact=True).pvalue, rel=1e-9)
        if wins + losses:
            for correction in (True, False):
                theirs = mcnemar(table, exact=False, correction=correction)
                statistic, p_value = ours.mcnemar_chi2(wins, losses, correction=correction)
                assert statistic == pytest.approx(theirs.statistic, rel=1e-12)
                assert p_value == pytest.approx(theirs.pvalue, rel=1e-9)


@pytest.mark.slow
def test_the_exact_tests_agree_with_scipys_binomial_on_200_random_tables():
    for wins, losses, rows in random_tables(2):
        trials = wins + losses
        if not trials:
            continue
        theirs = stats.binomtest(wins, trials, 0.5, alternative="greater")
        assert ours.better_p(wins, losses) == pytest.approx(theirs.pvalue, rel=1e-9)
        share = stats.binomtest(wins, trials).proportion_ci(0.90, method="exact")
        interval = ours.exact_interval(wins, losses, rows, 0.05)
        assert interval.low == pytest.approx((2 * share.low - 1) * trials / rows, abs=1e-9)
        assert interval.high == pytest.approx((2 * share.high - 1) * trials / rows, abs=1e-9)
        assert (interval.low > 0) == (ours.better_p(wins, losses) < 0.05)


def likeliest_losses(wins, losses, rows, difference):
    """The share of losses that maximises the multinomial likelihood under p_win - p_loss = difference."""
    low, high = max(0.0, -difference), (1 - difference) / 2

    def minus_log_likelihood(q):
        logs = [(wins, q + difference), (losses, q), (rows - wins - losses, 1 - 2 * q - difference)]
        return -sum(n * math.log(max(p, 1e-300)) for n, p in logs if n)

    found = optimize.minimize_scalar(
        minus_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    )
    return min((low, high, float(found.x)), key=minus_log_likelihood)


def test_tangos_statistic_is_the_score_at_the_constrained_maximum_likelihood():
    for wins, losses, rows in itertools.islice(random_tables(3), 60):
        for difference in (-0.1, -0.04, 0.03):
            q = likeliest_losses(wins, losses, rows, difference)
            variance = rows * (2 * q + difference - difference**2)
            slow = (wins - losses - rows * difference) / math.sqrt(variance)
            assert ours.tango_z(wins, losses, rows, difference) == pytest.approx(slow, rel=1e-4, abs=1e-6)


def test_tangos_statistic_at_no_difference_is_mcnemars():
    for wins, losses, rows in random_tables(4):
        statistic, _ = ours.mcnemar_chi2(wins, losses, correction=False)
        assert ours.tango_z(wins, losses, rows, 0.0) ** 2 == pytest.approx(statistic, rel=1e-9, abs=1e-12)


@pytest.mark.slow
def test_the_bound_of_the_interval_decides_as_the_p_value_does():
    for wins, losses, rows in random_tables(5):
        for alpha, margin in ((0.05, 0.04), (0.01, 0.1)):
            interval = ours.tango_interval(wins, losses, rows, alpha)
            assert -1 <= interval.low <= (wins - losses) / rows <= interval.high <= 1
            assert (interval.low > -margin) == (ours.noninferior_p(wins, losses, rows, margin) < alpha)


@pytest.mark.slow
def test_the_score_interval_swaps_with_its_sides():
    for wins, losses, rows in random_tables(6):
        one, other = (
            ours.tango_interval(wins, losses, rows, 0.05),
            ours.tango_interval(losses, wins, rows, 0.05),
        )
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-7)


def ratio_gap(lines):
    """A statistic of two means and a ratio: skewed enough for BCa's two corrections to matter."""
    return lines[:, 0] / lines[:, 2] - lines[:, 1] / np.maximum(lines[:, 3], 1e-9)


def test_the_bootstrap_agrees_with_scipy_on_200_random_tables():
    rng = np.random.default_rng(7)
    for seed in range(TABLES):
        rows = int(rng.integers(25, 90))
        weights = rng.exponential(size=rows) + 0.2
        x, y = rng.exponential(size=rows), rng.normal(1.0, 1.0, rows) * weights
        sums = np.column_stack([x, y, np.ones(rows), weights])
        found = ours.bootstrap(sums, ratio_gap, alpha=0.05, resamples=499, seed=seed)

        def gap(x, y, w, axis=-1):
            return x.mean(axis) - y.sum(axis) / w.sum(axis)

        theirs = stats.bootstrap(
            (x, y, weights), gap, paired=True, n_resamples=499, confidence_level=0.90, method="BCa",
            rng=np.random.default_rng(seed),
        ).confidence_interval  # fmt: skip
        assert (found.interval.low, found.interval.high) == pytest.approx((theirs.low, theirs.high), rel=1e-9)


def test_the_bootstrap_is_the_same_whatever_is_drawn_at_once(monkeypatch):
    rng = np.random.default_rng(8)
    sums = np.column_stack([rng.normal(size=(50, 2)), np.ones((50, 2))])
    whole = ours.bootstrap(sums, ratio_gap, alpha=0.05, resamples=300, seed=1)
    monkeypatch.setattr(ours, "_BATCH_CELLS", 50 * 7)
    assert ours.bootstrap(sums, ratio_gap, alpha=0.05, resamples=300, seed=1) == whole


def test_a_bootstrap_without_any_spread_says_so():
    found = ours.bootstrap(np.ones((30, 4)), ratio_gap, alpha=0.05, resamples=100, seed=1)
    assert not found.differing
    assert found.interval == ours.Interval(0.0, 0.0)


@pytest.mark.parametrize("differing, loss", [(0.1, 0.0), (0.1, 0.02), (0.2, 0.04)])
def test_the_power_of_noninferior_is_what_simulation_finds(differing, loss):
    rows, margin, draws = 300, 0.04, 40_000
    p_win, p_loss = (differing - loss) / 2, (differing + loss) / 2
    counts = np.random.default_rng(9).multinomial(rows, [p_win, p_loss, 1 - differing], size=draws)
    z = ours.tango_z(counts[:, 0], counts[:, 1], rows, -margin)
    simulated = float((z >= stats.norm.ppf(0.95)).mean())
    exact = ours.noninferior_power(rows, margin, 0.05, differing, loss)
    assert exact == pytest.approx(simulated, abs=4 * math.sqrt(0.25 / draws))


def test_the_power_of_better_is_what_simulation_finds():
    rows, draws = 300, 20_000
    counts = np.random.default_rng(10).multinomial(rows, [0.07, 0.03, 0.9], size=draws).tolist()
    simulated = sum(ours.better_p(wins, losses) <= 0.05 for wins, losses, _ in counts) / draws
    exact = ours.better_power(rows, 0.05, 0.1, 0.04)
    assert exact == pytest.approx(simulated, abs=4 * math.sqrt(0.25 / draws))


def test_noninferior_errs_at_most_about_alpha_at_its_boundary():
    for rows in (64, 200, 426, 1000):
        for differing in (0.06, 0.1, 0.2):
            assert ours.noninferior_power(rows, 0.04, 0.05, differing, 0.04) < 0.062


def test_better_never_errs_more_than_alpha():
    for rows in (64, 200, 426):
        for differing in (0.05, 0.1, 0.3):
            assert ours.better_power(rows, 0.05, differing, 0.0) <= 0.05
