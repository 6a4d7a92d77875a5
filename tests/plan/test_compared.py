"""The table kept with a release: what was compared, with counts, estimates and intervals."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from tests.plan.test_gate import comparison, table
from tests.plan.test_latency import timed

from tuneline.plan.compared import compared
from tuneline.plan.statistics import tango_interval

WHERE = {"site": ["a"] * 150 + ["b"] * 10}


def lines(found, **wanted):
    return [one for one in found["lines"] if all(one[key] == value for key, value in wanted.items())]


def main(**more):
    return replace(comparison(*table(14, 4, 120, 22), slices=WHERE), **more)


def test_the_main_set_s_line_has_both_models_the_difference_and_who_alone_was_right():
    (line,) = lines(compared(main()), set="", column="", metric="accuracy")
    assert (line["rows"], line["candidate"], line["live"]) == (160, 134 / 160, 124 / 160)
    assert line["discordant"] == {"candidate_only": 14, "reference_only": 4}
    known = tango_interval(14, 4, 160, 0.025)
    assert line["difference_interval"] == [known.low, known.high]
    wilson = stats.binomtest(134, 160).proportion_ci(0.95, method="wilson")
    assert line["interval"] == pytest.approx([wilson.low, wilson.high])


def test_log_loss_is_a_paired_mean_as_scipy_has_it():
    compared_one = main()
    losses = [-np.log(np.maximum(compared_one.answers[who].gold_p, 1e-15)) for who in ("candidate", "live")]
    metrics = {who: {**found} for who, found in compared_one.metrics.items()}
    for who, loss in zip(("candidate", "live"), losses, strict=True):
        metrics[who]["log_loss"] = float(loss.mean())
    (line,) = lines(compared(replace(compared_one, metrics=metrics)), metric="log_loss", column="")
    apart = losses[0] - losses[1]
    known = stats.norm.interval(0.95, apart.mean(), stats.sem(apart))
    assert (line["difference"], line["method"]) == (pytest.approx(apart.mean()), "paired means, normal")
    assert line["difference_interval"] == pytest.approx(list(known))


def test_a_reported_number_that_the_predictions_do_not_give_has_no_interval():
    (line,) = lines(compared(main()), metric="f1", column="")  # 0.5 by the report
    assert (line["candidate"], line["difference"], line["interval"]) == (0.5, None, None)


def test_slices_and_sets_have_lines_and_few_rows_have_no_interval():
    hard = comparison(*table(5, 5, 30), report={"left_out": 3})
    hard = replace(
        hard, about={"rows_digest": "sha256:2", "set": {"source": "hard.csv", "digest": "sha256:3"}}
    )
    one = main()
    metrics = {who: {**found} for who, found in one.metrics.items()}
    for who in ("candidate", "live"):
        right = one.right(who, np.arange(160))
        metrics[who]["slices"] = {
            "site": {
                value: {"rows": int(here.sum()), "accuracy": float(right[here].mean())}
                for value in ("a", "b")
                for here in [one.slices["site"] == value]
            }
        }
    found = compared(replace(one, metrics=metrics, sets={"hard": hard}))
    (large,), (small,) = (lines(found, column="site", value=value, metric="accuracy") for value in ("a", "b"))
    assert large["difference"] == pytest.approx(large["candidate"] - large["live"])
    assert large["difference_interval"] is not None
    assert (small["rows"], small["difference"]) == (10, None)
    assert lines(found, set="hard", metric="accuracy")[0]["rows"] == 40
    assert found["sets"][1] == {
        "set": "hard", "rows": 40, "left_out": 3, "rows_digest": "sha256:2", "source": "hard.csv",
        "source_digest": "sha256:3",
    }  # fmt: skip


def test_a_first_release_is_compared_with_its_base_and_models_are_named_by_digest():
    about = {"models": {"candidate": {"digest": "sha256:c"}, "base": {"name": "gemma", "digest": "sha256:b"}}}
    first = replace(comparison(*table(0, 0, 90, 10)[:2]), about=about)
    found = compared(first)
    assert found["against"] == "base"
    assert found["models"] == about["models"]
    assert compared(main())["models"]["live"] == {"release": "m@1.0.0", "digest": "sha256:1"}


def test_latency_is_kept_without_each_prompt_s_numbers_and_all_of_it_is_json():
    measured = {"schema": 1, "warmup": 4, "candidate": timed(1.1), "live": timed(1.0)}
    found = compared(main(latency=measured))
    assert found["latency"]["live"]["p95"] == timed(1.0)["p95"]
    assert "per_prompt" not in found["latency"]["candidate"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_very_many_values_are_left_off_and_counted():
    one = main(slices={"user": np.array([f"u{at:03}" for at in range(160)])})
    values = {
        f"u{at:03}": {"rows": 1, **dict.fromkeys(("accuracy", "f1", "mse", "mae"), 1.0)} for at in range(160)
    }
    metrics = {**one.metrics, "candidate": {"accuracy": 134 / 160, "slices": {"user": values}}}
    found = compared(replace(one, metrics=metrics))
    assert (len(found["lines"]), found["left_off"]) == (500, 641 - 500)
