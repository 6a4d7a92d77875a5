"""Metrics against slow, obvious versions and closed forms."""

import math

import numpy as np
import pytest

from tuneline.train import metrics


def random_case(seed: int, rows: int = 200, classes: int = 4):
    chance = np.random.default_rng(seed)
    truth = chance.integers(0, classes, rows)
    raw = chance.gamma(1.0, size=(rows, classes))
    raw[np.arange(rows), truth] += chance.gamma(1.0, size=rows)
    return truth, raw / raw.sum(axis=1, keepdims=True)


def slow_macro_f1(truth, guess):
    scores = []
    for name in sorted(set(truth) | set(guess)):
        tp = sum(t == name and g == name for t, g in zip(truth, guess, strict=True))
        fp = sum(t != name and g == name for t, g in zip(truth, guess, strict=True))
        fn = sum(t == name and g != name for t, g in zip(truth, guess, strict=True))
        precision = tp / (tp + fp) if tp + fp else 0.0
        recall = tp / (tp + fn) if tp + fn else 0.0
        scores.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
    return sum(scores) / len(scores)


def slow_calibration(truth, probabilities, bins=10):
    total = 0.0
    for k in range(bins):
        low, high = k / bins, (k + 1) / bins
        rows = [n for n, p in enumerate(probabilities) if low < max(p) <= high]
        if rows:
            right = sum(int(np.argmax(probabilities[n]) == truth[n]) for n in rows) / len(rows)
            sure = sum(max(probabilities[n]) for n in rows) / len(rows)
            total += len(rows) / len(truth) * abs(right - sure)
    return total


@pytest.mark.parametrize("seed", range(20))
def test_every_metric_agrees_with_its_slow_version(seed):
    truth, probabilities = random_case(seed)
    guess = probabilities.argmax(axis=1)
    judged = metrics.report(truth, probabilities, list("abcd"))
    assert judged["accuracy"] == pytest.approx(np.mean([t == g for t, g in zip(truth, guess, strict=True)]))
    assert judged["f1"] == pytest.approx(slow_macro_f1(truth.tolist(), guess.tolist()))
    assert judged["ece"] == pytest.approx(slow_calibration(truth, probabilities))
    losses = [-math.log(p[t]) for t, p in zip(truth, probabilities, strict=True)]
    assert judged["log_loss"] == pytest.approx(np.mean(losses))
    rows = judged["confusion_matrix"]["rows"]
    assert rows[1][2] == sum(t == 1 and g == 2 for t, g in zip(truth, guess, strict=True))


def test_a_model_that_is_always_right_and_sure_has_no_loss():
    truth, sure = np.array([0, 1, 1]), np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    judged = metrics.report(truth, sure, ["no", "yes"])
    assert (judged["accuracy"], judged["f1"], judged["ece"], judged["log_loss"]) == (1.0, 1.0, 0.0, 0.0)


def test_a_coin_has_the_log_loss_of_a_coin():
    judged = metrics.report(np.array([0, 1] * 8), np.full((16, 2), 0.5), ["no", "yes"])
    assert judged["log_loss"] == pytest.approx(math.log(2))
    assert judged["ece"] == pytest.approx(0.0)


def test_certainty_in_a_wrong_answer_costs_much_but_not_infinitely_much():
    assert metrics.log_loss(np.array([0]), np.array([[0.0, 1.0]])) == pytest.approx(-math.log(1e-15))


def test_a_class_that_is_neither_there_nor_guessed_does_not_count():
    assert metrics.macro_f1(np.array([[3, 0, 0], [0, 2, 0], [0, 0, 0]])) == 1.0


def test_slices_hold_each_value_with_its_rows():
    truth, probabilities = random_case(3, rows=60)
    values = ["long" if n % 3 else "short" for n in range(60)]
    found = metrics.slices(truth, probabilities, values, 4)
    assert list(found) == ["long", "short"]
    assert [found[name]["rows"] for name in found] == [40, 20]
    short = np.array(values) == "short"
    assert found["short"]["accuracy"] == metrics.accuracy(truth[short], probabilities[short].argmax(axis=1))


def test_no_rows_are_no_error():
    judged = metrics.report(np.array([], dtype=np.int64), np.zeros((0, 2)), ["a", "b"])
    assert judged["accuracy"] == judged["log_loss"] == judged["ece"] == judged["f1"] == 0.0
