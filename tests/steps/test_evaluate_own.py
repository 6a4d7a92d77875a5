"""Predictions of own code, judged: every number against scikit-learn's definitions, worked out by hand."""

import json
import math

import polars as pl
import pytest

from tuneline.errors import DataError
from tuneline.plan.comparison import Comparison
from tuneline.plan.gate import judge
from tuneline.steps.evaluate_own import compare

ROWS = pl.DataFrame(
    {
        "row": [f"{at:032x}" for at in range(40)],
        "label": ["a", "b", "b", "c"] * 10,
        "keep_site": ["x", "y"] * 20,
    }
)


def found(predictions, **metrics):
    return {"metrics": metrics, "predictions": predictions}


def verdicts(rules, candidate, live=None, task="classify", rows=ROWS, slices=("site",)):
    """Each rule with whether it holds, and why, as the gate's step has it from files."""
    models = {"candidate": candidate} | ({"live": live} if live else {})
    report, table = compare(rows, task, models, slices)
    report = json.loads(json.dumps(report | {"left_out": 0}, allow_nan=False))
    columns = {name: table[name].to_list() for name in table.columns if name != "row"}
    digest = "sha256:1" if live else ""
    made = Comparison.of(report, columns, live_release="m@1.0.0" if live else "", live_digest=digest)
    return [(finding.passed, finding.reason) for finding in judge(rules, made).findings]


def test_classes_have_metrics_a_matrix_and_slices():
    said = ["a", "b", "c", "c"] * 10
    report, _ = compare(ROWS, "classify", {"candidate": found(said)}, ["site"])
    numbers = report["candidate"]
    assert numbers["accuracy"] == 0.75
    assert numbers["precision"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert numbers["recall"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert numbers["f1"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert numbers["confusion_matrix"] == {
        "labels": ["a", "b", "c"],
        "rows": [[10, 0, 0], [0, 10, 10], [0, 0, 10]],
    }
    assert numbers["classes"]["b"] == {
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
        "rows": 20,
    }
    assert numbers["slices"]["site"]["x"] == {"rows": 20, "accuracy": 0.5, "f1": pytest.approx(1 / 3)}
    assert report["live"] is None


def test_every_kind_of_rule_reads_them():
    rules = [
        "f1 >= 0.7", "confusion_matrix.b.c <= 10", "confusion_matrix.b.c < 10", "classes.c.recall == 1.0",
        "double(confusion_matrix.b.c) / double(rows) <= 0.25", "mse <= 0.1", "lost <= 0.2",
        "confusion_matrix.b.z < 1",
        "slices.site.y.accuracy == 1.0",
    ]  # fmt: skip
    said = [{"label": label, "scores": {"mse": 0.05}} for label in ["a", "b", "c", "c"] * 10]
    holds = verdicts(rules, found(said, lost=0.1))
    assert [passed for passed, _ in holds] == [True, True, False, True, True, True, True, False, True]
    assert "`confusion_matrix.b.z` is not there (there are: a, b, c)" in holds[7][1]


def test_labels_that_are_numbers_have_errors_too_and_are_compared_as_written():
    rows = ROWS.with_columns(label=pl.Series(["0", "1"] * 20))
    report, _ = compare(rows, "classify", {"candidate": found([0.0, 1, 0, 0] * 10)}, [])
    assert report["labels"] == ["0", "1"]
    assert report["candidate"]["accuracy"] == 0.75
    assert report["candidate"]["mse"] == 0.25


def test_probabilities_give_calibration_and_loss():
    said = [
        {
            "label": "a" if label == "a" else "b",
            "probabilities": {"a": 0.75 if label == "a" else 0.25, "b": 0.25},
        }
        for label in ROWS["label"]
    ]
    report, table = compare(ROWS, "classify", {"candidate": found(said)}, [])
    gold = [{"a": 0.75, "b": 0.25, "c": 1e-15}[label] for label in ROWS["label"]]
    assert report["candidate"]["log_loss"] == pytest.approx(-sum(map(math.log, gold)) / 40)
    assert table["candidate_gold_p"].to_list() == [
        {"a": 0.75, "b": 0.25, "c": 0.0}[label] for label in ROWS["label"]
    ]


def test_numbers_have_errors_and_paired_tests_on_them():
    rows = ROWS.with_columns(label=pl.Series([str(at / 2) for at in range(40)]))
    good = [at / 2 + (0.1 if at % 2 else -0.1) for at in range(40)]
    bad = [at / 2 + (1.0 if at % 3 else -0.5) for at in range(40)]
    report, _ = compare(rows, "regress", {"candidate": found(good)}, [])
    numbers = report["candidate"]
    assert (numbers["mse"], numbers["mae"], numbers["rmse"]) == pytest.approx((0.01, 0.1, 0.1))
    assert numbers["r2"] == pytest.approx(1 - 0.01 * 40 / sum((at / 2 - 9.75) ** 2 for at in range(40)))
    rules = ["better(mse, live)", "noninferior(rmse, live, margin=0.1)", "mae <= live.mae", "r2 >= 0.9"]
    assert [ok for ok, _ in verdicts(rules, found(good), found(bad), "regress", rows)] == [True] * 4
    assert [ok for ok, _ in verdicts(rules[:3], found(bad), found(good), "regress", rows)] == [False] * 3


def test_own_metrics_are_read_by_rules_and_in_pairs_where_every_row_has_them():
    def said(cost):
        return [{"label": label, "scores": {"cost": cost}} for label in ROWS["label"]]

    rules = ["cost < 2.0", "better(cost, live)", "noninferior(cost, live, margin=0.5)"]
    holds = verdicts(rules, found(said(1.0)), found(said(2.0)))
    assert [passed for passed, _ in holds] == [True, False, False], "less of a cost is not known to be better"
    rules = [rule.replace("cost", "cost_loss") for rule in rules]
    worse = [{"label": one["label"], "scores": {"cost_loss": 2.0 + at % 3}} for at, one in enumerate(said(0))]
    better = [
        {"label": one["label"], "scores": {"cost_loss": 1.0 + at % 2 / 9}} for at, one in enumerate(said(0))
    ]
    assert [passed for passed, _ in verdicts(rules, found(better), found(worse))] == [True] * 3


def test_a_metric_that_means_another_thing_by_a_known_name_is_read_but_not_paired():
    said = found(ROWS["label"].to_list(), f1=0.5)
    holds = verdicts(["f1 <= 0.5", "noninferior(f1, live)", "accuracy == 1.0"], said, said)
    assert [passed for passed, _ in holds] == [True, False, True]
    assert "`f1` of the project's own code is 0.5000, and 1.0000 by the predictions" in holds[1][1]


def test_metrics_alone_can_be_ruled_on_and_paired_tests_say_what_is_missing():
    holds = verdicts(
        ["auc >= 0.9", "noninferior(auc, live)", "accuracy > 0.1"], found(None, auc=0.95), found(None, auc=1)
    )
    assert [passed for passed, _ in holds] == [True, False, False]
    assert "0 rows" in holds[1][1]
    assert "unknown name `acuracy`" in verdicts(["acuracy > 1"], found(None, auc=0.95))[0][1]


def test_a_metric_that_is_no_number_refuses():
    passed, why = verdicts(["auc >= 0.9"], found(None, auc=math.nan))[0]
    assert not passed
    assert "not a finite number" in why


def test_predictions_that_are_no_numbers_are_refused_with_their_row():
    with pytest.raises(DataError, match=r"held-out row 3 is no finite number: 'x'"):
        compare(
            ROWS.with_columns(label=pl.lit("1")), "regress", {"candidate": found([1, 2, "x"] + [0] * 37)}, []
        )
