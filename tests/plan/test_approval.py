"""What becomes of content that is proposed again: every combination."""

from itertools import product

import pytest

from tuneline.plan.approval import APPROVED, CANDIDATE, REJECTED, WITHDRAWN, Approval, Next, again, first
from tuneline.plan.verdict import numbers

ASKED = Approval(run="r1")
YES = Approval(run="r1", decision=APPROVED, by="ann", against="old", again=True)
NO = Approval(run="r1", decision=REJECTED, by="ann", against="old")


def test_new_content_is_asked_about_only_if_it_passed_and_somebody_is_to_be_asked():
    assert [first(*given) for given in product((True, False), (True, False))] == [
        Next.ASK, Next.APPROVE, Next.REJECT, Next.REJECT,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "state, approval, passed, required, live, wanted, expected",
    [
        (CANDIDATE, ASKED, True, True, "old", False, Next.NOTHING),
        (CANDIDATE, ASKED, True, True, "new", False, Next.ASK),
        (CANDIDATE, ASKED, True, False, "old", False, Next.APPROVE),
        (CANDIDATE, ASKED, False, True, "new", False, Next.REJECT),
        (CANDIDATE, YES, True, True, "new", False, Next.CARRY),
        (CANDIDATE, YES, False, True, "new", False, Next.REJECT),
        (REJECTED, Approval(), True, True, "old", False, Next.ASK),
        (REJECTED, Approval(), True, False, "old", False, Next.APPROVE),
        (REJECTED, Approval(), False, True, "old", False, Next.NOTHING),
        (REJECTED, NO, True, True, "old", False, Next.NOTHING),
        (REJECTED, NO, True, False, "old", False, Next.NOTHING),
        (REJECTED, NO, True, True, "new", False, Next.ASK),
        (APPROVED, Approval(), True, False, "new", True, Next.NOTHING),
        (APPROVED, Approval(), False, False, "new", False, Next.NOTHING),
        (APPROVED, Approval(), True, False, "new", False, Next.APPROVE),
        (APPROVED, YES, True, True, "new", False, Next.ASK),
        (WITHDRAWN, YES, True, True, "new", False, Next.ASK),
    ],
)
def test_known_content(state, approval, passed, required, live, wanted, expected):
    given = {"passed": passed, "required": required, "live": live, "wanted": wanted}
    assert again(state, approval, "old", **given) is expected


def test_nothing_goes_on_without_a_yes_where_one_is_required():
    states, approvals = (CANDIDATE, APPROVED, REJECTED, WITHDRAWN), (ASKED, YES, NO)
    for state, approval, live, wanted in product(states, approvals, ("old", "new"), (True, False)):
        step = again(state, approval, "old", passed=True, required=True, live=live, wanted=wanted)
        assert step is not Next.APPROVE
        assert step is not Next.CARRY or (approval.decision == APPROVED and state == CANDIDATE)


def test_the_ledger_s_numbers_hold_the_bound_that_decided():
    test = {"test": "noninferior(log_loss, live)", "passed": True, "metric": "slices.a.b.log_loss",
            "estimate": 0.01, "interval": [-0.02, 0.04], "margin": 0.05, "alpha": 0.05, "p_value": None,
            "rows": 64, "candidate": 0.3, "reference": 0.29, "reason": "text"}  # fmt: skip
    kept = numbers({"rule": "r", "passed": True, "values": {"accuracy": 0.9}, "tests": [test], "reason": "x"})
    assert kept["values"] == {"accuracy": 0.9}
    assert kept["tests"][0]["bound"] == 0.04
    assert "p" not in kept["tests"][0]
    assert "reason" not in str(kept)
    better = {**test, "metric": "accuracy", "p_value": 0.01}
    assert numbers({"rule": "r", "passed": True, "tests": [better]})["tests"][0]["bound"] == -0.02
