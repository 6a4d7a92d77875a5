"""Verdicts: at their boundary, when they cannot be reached, and beside scipy's bootstrap."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tuneline.errors import DataError
from tuneline.plan.comparison import Comparison, difference, total
from tuneline.plan.gate import decidable, judge
from tuneline.plan.power import most_differing
from tuneline.plan.statistics import better_power, noninferior_power
from tuneline.train import metrics as evaluation

LABELS = ("negative", "positive")


def table(wins, losses, both, neither=0):
    """(gold, candidate, live): rows right for the candidate only, live only, both, neither."""
    right = (
        [(True, False)] * wins + [(False, True)] * losses + [(True, True)] * both + [(False, False)] * neither
    )
    gold = [number % 2 for number in range(len(right))]
    said = [[g if r[who] else 1 - g for g, r in zip(gold, right, strict=True)] for who in (0, 1)]
    return gold, *said


def comparison(gold, candidate, live=None, *, base=None, slices=None, p=None, report=None, **known):
    """A comparison as the evaluation's files give it; metrics are counted here, by hand."""
    rows = len(gold)
    made = {"rows": rows, "left_out": 0, "labels": list(LABELS), "live": None}
    predictions = {"label": [LABELS[g] for g in gold]}
    for who, said in (("candidate", candidate), ("base", base or [0] * rows), ("live", live)):
        if said is None:
            continue
        shares = p or [0.9] * rows
        right = [None if s is None else s == g for s, g in zip(said, gold, strict=True)]
        predictions[who] = [None if s is None else LABELS[s] for s in said]
        predictions[f"{who}_p"] = shares
        predictions[f"{who}_gold_p"] = [x if r else 1 - x for x, r in zip(shares, right, strict=True)]
        asked = [r for r in right if r is not None]
        made[who] = {
            "accuracy": sum(asked) / len(asked) if asked else 0.0,
            "f1": 0.5,
            "ece": 0.1,
            "log_loss": 0.4,
        }
    for column, values in (slices or {}).items():
        predictions[f"keep_{column}"] = values
        made["candidate"]["slices"] = {
            column: {
                value: {"rows": values.count(value), "accuracy": 0.8, "f1": 0.8} for value in set(values)
            }
        }
    made.update(report or {})
    if live is not None:
        known = {"live_release": "m@1.0.0", "live_digest": "sha256:1", **known}
    return Comparison.of(made, predictions, **known)


def only(rule, compared):
    (finding,) = judge([rule], compared).findings
    return finding


def first_failing(rule, wins, rows):
    """The number of losses at which the rule stops passing."""
    return next(
        losses
        for losses in range(rows - wins)
        if not judge([rule], comparison(*table(wins, losses, rows - wins - losses))).passed
    )


@pytest.mark.parametrize("wins", [0, 5, 20])
def test_one_row_more_flips_noninferior_at_its_boundary(wins):
    rule, rows, margin, alpha = "noninferior(accuracy, live, margin=0.04, alpha=0.05)", 426, 0.04, 0.05
    losses = first_failing(rule, wins, rows)
    passing, failing = (
        only(rule, comparison(*table(wins, n, rows - wins - n))) for n in (losses - 1, losses)
    )
    assert (passing.passed, failing.passed) == (True, False)
    assert passing.tests[0].interval[0] > -margin >= failing.tests[0].interval[0]
    assert passing.tests[0].p_value < alpha <= failing.tests[0].p_value
    assert failing.tests[0].discordant == {"candidate_only": wins, "reference_only": losses}


def test_one_row_more_flips_better_at_its_boundary():
    """5 wins of 5 is 1 in 32, under 0.05; 4 of 4 is 1 in 16; one loss more undoes what 8 wins reach."""
    assert only("better(accuracy, live)", comparison(*table(5, 0, 95))).passed
    assert not only("better(accuracy, live)", comparison(*table(4, 0, 96))).passed
    assert only("better(accuracy, live)", comparison(*table(8, 1, 91))).passed
    flipped = only("better(accuracy, live)", comparison(*table(8, 2, 90)))
    assert not flipped.passed
    assert flipped.tests[0].p_value == pytest.approx((1 + 10 + 45) / 2**10)
    assert flipped.tests[0].interval[0] < 0


def test_one_row_more_flips_a_bare_comparison_at_its_boundary():
    assert only("accuracy >= 0.80", comparison(*table(0, 0, 80, 20))).passed
    assert not only("accuracy >= 0.80", comparison(*table(0, 0, 79, 21))).passed


def test_one_row_more_flips_the_bootstrap_at_its_boundary():
    rule, rows = "noninferior(f1, live, margin=0.05)", 200
    losses = first_failing(rule, 5, rows)
    bounds = [
        only(rule, comparison(*table(5, n, rows - 5 - n))).tests[0].interval[0] for n in (losses - 1, losses)
    ]
    assert bounds[0] > -0.05 >= bounds[1]


def slow_f1(gold, said):
    scores = []
    for label in sorted(set(gold) | set(said)):
        hits = sum(g == s == label for g, s in zip(gold, said, strict=True))
        scores.append(2 * hits / (list(gold).count(label) + list(said).count(label)))
    return sum(scores) / len(scores)


def test_metrics_are_those_of_their_definitions():
    rng = np.random.default_rng(0)
    gold, candidate, live = (rng.integers(0, 2, 150).tolist() for _ in range(3))
    p = rng.uniform(0.5, 1, 150).tolist()
    compared = comparison(gold, candidate, live, p=p)
    rows = compared.shared("live")
    right = np.array(gold) == np.array(candidate)
    assert total(compared, "f1", "candidate", rows) == pytest.approx(slow_f1(gold, candidate))
    assert total(compared, "log_loss", "candidate", rows) == pytest.approx(
        -np.mean([math.log(x if r else 1 - x) for x, r in zip(p, right, strict=True)])
    )
    ece = 0.0
    for k in range(10):
        inside = [(x, r) for x, r in zip(p, right, strict=True) if k / 10 < x <= (k + 1) / 10]
        ece += abs(sum(x - r for x, r in inside)) / 150
    assert total(compared, "ece", "candidate", rows) == pytest.approx(ece)


@pytest.mark.slow
def test_the_f1_bootstrap_agrees_with_scipy_on_200_random_tables(monkeypatch):
    monkeypatch.setattr("tuneline.plan.paired.RESAMPLES", 99)
    rng = np.random.default_rng(1)
    for _ in range(200):
        chances = rng.dirichlet([3, 2, 12, 2])
        wins, losses, both, neither = rng.multinomial(40, chances).tolist()
        if wins + losses == 0:
            continue
        gold, candidate, live = (np.array(side) for side in table(wins, losses, both, neither))
        (test,) = only(
            "noninferior(f1, live, margin=0.1)", comparison(gold.tolist(), candidate.tolist(), live.tolist())
        ).tests

        def gap(index, g=gold, c=candidate, v=live):
            return fast_f1(g[index], c[index]) - fast_f1(g[index], v[index])

        theirs = stats.bootstrap(
            (np.arange(40),), gap, n_resamples=99, confidence_level=0.9, vectorized=False, method="BCa",
            rng=np.random.default_rng(20_240_229),
        ).confidence_interval  # fmt: skip
        assert test.interval == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def fast_f1(gold, said):
    scores = []
    for label in (0, 1):
        seen = np.count_nonzero(gold == label) + np.count_nonzero(said == label)
        if seen:
            scores.append(2 * np.count_nonzero((gold == label) & (said == label)) / seen)
    return sum(scores) / len(scores)


def test_a_metric_that_should_be_low_is_bounded_from_above():
    gold, good, bad = table(60, 5, 100)
    better = comparison(gold, good, bad)
    assert only("better(log_loss, live)", better).passed
    assert only("noninferior(ece, live, margin=0.2)", better).passed
    worse = only("noninferior(log_loss, live, margin=0.1)", comparison(gold, bad, good))
    assert not worse.passed
    assert worse.tests[0].interval[1] > worse.tests[0].estimate > 0.1


def test_a_first_release_is_not_inferior_and_says_why():
    finding = only("noninferior(accuracy, live)", comparison(*table(0, 0, 90, 10)[:2]))
    assert finding.passed
    assert finding.reason == "first release: nothing is live that it could be worse than"
    assert not only("!noninferior(accuracy, live)", comparison(*table(0, 0, 90, 10)[:2])).passed


first = comparison(*table(0, 0, 90, 10)[:2])
REFUSED = {
    "accuracy >= live.accuracy": "nothing is live, so `live.accuracy` has no value",
    "accuracy >= 0.8 || live.accuracy > 0.1": "nothing is live, so `live.accuracy` has no value",
    "better(accuracy, live)": "`better(accuracy, live)`: nothing is live",
    "acc >= 0.8": "unknown name `acc`; nearest: `accuracy`",
    "slices.language.de.accuracy > 0.1": "`slices` is not a finite number or not in the evaluation's report",
    "noninferior(slices.language.de.accuracy, base)": "there is no slice column `language` (there are: none)",
    "accuracy / 0.0 > nan": "unknown name `nan`",
    "1 / 0 > 2": "division by zero",
}


@pytest.mark.parametrize("rule", REFUSED)
def test_a_rule_that_cannot_be_evaluated_refuses_with_the_reason(rule):
    finding = only(rule, first)
    assert not finding.passed
    assert finding.reason.startswith("cannot be evaluated: ")
    assert REFUSED[rule] in finding.reason


@pytest.mark.parametrize("rule", ["f1 > 0.1", "!(f1 < 0.1)", "f1 != 0.3", "accuracy > 0.1 || f1 > 0.1"])
@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_metric_that_is_no_number_refuses_whatever_is_asked_of_it(rule, value):
    gold, candidate, _ = table(0, 0, 90, 10)
    made = comparison(gold, candidate, report={"candidate": {"accuracy": 0.9, "f1": value}})
    finding = only(rule, made)
    assert not finding.passed
    assert "`f1` is not a finite number or not in the evaluation's report" in finding.reason


def test_an_empty_slice_refuses_and_a_slice_is_paired_on_its_own_rows():
    gold, candidate, live = table(30, 10, 60)
    language = ["de"] * 30 + ["fr"] * 60 + ["it"] * 10
    made = comparison(gold, candidate, live, slices={"language": language})
    found = only("better(slices.language.de.accuracy, live)", made)
    assert found.passed
    assert (found.tests[0].rows, found.tests[0].discordant["candidate_only"]) == (30, 30)
    assert (
        "10 rows are too few, it takes at least 20"
        in only("better(slices.language.it.accuracy, live)", made).reason
    )
    assert "0 rows are too few" in only("better(slices.language.es.accuracy, live)", made).reason
    missing = only("slices.language.es.accuracy > 0.1", made)
    assert (
        "`slices.language.es` has no held-out row or is not in `evaluate.slices` (there are: de, fr, it)"
        in missing.reason
    )
    assert only("slices.language.all(v, slices.language[v].accuracy > 0.7)", made).passed
    assert not only("slices.language.all(v, slices.language[v].accuracy > 0.9)", made).passed


def test_a_rule_over_all_slices_refuses_when_there_is_none():
    gold, candidate, _ = table(0, 0, 90, 10)
    made = comparison(gold, candidate, report={"candidate": {"accuracy": 0.9, "slices": {"language": {}}}})
    assert "`slices.language` is empty" in only("slices.language.all(v, false)", made).reason


def test_rows_the_live_release_was_trained_on_are_not_compared():
    gold, candidate, live = table(5, 0, 95)
    made = comparison(gold, candidate, [None] * 60 + live[60:], report={"left_out": 60})
    (test,) = only("noninferior(accuracy, live, margin=0.2)", made).tests
    assert test.rows == 40
    made = comparison(gold, candidate, [None] * 90 + live[90:], report={"left_out": 90})
    assert "10 rows (90 left out) are too few" in only("noninferior(accuracy, live)", made).reason


def test_no_held_out_rows_refuse_everything():
    made = comparison([], [], report={"candidate": {"accuracy": 0.9}})
    assert only("accuracy > 0.5", made).reason == "cannot be evaluated: there are no held-out rows"


def test_what_nobody_knows_to_be_live_is_not_a_first_release():
    gold, candidate, _ = table(0, 0, 90, 10)
    made = comparison(gold, candidate, live_unknown="no server")
    finding = only("noninferior(accuracy, live)", made)
    assert not finding.passed
    assert "it is not known what is live (no server)" in finding.reason


def test_a_live_release_without_answers_refuses():
    gold, candidate, _ = table(0, 0, 90, 10)
    made = comparison(gold, candidate, live_release="m@1.0.0", live_digest="sha256:1")
    assert "no answers of the live release m@1.0.0" in only("noninferior(accuracy, live)", made).reason


def test_an_empty_gate_passes_and_says_so():
    verdict = judge([], first)
    assert verdict.passed
    assert verdict.reason == "no rules: the gate is empty, so everything passes it"


def test_one_refusing_rule_refuses_the_candidate():
    verdict = judge(["accuracy > 0.1", "accuracy > 0.99", "f1 > 0.1"], first)
    assert not verdict.passed
    assert [finding.passed for finding in verdict.findings] == [True, False, True]
    assert verdict.reason == "`accuracy > 0.99`: does not hold: accuracy is 0.9000"


def test_tests_may_be_combined():
    made = comparison(*table(20, 5, 100))
    assert (
        only(
            "accuracy > 0.99 || noninferior(accuracy, live) && !better(accuracy, base, alpha=0.0001)", made
        ).passed
        is False
    )
    assert only("accuracy > 0.99 || noninferior(accuracy, live) && better(f1, live)", made).passed


def test_the_verdict_carries_its_evidence_and_is_the_same_every_time():
    made = comparison(*table(20, 5, 100))
    rules = ["accuracy >= 0.8", "noninferior(accuracy, live)", "better(f1, live)"]
    verdict = judge(rules, made).to_json()
    assert verdict == json.loads(json.dumps(judge(rules, made).to_json()))
    assert (verdict["passed"], verdict["rows"], verdict["live_release"]) == (True, 125, "m@1.0.0")
    bare, paired, bootstrapped = verdict["rules"]
    assert (bare["estimate"], bare["interval"], bare["method"]) == (0.96, None, "point estimate")
    assert (paired["estimate"], paired["method"]) == (0.12, "Tango score bound")
    assert paired["interval"][0] < 0.12 < paired["interval"][1]
    assert paired["tests"][0]["discordant"] == {"candidate_only": 20, "reference_only": 5}
    assert bootstrapped["method"].startswith("BCa bootstrap, 9999 resamples, seed")


def test_two_models_that_answer_alike_are_bounded_by_what_was_not_seen():
    made = comparison(*table(0, 0, 50))
    assert only("noninferior(f1, live, margin=0.06)", made).passed
    assert not only("noninferior(f1, live, margin=0.05)", made).passed
    assert difference(made, "f1", "live", made.shared("live")).per_row.shape == (50, 8)


def test_a_report_and_predictions_of_two_evaluations_are_refused():
    gold, candidate, _ = table(0, 0, 90, 10)
    with pytest.raises(DataError) as caught:
        comparison(gold, candidate, report={"candidate": {"accuracy": 0.91}, "rows": 99})
    assert caught.value.details == ["rows: 99 and 100", "accuracy of candidate: 0.91 and 0.9"]


def test_what_rows_can_decide_is_computed():
    (line,) = decidable(["noninferior(accuracy, live, margin=0.04)"], 426)
    most = most_differing(426, 0.04, 0.05)
    assert f"on at most {most} rows" in line
    assert only("noninferior(accuracy, live)", comparison(*table(most // 2, most // 2, 426 - most))).passed
    assert not only(
        "noninferior(accuracy, live)", comparison(*table(most // 2 + 1, most // 2 + 1, 424 - most))
    ).passed
    assert "82.0% if they are equally good" in line


def test_too_few_rows_are_said_before_training():
    never, few, bare = decidable(
        ["noninferior(accuracy, live, margin=0.01)", "better(slices.a.b.f1, live)", "accuracy >= 0.8"], 64
    )
    assert "even if no answer differs it takes 268 rows" in never
    assert not only("noninferior(accuracy, live, margin=0.01)", comparison(*table(0, 0, 267))).passed
    assert only("noninferior(accuracy, live, margin=0.01)", comparison(*table(0, 0, 268))).passed
    assert few.startswith("better(slices.a.b.f1, live): if all 64 rows were of that slice")
    assert "it takes 52 right" in bare
    assert decidable(["better(f1, live)"], 19) == [
        "better(f1, live): refuses: 19 held-out rows are too few, it takes at least 20"
    ]
    assert decidable(["not a rule"], 64) == []


def test_a_margin_of_nothing_asks_for_a_better_one():
    assert (
        "with margin=0 it asks for a better one"
        in decidable(["noninferior(accuracy, live, margin=0)"], 426)[0]
    )


@pytest.mark.slow
def test_the_table_in_the_documentation_is_what_is_computed():
    """Every row of docs/gate.md's table of what rows can decide, to the digit."""
    text = (Path(__file__).parents[2] / "docs" / "gate.md").read_text(encoding="utf-8")
    table_rows = [
        line.strip("| ").split(" | ") for line in text.splitlines() if re.match(r"\| \d+ \| 0\.\d+ \|", line)
    ]
    assert len(table_rows) == 10
    for rows, margin, most, *chances in table_rows:
        n, m = int(rows), float(margin)
        found = [noninferior_power(n, m, 0.05, 0.1, loss) for loss in (0, m / 2, m)]
        found += [better_power(n, 0.05, 0.1, gain) for gain in (0.02, 0.04)]
        shown = [f"{100 * p:.1f}%" if p < 0.9995 else "over 99.9%" for p in found]
        assert chances == shown
        differing = most_differing(n, m, 0.05)
        assert most == {-1: "never", n: "all"}.get(differing, f"{differing} ({100 * differing / n:.1f}%)")


def test_the_metrics_of_the_gate_are_those_of_the_evaluation():
    """Two implementations, one for reports and one as sums over rows, give the same numbers."""
    rng = np.random.default_rng(2)
    gold, p = rng.integers(0, 2, 300), rng.uniform(0.01, 0.99, 300)
    probabilities = np.column_stack([1 - p, p])
    said = probabilities.argmax(axis=1)
    compared = comparison(
        gold.tolist(), said.tolist(), base=said.tolist(), p=probabilities.max(axis=1).tolist()
    )
    reported = evaluation.report(gold, probabilities, list(LABELS))
    for metric in ("accuracy", "f1", "ece", "log_loss"):
        assert total(compared, metric, "candidate", np.arange(300)) == pytest.approx(
            reported[metric], abs=1e-12
        )
