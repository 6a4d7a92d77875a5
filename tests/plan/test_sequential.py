"""Exact properties of the tests that may be looked at after every request."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneline.errors import SpecError
from tuneline.plan.bets import bet, promote_guesses, rollback_guesses
from tuneline.plan.sequential import BLOCK, Counts, Hypothesis, State, evidence, observe, split_alpha, start

ERRORS = Hypothesis("errors", lower_is_better=True, margin=0.05, alpha_promote=0.05, alpha_rollback=0.05)


def followed(state, observations):
    """The state after single observations, each (1 for the candidate or 0, value)."""
    for arm, y in observations:
        state = observe(state, Counts(1, y, 0, 0.0) if arm else Counts(0, 0.0, 1, y))
    return state


def rows(seed, n, weight, candidate, stable):
    rng = np.random.default_rng(seed)
    arms = rng.random(n) < weight
    return [(int(arm), float(rng.random() < (candidate if arm else stable))) for arm in arms]


def expected(arms, candidate, stable, side):
    """The exact expectation of the e-value after observations of these arms, over all their outcomes.

    `candidate` and `stable` are rates, a number or one for each place in `arms`.
    """
    total = 0.0
    rates = [np.broadcast_to(candidate, len(arms)), np.broadcast_to(stable, len(arms))]
    for outcome in itertools.product((0.0, 1.0), repeat=len(arms)):
        chance = math.prod(
            rates[1 - arm][place] if y else 1 - rates[1 - arm][place]
            for place, (arm, y) in enumerate(zip(arms, outcome, strict=True))
        )
        found = evidence(followed(start(ERRORS), zip(arms, outcome, strict=True)))
        total += chance * getattr(found, side)
    return total


@pytest.mark.parametrize(
    "arms", [(0, 1) * 5, (0,) * 8 + (1, 1), (1, 0, 0, 1, 1, 1, 0, 1, 0, 0), (1,) * 9 + (0, 0)]
)
@pytest.mark.slow
def test_at_the_border_of_each_null_the_exact_expectation_over_all_outcomes_is_at_most_one(arms):
    for stable in (0.0, 0.01, 0.3, 0.95):
        assert expected(arms, stable + 0.05, stable, "e_promote") <= 1 + 1e-9
        assert expected(arms, stable, stable, "e_rollback") <= 1 + 1e-9
    worse, better = expected(arms, 0.9, 0.1, "e_rollback"), expected(arms, 0.0, 0.6, "e_promote")
    assert worse > 1.5
    assert better > 1.2


def test_it_stays_at_most_one_when_the_rates_of_both_arms_jump_between_blocks():
    """Blocks of two requests of each arm: calm in the first, a burst in the second, less in the third."""
    arms = (0, 1, 1, 0) * 2 + (1, 0)
    calm_then_burst = np.array([0.02] * 4 + [0.8] * 4 + [0.3] * 2)
    assert expected(arms, calm_then_burst, calm_then_burst, "e_rollback") <= 1 + 1e-9
    assert expected(arms, calm_then_burst + 0.05, calm_then_burst, "e_promote") <= 1 + 1e-9


@settings(max_examples=300, deadline=None)
@given(
    low=st.floats(0, 1), gap=st.floats(1e-3, 1), null=st.floats(-0.9, 0.9), level=st.floats(0, 1),
    n_high=st.integers(1, 400), n_low=st.integers(1, 400),
)  # fmt: skip
def test_no_block_and_no_guess_gains_under_the_null_in_expectation(low, gap, null, level, n_high, n_low):
    """The exact log of the expectation for coins, which are the worst of all values in [0, 1]."""
    chosen = bet(low, np.array([gap]), null, n_high, n_low)
    mean_low = max(0.0, -null) + level * (1 - abs(null))
    mean_high = mean_low + null

    def grown(one, zero, mean):
        return math.log(mean * math.exp(one[0]) + (1 - mean) * math.exp(zero[0]))

    log_expected = n_high * grown(chosen.high_one, chosen.high_zero, mean_high) + n_low * grown(
        chosen.low_one, chosen.low_zero, mean_low
    )
    assert log_expected <= 1e-9 * (n_high + n_low)


def test_values_between_zero_and_one_are_worth_no_more_than_a_coin_of_that_mean():
    """Convexity: half an error in each of two requests never gains more than the mean of none and of one."""
    chosen = bet(0.1, rollback_guesses(0.05)[0], 0.0, 3, 5)
    for one, zero in ((chosen.high_one, chosen.high_zero), (chosen.low_one, chosen.low_zero)):
        half = np.exp((one + zero) / 2)
        assert (half <= (np.exp(one) + np.exp(zero)) / 2 + 1e-12).all()


def test_guesses_weigh_one_in_all_and_are_few_for_any_margin():
    for margin in (1e-6, 0.001, 0.02, 0.05, 0.5, 0.99):
        for gaps, weights in (promote_guesses(margin), rollback_guesses(margin)):
            assert weights.sum() == pytest.approx(1)
            assert (gaps > 0).all()
            assert len(gaps) == len(weights) <= 12


def test_a_state_goes_through_json_and_on_to_the_same_numbers():
    observations = rows(1, 700, 0.3, 0.06, 0.02)
    whole = followed(start(ERRORS), observations)
    half = followed(start(ERRORS), observations[:333])
    again = State.from_json(json.loads(json.dumps(half.to_json())))
    assert again == half
    assert followed(again, observations[333:]) == whole
    assert len(json.dumps(whole.to_json())) < 1500


def test_a_score_is_an_error_rate_turned_round():
    score = Hypothesis(
        "feedback", lower_is_better=False, margin=0.05, alpha_promote=0.05, alpha_rollback=0.05
    )
    observations = rows(2, 600, 0.5, 0.3, 0.1)
    of_errors = evidence(followed(start(ERRORS), observations))
    of_scores = evidence(followed(start(score), [(arm, 1 - y) for arm, y in observations]))
    assert of_scores.e_promote == pytest.approx(of_errors.e_promote)
    assert of_scores.e_rollback == pytest.approx(of_errors.e_rollback)
    assert of_scores.rollback
    assert of_scores.difference == pytest.approx(-of_errors.difference)
    assert of_scores.interval == pytest.approx((-of_errors.interval[1], -of_errors.interval[0]))
    assert of_scores.candidate_mean == pytest.approx(1 - of_errors.candidate_mean)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.3, 0.5]))
def test_one_error_more_of_the_candidate_in_the_last_block_speaks_against_it(seed, weight):
    observations = rows(seed, 150, weight, 0.1, 0.1)
    state = followed(start(ERRORS), observations)
    block = Counts(10, 2.0, 10, 2.0)
    worse, same, better = (
        evidence(observe(state, Counts(10, errors, 10, 2.0))) for errors in (3.0, block.candidate_sum, 1.0)
    )
    assert worse.e_rollback > same.e_rollback > better.e_rollback
    assert worse.e_promote < same.e_promote < better.e_promote


def test_looking_once_in_a_thousand_requests_is_enough():
    """A controller that looks once in 1,000 requests still promotes."""
    observations = rows(3, 4000, 0.5, 0.02, 0.02)
    single = followed(start(ERRORS), observations)
    batched = start(ERRORS)
    for at in range(0, 4000, 1000):
        part = observations[at : at + 1000]
        candidate, stable = ([y for arm, y in part if arm == one] for one in (1, 0))
        batched = observe(batched, Counts(len(candidate), sum(candidate), len(stable), sum(stable)))
    one, many = evidence(batched), evidence(single)
    assert one.promote
    assert many.promote
    assert (one.candidate_n, one.stable_mean) == (many.candidate_n, many.stable_mean)


def test_nothing_is_decided_without_both_arms():
    state = start(ERRORS)
    assert evidence(state).text == "errors: too few observations to compare: 0 of the candidate, 0 of stable"
    for _ in range(50):
        state = observe(state, Counts(100, 100.0, 0, 0.0))
    found = evidence(state)
    assert (found.e_promote, found.e_rollback) == pytest.approx((1.0, 1.0))
    assert found.interval == (-1.0, 1.0)
    assert (found.candidate_n, found.candidate_mean, found.stable_mean) == (5000, 1.0, None)
    assert state.open.size < BLOCK


def test_a_candidate_that_always_fails_is_rolled_back_by_its_fourth_request_at_5_percent():
    state = followed(start(ERRORS), ([(0, 0.0)] * 19 + [(1, 1.0)]) * 4)
    assert evidence(state).rollback
    assert "worse: e =" in evidence(state).text


def test_evidence_of_millions_of_requests_stays_finite():
    state = start(ERRORS)
    for _ in range(400):
        state = observe(state, Counts(5000, 5000.0, 5000, 0.0))
    found = evidence(state)
    assert found.rollback
    assert math.isfinite(found.e_rollback)
    assert found.e_promote >= 0
    json.dumps(state.to_json(), allow_nan=False)


def test_alpha_is_split_in_equal_parts_and_wrong_input_is_refused():
    assert split_alpha(0.05, ["errors", "slow"]) == {"errors": 0.025, "slow": 0.025}
    with pytest.raises(SpecError, match="errors"):
        split_alpha(0.05, ["errors", "errors"])
    with pytest.raises(SpecError):
        split_alpha(0.05, [])
    with pytest.raises(SpecError, match="margin is 0"):
        Hypothesis("errors", True, 0.0, 0.05, 0.05)
    for wrong in ((1, 1.5, 0, 0.0), (0, 0.0, 1, -0.1), (-1, 0.0, 0, 0.0), (1, math.nan, 0, 0.0)):
        with pytest.raises(ValueError, match="each must be in"):
            Counts(*wrong)


def test_a_metric_without_a_stable_arm_is_compared_with_what_is_asked_of_it():
    """Shadow agreement: each observation of the stable arm is the share that is asked for."""
    agreement = Hypothesis("agreement", False, margin=0.05, alpha_promote=0.05, alpha_rollback=0.05)
    rng = np.random.default_rng(4)
    states = {share: start(agreement) for share in (0.95, 0.8)}
    for share in states:
        for agrees in rng.random(1500) < share:
            states[share] = observe(states[share], Counts(1, float(agrees), 1, 0.95))
    assert evidence(states[0.95]).promote
    assert not evidence(states[0.95]).rollback
    assert evidence(states[0.8]).rollback
