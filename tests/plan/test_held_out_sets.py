"""Further held-out sets and safety slices: the tasks they add, what the gate makes of them."""

from dataclasses import replace

import pytest
from tests.plan.test_gate import comparison, only, table

from tuneline.errors import SpecError
from tuneline.plan.compile import compile_project
from tuneline.plan.gate import judge
from tuneline.plan.power import decidable, known_rows, rows_needed
from tuneline.plan.rules import check_rules, parse
from tuneline.plan.safety import safety_rules
from tuneline.spec.project import parse as project_of
from tuneline_ir import parse as parse_ir

PROJECT = """name: demo
data: {source: rows.csv, prompt: "{text}", completion: " {label}"}
base_model: gemma-3-270m
"""
SETS = 'evaluate: {sets: {hard: {source: hard.csv, where: "n > 3"}, red_team: {source: red.csv}}}\n'


def compiled(tmp_path, text):
    return compile_project(project_of(text, tmp_path).project)


def with_set(main, hard, **known):
    """The comparison `main` with one further set."""
    return replace(main, sets={"hard": hard}, **known)


def test_each_set_has_tasks_of_its_own_and_the_gate_reads_them(tmp_path):
    ir = compiled(tmp_path, PROJECT + SETS)
    tasks = parse_ir(ir).tasks
    own = {
        f"{task}-{name}"
        for task in ("fetch", "prepare", "score", "evaluate")
        for name in ("hard", "red-team")
    }
    assert own <= set(tasks)
    assert not tasks["fetch-hard"].cached  # asked again in every run, as the main source is
    assert {"report_hard", "predictions_hard", "report_red_team"} <= set(tasks["gate"].artifacts)
    assert tasks["evaluate-hard"].artifacts["test"].task == "prepare-hard"
    assert tasks["prepare-hard"].artifacts["train"].task == "prepare"  # rows that are trained on are left out
    inputs = ir["root"]["inputDefinitions"]["parameters"]
    assert inputs["evaluate_sets_hard_where"]["defaultValue"] == "n > 3"
    assert inputs["evaluate_sets_red_team_source"]["defaultValue"] == str(tmp_path / "red.csv")


def test_nothing_of_a_set_reaches_the_package_and_other_tasks_stay_as_they_are(tmp_path):
    plain, more = compiled(tmp_path, PROJECT), compiled(tmp_path, PROJECT + SETS)
    for part in ("components", "deploymentSpec"):
        one = plain[part].get("executors", plain[part])
        other = more[part].get("executors", more[part])
        changed = {name for name in one if one[name] != other[name]}
        assert changed <= {"comp-gate"}
    tasks = more["root"]["dag"]["tasks"]
    seen, todo = set(), ["package"]
    while todo:
        name = todo.pop()
        seen.add(name)
        todo += [one for one in tasks[name].get("dependentTasks", ()) if one not in seen]
    assert not [name for name in seen if name.endswith(("-hard", "-red-team"))]


@pytest.mark.parametrize(
    ("rule", "passed", "said"),
    [
        ("sets.hard.accuracy >= 0.70", True, "sets.hard.accuracy is 0.7500"),
        ("live.sets.hard.accuracy < sets.hard.accuracy", True, "live.sets.hard.accuracy is 0.7000"),
        ("sets.all(s, sets[s].accuracy >= 0.8)", False, ""),
        ("sets.hard.rows == 200 && sets.hard.left_out == 0", True, "sets.hard.rows is 200"),
        ("better(sets.hard.accuracy, live)", True, "sets.hard.accuracy +0.0500 against live on 200 rows"),
        ("noninferior(sets.hard.accuracy, live, margin=0.02)", True, "is above -0.02"),
        ("better(accuracy, live)", False, "on 100 rows"),
        ('noninferior(sets.hard.slices.source["a b"].accuracy, live)', True, "on 100 rows"),
        (
            "sets.soft.accuracy > 0.5",
            False,
            "`sets.soft` is no held-out set that was compared (there are: hard)",
        ),
        ("noninferior(sets.soft.accuracy, live)", False, "there is no held-out set `soft` (there are: hard)"),
    ],
)
def test_a_rule_reads_the_set_it_names(rule, passed, said):
    where = {"source": ["a b"] * 100 + ["c"] * 100}
    hard = comparison(*table(14, 4, 136, 46), slices=where)
    found = only(rule, with_set(comparison(*table(0, 0, 90, 10)), hard))
    assert (found.passed, said in found.reason) == (passed, True), found.reason


def test_a_first_release_passes_a_set_s_comparison_too():
    main, hard = (comparison(*table(0, 0, 90, 10)[:2]) for _ in range(2))
    assert only("noninferior(sets.hard.accuracy, live)", with_set(main, hard)).passed
    assert "nothing is live" in only("live.sets.hard.accuracy > 0.5", with_set(main, hard)).reason


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ("sets.hart.f1 > 0.5", "`hart` is no held-out set; give it in `evaluate.sets`; nearest: `hard`"),
        ("noninferior(sets.hart.f1, live)", "nearest: `hard`"),
        ("base.sets.hart.f1 > 0.5", "nearest: `hard`"),
        ("sets.hard.acuracy > 0.5", "a set has no `acuracy` (`sets.hard.acuracy`); nearest: `accuracy`"),
        (
            "sets.hard.slices.sight.x.f1 > 0.5",
            "`sight` is no slice; list it in `evaluate.slices`; nearest: `site`",
        ),
        ("noninferior(sets.hard, live)", "`noninferior` needs one set's metric: `sets.NAME.accuracy`"),
        ("sets.hard > 0.5", ""),
    ],
)
def test_a_set_that_is_not_there_is_a_fault_of_check_with_the_nearest(rule, fault):
    (found,) = check_rules([rule], slices=["site"], sets=["hard"])
    assert fault in found


def test_a_set_s_own_metric_is_known_to_check():
    assert check_rules(["sets.hard.missed <= 0.1"], own=["missed"], sets=["hard"]) == []
    with pytest.raises(SpecError):
        parse("sets.hard.missed <= 0.1")


SAFETY = {"slices": {"site": ["a", "b c"]}, "metric": "accuracy", "margin": 0.1, "alpha": 0.05}


def test_safety_slices_split_alpha_evenly_and_name_their_origin():
    assert safety_rules(SAFETY) == [
        'noninferior(slices["site"]["a"].accuracy, live, margin=0.1, alpha=0.025)',
        'noninferior(slices["site"]["b c"].accuracy, live, margin=0.1, alpha=0.025)',
    ]
    where = {"site": ["a"] * 100 + ["b c"] * 100}
    found = judge(["accuracy > 0.5"], comparison(*table(0, 0, 200), slices=where), SAFETY)
    assert found.passed
    assert [finding.origin for finding in found.findings[1:]] == [
        "evaluate.safety: alpha 0.05 over 2 slices"
    ] * 2
    assert "origin" not in found.to_json()["rules"][0]


def test_one_slice_that_got_worse_stops_a_candidate_that_is_better_on_the_whole():
    where = {"site": ["b c"] * 160 + ["a"] * 40}
    gold, candidate, live = table(30, 0, 130)
    worse = table(0, 12, 28)
    compared = comparison(gold + worse[0], candidate + worse[1], live + worse[2], slices=where)
    found = judge(["better(accuracy, live)"], compared, SAFETY)
    assert [finding.passed for finding in found.findings] == [True, False, True]
    assert "slices.site.a.accuracy -0.3000 against live on 40 rows" in found.findings[1].reason


@pytest.mark.parametrize(("rows", "decides"), [(10, False), (30, False), (34, False), (35, True)])
def test_a_slice_too_small_to_decide_refuses_and_says_how_many_rows_it_takes(rows, decides):
    """At margin 0.1 and alpha 0.025: n 0.1 / 0.9 >= 1.96^2, so 35 rows."""
    assert rows_needed(0.1, 0.025) == 35
    where = {"site": ["a"] * rows + ["b c"] * 100}
    found = judge([], comparison(*table(0, 0, rows + 100), slices=where), SAFETY)
    assert found.findings[0].passed is decides
    assert ("answers alike it takes 35 rows to rule out 0.1" in found.findings[0].reason) is not decides


def test_a_slice_without_any_row_refuses():
    where = {"site": ["b c"] * 100}
    found = judge([], comparison(*table(0, 0, 100), slices=where), SAFETY)
    assert "0 rows are too few" in found.findings[0].reason


def test_check_says_what_the_rows_of_a_slice_or_set_decide():
    compared = {
        "lines": [
            {"set": "", "column": "site", "value": "a", "rows": 12},
            {"set": "", "column": "site", "value": "b c", "rows": 30},
            {"set": "hard", "column": "", "value": "", "rows": 426},
            {"set": "", "column": "", "value": "", "rows": 900},
        ]
    }
    rules = [
        *safety_rules(SAFETY),
        "noninferior(sets.hard.accuracy, live)",
        "better(sets.soft.accuracy, live)",
    ]
    few, short, hard, soft = decidable(rules, 900, known_rows(compared))
    assert few.endswith("refuses: 12 held-out rows are too few, it takes at least 35")
    assert short.endswith(
        "with 30 rows it cannot pass an equally good candidate; even if no answer differs it takes 35 rows"
    )
    assert (
        "with 426 rows it passes an equally good candidate that differs from live on at most 104 rows" in hard
    )
    assert soft.endswith("known once a run has held out rows of `sets.soft`")
