"""How often the tests that may be looked at any time are wrong, and how often they see: 10,000 rollouts each.

A look after every request, up to 5,000 of them. The share of wrong decisions at the border of each hypothesis
must be compatible with alpha: the low end of its exact 95% interval (Clopper, Pearson, Biometrika 26, 1934)
is at or under it. bench/sequential.py has more settings and curves, docs/rollout-statistics.md their results.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from tests.plan.rollout_simulation import (
    NEVER,
    STAGES,
    Setting,
    at_the_border,
    batches,
    simulate,
    z_tests,
)

from tuneline.plan.sequential import Counts, Hypothesis, evidence, observe, start

ALPHA, ROLLOUTS, REQUESTS = 0.05, 10_000, 5_000
# (setting, margin, effect): one as good is promoted, and one worse by the effect rolled back, with power 0.8.
SETTINGS = [
    (Setting("5/95", 0.02, stages=((1, 0.05),)), 0.05, 0.06),
    (Setting("10/90, bursts", 0.02, stages=((1, 0.10),), burst=0.2), 0.06, 0.07),
    (Setting("25/75, 6 of 10 known, late", 0.2, stages=((1, 0.25),), reported=0.6, delay=100), 0.1, 0.1),
    (Setting("50/50", 0.02, stages=((1, 0.50),)), 0.03, 0.03),
    (Setting("stages, a burst in each second", 0.02, stages=STAGES, burst=0.2, aligned=True), 0.06, 0.06),
]
NAMES = [setting.name for setting, _, _ in SETTINGS]


def lower_bound(wrong, of):
    """Low end of the exact 95% interval of a share."""
    return float(stats.beta.ppf(0.025, wrong, of - wrong + 1)) if wrong else 0.0


@pytest.mark.slow
@pytest.mark.parametrize("side", ["promote", "rollback"])
@pytest.mark.parametrize("setting, margin, _", SETTINGS, ids=NAMES)
def test_at_the_border_of_each_null_wrong_decisions_are_no_more_than_alpha(setting, margin, _, side):
    worse, same = at_the_border(setting, margin)
    if side == "promote":
        first = simulate(worse, margin, ALPHA, ROLLOUTS, REQUESTS, 1, "p").promoted
    else:
        first = simulate(same, margin, ALPHA, ROLLOUTS, REQUESTS, 2, "r").rolled_back
    wrong = int((first < NEVER).sum())
    assert wrong > 0, "not one wrong decision in 10,000 at the border: the simulation shows nothing"
    assert lower_bound(wrong, ROLLOUTS) <= ALPHA


@pytest.mark.parametrize("setting, margin, worse", SETTINGS, ids=NAMES)
@pytest.mark.slow
def test_a_candidate_as_good_is_promoted_and_one_that_is_worse_rolled_back_with_power(setting, margin, worse):
    promoted = simulate(replace(setting, effect=0.0), margin, ALPHA, 1000, REQUESTS, 3, "p").promoted < NEVER
    bad = replace(setting, effect=worse)
    rolled_back = simulate(bad, margin, ALPHA, 1000, REQUESTS, 4, "r").rolled_back < NEVER
    assert promoted.mean() >= 0.8
    assert rolled_back.mean() >= 0.8


@pytest.mark.parametrize("setting, margin, worse", SETTINGS, ids=NAMES)
def test_many_rollouts_at_once_give_the_same_numbers_as_one_by_one(setting, margin, worse):
    setting, rollouts, requests = replace(setting, effect=worse / 2), 4, 400
    at_once = simulate(setting, margin, ALPHA, rollouts, requests, 5)
    states = [start(Hypothesis("errors", True, margin, ALPHA, ALPHA)) for _ in range(rollouts)]
    first = {"promote": [NEVER] * rollouts, "rollback": [NEVER] * rollouts}
    for at, batch in enumerate(batches(setting, rollouts, requests, 5), 1):
        for each, (n_c, sum_c, n_s, sum_s) in enumerate(zip(*batch, strict=True)):
            states[each] = observe(states[each], Counts(int(n_c), float(sum_c), int(n_s), float(sum_s)))
            found = evidence(states[each])
            for side, at_first in first.items():
                at_first[each] = min(at_first[each], at) if getattr(found, side) else at_first[each]
    assert at_once.promoted.tolist() == first["promote"]
    assert at_once.rolled_back.tolist() == first["rollback"]
    ends = [evidence(state) for state in states]
    assert np.exp(at_once.log_promote) == pytest.approx([end.e_promote for end in ends], rel=1e-9)
    assert np.exp(at_once.log_rollback) == pytest.approx([end.e_rollback for end in ends], rel=1e-9)


def test_the_simulation_can_tell_naive_peeking_is_wrong_too_often():
    """The same assertion fails for a z test made after every request, so it is one that can fail."""
    same = Setting("50/50", 0.2)
    peeking = z_tests(same, 0.1, ALPHA, 1000, 2000, 6).peeking["r"] < NEVER
    assert lower_bound(peeking.sum(), 1000) > 2 * ALPHA


def test_pooling_takes_a_burst_for_a_bad_candidate_and_the_blocks_do_not():
    """Simpson's trap: most of the candidate's requests come in the stage that has the burst."""
    same = Setting("trap", 0.02, stages=((0.5, 0.05), (0.5, 0.5)), burst=0.2, aligned=True)
    assert z_tests(same, 0.06, ALPHA, 500, 2000, 7).at_the_end["r"].mean() > 0.9
    assert (simulate(same, 0.06, ALPHA, 500, 2000, 7, "r").rolled_back < NEVER).mean() < 0.05


@pytest.mark.slow
def test_the_interval_holds_the_difference_at_all_looks_together():
    """150 rollouts of 1,500 requests, both ends at 0.1; one by one, as it has no path on arrays."""
    setting, rollouts = Setting("25/75", 0.3, 0.2, stages=((1, 0.25),)), 150
    states = [start(Hypothesis("errors", True, 0.1, 0.1, 0.1)) for _ in range(rollouts)]
    missed = np.zeros(rollouts, bool)
    for at, batch in enumerate(batches(setting, rollouts, 1500, 8), 1):
        for each, (n_c, sum_c, n_s, sum_s) in enumerate(zip(*batch, strict=True)):
            states[each] = observe(states[each], Counts(int(n_c), float(sum_c), int(n_s), float(sum_s)))
            if at % 5 == 0:
                low, high = states[each].difference.interval(0.1, 0.1)
                missed[each] |= not low <= 0.2 <= high
    assert lower_bound(missed.sum(), rollouts) <= 0.2
    widths = [high - low for low, high in (evidence(state).interval for state in states)]
    assert np.median(widths) < 0.25
