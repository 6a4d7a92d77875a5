"""Latency in rules: numbers of what was timed, when it is measured, and what the gate makes of it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from tests.plan.test_gate import comparison, only, table
from tests.plan.test_held_out_sets import PROJECT, SETS, compiled

from tuneline.errors import SpecError
from tuneline.plan.latency import names_latency, summary
from tuneline.plan.rules import parse
from tuneline_ir import parse as parse_ir

RNG = np.random.default_rng(7)
LIVE = [float(x) for x in RNG.lognormal(-2, 0.3, 64)]


def timed(factor, extra=0.0):
    return summary([(x * factor + extra, x / 4, 8) for x in LIVE])


def measured(candidate, live="same", rows=90):
    of = {"candidate": candidate, "live": timed(1.0) if live == "same" else live}
    main = comparison(*table(0, 0, rows)) if live else comparison(*table(0, 0, rows)[:2])
    return replace(main, latency=of)


def test_the_numbers_are_those_of_the_answers():
    found = timed(1.0)
    assert found["p95"] == pytest.approx(np.quantile(LIVE, 0.95))
    assert found["ttft_p50"] == pytest.approx(np.median(LIVE) / 4)
    assert found["tokens_per_s"] == pytest.approx(8 * 64 / sum(LIVE))
    parts = [np.median(part) for part in np.array_split(LIVE, 3)]
    assert found["spread"]["p50"] == pytest.approx([min(parts), max(parts)])
    alone = summary([(x, None, None) for x in LIVE])  # pyfunc: no stream, no tokens
    assert not {"ttft_p50", "tokens_per_s"} & set(alone)


@pytest.mark.parametrize(
    ("rule", "passed", "said"),
    [
        ("latency.p95 <= 10.0", True, "latency.p95 is"),
        ("latency.p95 <= 1.05 * live.latency.p95", False, "live.latency.p95 is"),
        ("latency.p50 <= 1.2 * live.latency.p50 && latency.tokens_per_s > 1.0", True, ""),
        ("latency.prompts == 64", True, ""),
        ("noninferior(latency.mean, live, margin=0.05)", True, "latency.mean +0.0"),
        ("noninferior(latency.mean, live, margin=0.005)", False, "against live on 64 prompts"),
        ("better(latency.mean, live)", False, "is not under +0"),
        ("noninferior(latency.mean, base)", False, "the base is not served"),
    ],
)
def test_a_candidate_a_tenth_slower(rule, passed, said):
    found = only(rule, measured(timed(1.1)))
    assert (found.passed, said in found.reason) == (passed, True), found.reason


def test_the_paired_bootstrap_is_that_of_the_differences():
    test = only("noninferior(latency.mean, live, margin=0.05)", measured(timed(1.1, 0.01))).tests[0]
    apart = np.array(LIVE) * 0.1 + 0.01
    known = stats.bootstrap(
        (apart,), np.mean, confidence_level=0.9, method="BCa", rng=np.random.default_rng(1)
    )
    assert test.estimate == pytest.approx(apart.mean())
    assert test.interval == pytest.approx(tuple(known.confidence_interval), rel=0.05)


def test_what_was_not_measured_refuses_with_the_reason():
    nothing = comparison(*table(0, 0, 90))
    assert "`latency` was not measured" in only("latency.p95 <= 1.0", nothing).reason
    alone = summary([(x, None, None) for x in LIVE])
    assert "is not measured on this runtime" in only("latency.ttft_p50 <= 1.0", measured(alone)).reason
    first = measured(timed(1.0), live=None)
    assert "nothing is live" in only("latency.p95 <= live.latency.p95", first).reason
    assert only("noninferior(latency.mean, live, margin=0.05)", first).passed
    assert only("latency.p95 <= 10.0", first).passed


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ("latency < 1.0", "`latency` is no number; write e.g. `latency.p95`"),
        ("latency.p59 < 1.0", "there is no `latency.p59`; nearest: `p95`"),
        ("live.latency.p95.x < 1.0", "there is no `live.latency.p95.x`"),
        ("noninferior(latency.p95, live)", "of latency it knows `latency.mean` and `latency.ttft_mean`"),
        ("sets.hard.latency.p95 < 1.0", "a set has no `latency`"),
    ],
)
def test_faults_are_found_before_anything_runs(rule, fault):
    with pytest.raises(SpecError) as caught:
        parse(rule)
    assert fault in caught.value.message


def test_it_is_measured_only_where_a_rule_names_it_and_after_all_else(tmp_path):
    assert not names_latency(["accuracy > 0.5", 'slices.kind["latency"].f1 > 0.1', "a ~ latency", 7])
    plain, more = (
        compiled(tmp_path, PROJECT + SETS + gate) for gate in ("", 'gate: ["latency.p95 <= 0.5"]\n')
    )
    tasks = parse_ir(more).tasks
    assert "measure" not in plain["root"]["dag"]["tasks"]
    busy = {"evaluate", "evaluate-hard", "evaluate-red-team", "package"}
    assert busy | {"verify"} <= set(tasks["measure"].needs)
    assert tasks["gate"].artifacts["latency"].task == "measure"
    assert list(tasks).index("measure") < list(tasks).index("gate") < list(tasks).index("propose")
    for name in set(plain["components"]) - {"comp-gate"}:  # nothing else is run again
        assert json.dumps(plain["components"][name]) == json.dumps(more["components"][name])
