"""What a run ends with: report, object, exit code. Plain values in."""

import json

import pytest
from tests.cli.runs import METRICS, PROOF, VERDICT, endpoint, release, run, task

from tuneline.cli.report import exit_code, failures, json_object, lines

WHOLE = run(
    "SUCCEEDED", task("base", "CACHED"), task("tune", "SUCCEEDED", seconds=131.0),
    metrics=METRICS, verdict=VERDICT, proof=PROOF, release=release(),
)  # fmt: skip


def test_the_report_tells_accuracy_verdict_proof_release_and_where_it_answers():
    assert lines(WHOLE, endpoint()) == """\
reviews: run 20261118-110640-abc123 succeeded in 3:41, 1 of 2 tasks from the cache

             accuracy   macro F1   log loss   calibration error
  base          0.588      0.553      0.690               0.050
  live          0.838      0.837      0.400               0.020   reviews@1.0.0
  candidate     0.843      0.842      0.390               0.021
  on 427 held-out rows; 3 more left out, which the live release was trained on

  gate       passed: all 2 rules hold
    holds    accuracy >= 0.80
             accuracy is 0.8430
    holds    noninferior(accuracy, live, margin=0.04)
             accuracy +0.0050 against live
             estimate +0.0050, 90% interval -0.0279 to +0.0579 (Tango score bound, 427 rows)
  proof      holds: served by llamacpp 2026.10.1, Q4_K_M
             token ids equal for 64 of 64 held-out prompts, the same answer for 62 of 62 decided ones
             log-probabilities 0.012 nat a token apart on average (at most 0.10), the furthest 0.090
  release    reviews@1.1.0  approved: first release
  endpoint   http://127.0.0.1:8100  serves reviews@1.1.0
             curl http://127.0.0.1:8100/v1/chat/completions -H 'Content-Type: application/json' \
-d '{"model": "reviews", "messages": [{"role": "user", "content": "..."}]}'
             tuneline chat reviews "..."
""".splitlines()  # fmt: skip


def test_a_first_release_has_no_live_numbers_and_says_so():
    first = {**WHOLE, "report": {**WHOLE["report"], "metrics": {**METRICS, "live": None, "left_out": 0}}}
    said = "\n".join(lines(first, endpoint()))
    assert "  live              -          -          -                   -   nothing was live" in said
    assert "left out" not in said


def test_a_refusal_marks_the_rule_that_fails():
    rules = [
        {"rule": "accuracy >= 0.80", "passed": False, "reason": "does not hold: accuracy is 0.7", "tests": []}
    ]
    verdict = {**VERDICT, "passed": False, "rules": rules}
    refused = run("SUCCEEDED", verdict=verdict, release=release("rejected"))
    said = lines(refused, None)
    assert "  gate       REFUSED" in said
    assert "    FAILS    accuracy >= 0.80" in said
    assert "             accuracy is 0.7" in said
    assert exit_code(refused, None) == 3


def test_a_release_that_did_not_start_says_what_goes_on_serving():
    failed = endpoint(phase="failed", live="reviews@1.0.0", message="the runtime ended with status 1")
    said = lines(WHOLE, failed)
    assert "  endpoint   reviews does NOT serve reviews@1.1.0: the runtime ended with status 1" in said
    assert "             reviews@1.0.0 goes on serving at http://127.0.0.1:8100" in said
    assert exit_code(WHOLE, failed) == 1


def test_an_old_run_says_what_its_endpoint_serves_now():
    said = lines(WHOLE, endpoint(desired="reviews@1.2.0", live="reviews@1.2.0"))
    assert said[-1] == "  endpoint   reviews serves reviews@1.2.0 now; reviews@1.2.0 is wanted there"


def test_a_release_that_is_tried_says_beside_what_and_how_to_follow_it():
    tried = {"release": "reviews@1.1.0", "stable": "reviews@1.0.0"}
    said = lines(WHOLE, endpoint(desired="reviews@1.0.0", live="reviews@1.0.0", rollout=tried))
    assert "reviews@1.1.0 is tried beside reviews@1.0.0, which stays live" in said[-2]
    assert said[-1].strip() == "follow it: tuneline rollout status reviews -w"


def test_a_run_that_has_hardly_begun_has_a_report_too():
    assert lines(run("RUNNING", task("fetch", "RUNNING")), None) == [
        "reviews: run 20261118-110640-abc123 running"
    ]


def test_the_object_has_every_promised_part():
    found = json.loads(json.dumps(json_object(WHOLE, endpoint())))
    assert (found["run"], found["state"], found["seconds"]) == (WHOLE["id"], "SUCCEEDED", 221.0)
    assert found["tasks"][0] == {
        "name": "base", "state": "CACHED", "seconds": None, "cached": True, "attempts": 0, "error": None,
    }  # fmt: skip
    assert found["metrics"] == METRICS
    assert found["verdict"] == VERDICT
    assert found["proof"] == PROOF
    assert found["release"]["release"] == "reviews@1.1.0"
    assert found["url"] == found["endpoint"]["url"] == "http://127.0.0.1:8100"
    assert found["exit_code"] == 0


SAME = release(reason="identical to reviews@1.1.0")
BACK = release(reason="identical to reviews@1.1.0; endpoint reviews had reviews@1.2.0")


@pytest.mark.parametrize(
    "ended, serves, code",
    [
        (WHOLE, endpoint(), 0),
        (run("FAILED", task("tune", "FAILED")), None, 1),
        (run("CANCELED"), None, 1),
        (WHOLE, endpoint(live="reviews@1.0.0"), 1),
        (WHOLE, endpoint(phase="starting"), 1),
        (WHOLE, endpoint(desired="reviews@1.2.0", live="reviews@1.2.0"), 0),
        (run("SUCCEEDED", release=release("rejected")), None, 3),
        (run("SUCCEEDED", verdict={"passed": False}, release=SAME), endpoint(), 3),
        (run("SUCCEEDED", release=release("candidate", "no server")), None, 4),
        (run("SUCCEEDED", verdict=VERDICT, release=release("candidate")), None, 4),
        (run("SUCCEEDED", verdict=VERDICT, release=release("withdrawn")), None, 3),
        (run("SUCCEEDED", verdict=VERDICT, release=release("rejected")), None, 3),
        (run("SUCCEEDED", release=SAME), endpoint(), 6),
        (run("SUCCEEDED", release=SAME), endpoint(live=None, phase="failed"), 1),
        (run("SUCCEEDED", release=SAME), endpoint(desired="reviews@1.2.0", live="reviews@1.2.0"), 6),
        (run("SUCCEEDED", release=BACK), endpoint(), 0),
        (run("SUCCEEDED", task("hello", "SUCCEEDED")), None, 0),
    ],
    ids=[
        "released", "failed", "canceled", "old one serves", "not yet", "replaced since",
        "rejected", "refused again",
        "no server", "waits", "withdrawn since", "rejected since",
        "identical", "identical but down", "identical and another wanted",
        "brought back", "no release",
    ],
)  # fmt: skip
def test_the_exit_code_says_what_became_of_the_release(ended, serves, code):
    assert exit_code(ended, serves) == code


def test_failures_are_those_of_tasks_or_else_of_the_run():
    error = {"message": "no rows left"}
    assert failures(run("FAILED", task("prepare", "FAILED", error=error))) == [("prepare", error)]
    assert failures({**run("FAILED"), "error": error}) == [("", error)]
    assert failures(WHOLE) == []
