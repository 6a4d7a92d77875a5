"""The words of notices, and when they are sent again."""

import pytest

from tuneline.plan.delivery import FIRST_S, LONGEST_S, MAX_ATTEMPTS, POLITE_S, Outcome, next_at, wait_s
from tuneline.plan.notice_text import LONGEST
from tuneline.plan.notices import TITLE, judged, message
from tuneline.spec.targets import KINDS

VERDICT = {
    "passed": True,
    "live_release": "m@1.0.0",
    "rules": [
        {"rule": "accuracy >= 0.80", "passed": True, "estimate": 0.8425, "interval": None},
        {
            "rule": "noninferior(accuracy, live)",
            "passed": False,
            "estimate": -0.012,
            "interval": [-0.05, 0.026],
        },
    ],
}
REPORT = {
    "rows": 400,
    "candidate": {"accuracy": 0.8425, "confusion": []},
    "live": {"accuracy": 0.8545},
    "base": None,
}
ABOUT = {
    "run_failed": {"run": "r1", "project": "m", "error": {"message": "A task failed.", "hint": "Look."},
                   "tasks": [{"task": "tune", "message": "Out of memory."}]},
    "verdict": {"release": "m@1.1.0", "state": "rejected", "run": "r1", "why": "it was refused"},
    "approval_wanted": {"release": "m@1.1.0", "run": "r1"} | judged(VERDICT, REPORT),
    "rolled_out": {"endpoint": "m", "release": "m@1.1.0", "before": "m@1.0.0", "why": "ready"},
    "rolled_back": {"endpoint": "m", "release": "m@1.1.0", "to": "m@1.0.0", "why": "errors",
                    "numbers": [{"metric": "errors", "interval": [0.01, 0.2], "requests": 900}]},
    "drift": {"endpoint": "m", "run": "r2", "why": "prompts are longer", "numbers": [{"detector": "length"}]},
}  # fmt: skip


@pytest.mark.parametrize("kind, title, next_command", [
    ("run_failed", "m: run r1 failed", "tuneline runs retry r1"),
    ("verdict", "m@1.1.0 was rejected", "tuneline releases show m@1.1.0"),
    ("approval_wanted", "m@1.1.0 waits for approval", 'tuneline releases approve m@1.1.0 --comment "..."'),
    ("rolled_out", "m@1.1.0 is live at m", "tuneline history m"),
    ("rolled_back", "m@1.1.0 was rolled back at m", "tuneline releases show m@1.1.0"),
    ("drift", "Drift at m", "tuneline drift m"),
])  # fmt: skip
def test_every_kind_says_what_happened_and_what_to_do_next(kind, title, next_command):
    said = message(kind, ABOUT[kind], "https://here.example")
    assert said.title == title
    for words in (said.markdown, said.text):
        assert next_command in words
        assert str(ABOUT[kind].get("why", "")) in words
        assert ("https://here.example/runs/" in words) == bool(ABOUT[kind].get("run"))
    assert "https://" not in message(kind, ABOUT[kind]).markdown


def test_a_verdict_has_its_table():
    said = message("verdict", ABOUT["verdict"] | judged(VERDICT, REPORT)).text
    assert said.splitlines()[2:12] == [
        "rule                                estimate  interval",
        "accuracy >= 0.80             holds  0.8425    -",
        "noninferior(accuracy, live)  FAILS  -0.012    -0.05 .. 0.026",
        "",
        "metric    live    candidate",
        "accuracy  0.8545  0.8425",
        "",
        "On 400 held-out rows; live is m@1.0.0.",
        "",
        "Next:",
    ]


def test_a_rollback_has_its_numbers_and_a_drift_its_run():
    assert "errors  0.01 .. 0.2  900" in message("rolled_back", ABOUT["rolled_back"]).text
    assert "Run r2 trains anew." in message("drift", ABOUT["drift"]).text


@pytest.mark.parametrize("kind", [*KINDS, "of a later program"])
def test_a_message_is_never_longer_than_slack_takes_and_keeps_what_to_do(kind):
    long = "x" * 9000
    rules = [{"rule": f"{n} {long}", "passed": False, "estimate": 0.1, "interval": [0, 1]} for n in range(99)]
    about = {
        "run": "r1", "project": long, "release": "m@1.0.0", "endpoint": "m", "why": long, "by": long,
        "error": {"message": long, "hint": long}, "tasks": [{"task": "a", "message": long}] * 5,
        "numbers": [{"metric": long}] * 99,
    } | judged({"rules": rules}, REPORT)  # fmt: skip
    said = message(kind, about, "https://here.example")
    assert len(said.title) <= TITLE
    for words in (said.markdown, said.text):
        assert len(words) <= LONGEST
        assert words.endswith(("https://here.example/runs/r1)", "https://here.example/runs/r1"))
        assert ("tuneline" in words) == (kind in KINDS)
    assert said.markdown.count("```") % 2 == 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_users_code_says_is_no_markup_and_calls_nobody(kind):
    bad = "<!channel> <@U1> *b* [x](http://evil.example) ``` _i_"
    about = {"why": bad, "error": {"message": bad}, "tasks": [{"task": "t", "message": bad}], "endpoint": "m",
             "numbers": [{"why": bad}]}  # fmt: skip
    words = message(kind, about).markdown
    fenced = [part for place, part in enumerate(words.split("```")) if place % 2]
    outside = "".join(part for place, part in enumerate(words.split("```")) if place % 2 == 0)
    assert words.count("```") == 2 * len(fenced)
    for mark in ("<", "*", "[", "`"):
        assert outside.count(mark) == outside.count("\\" + mark)


@pytest.mark.parametrize("kind", KINDS)
def test_facts_that_are_missing_are_left_out(kind):
    assert message(kind, {}).title


def test_waits_double_to_a_bound_and_a_service_may_ask_for_longer_ones():
    assert [wait_s(n) for n in (1, 2, 3)] == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S]
    assert wait_s(500) == LONGEST_S
    assert wait_s(1, 90.0) == 90.0
    assert wait_s(3, 1.0) == 4 * FIRST_S
    assert wait_s(1, 1e9) == POLITE_S


def test_what_is_final_or_was_tried_often_enough_is_given_up():
    busy = Outcome(False, "busy", retry_after_s=30)
    assert next_at(busy, 1, 100.0) == 130.0
    assert next_at(busy, MAX_ATTEMPTS, 100.0) is None
    assert next_at(Outcome(False, "no", final=True), 1, 100.0) is None
