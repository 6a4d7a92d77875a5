"""`/metrics`: what Prometheus reads there is what is on record."""

import time

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tuneline.plan.events import RunEnded
from tuneline.record.releases import Proposal
from tuneline.types import digest_json


def figures(url):
    answer = httpx.get(f"{url}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    samples = [each for family in text_string_to_metric_families(answer.text) for each in family.samples]
    return {(each.name, *each.labels.values()): each.value for each in samples}


def test_an_empty_record_says_none_of_each_state(url):
    found = figures(url)
    assert found["tuneline_build_info", "0.0.0"] == 1
    assert found["tuneline_server_start_time_seconds",] == 1_800_000_000.0
    assert {found["tuneline_runs", state] for state in ("PENDING", "RUNNING", "SUCCEEDED", "FAILED")} == {0}
    assert found["tuneline_tasks", "RUNNING"] == 0
    assert not [key for key in found if key[0] in ("tuneline_endpoint_live", "tuneline_releases")]


def test_runs_and_the_tasks_of_those_that_have_not_ended_are_counted(url, platform, runner, ir):
    first = platform.submit(ir, {}, {"name": "one"})["id"]
    platform.submit(ir, {}, {"name": "two"})
    found = figures(url)
    assert found["tuneline_runs", "RUNNING"] == 2
    assert found["tuneline_tasks", "PENDING"] == 2
    runner.record.runs.append(runner.leases[first], [RunEnded("CANCELED")], time.time())
    found = figures(url)
    assert (found["tuneline_runs", "RUNNING"], found["tuneline_runs", "CANCELED"]) == (1, 1)
    assert found["tuneline_tasks", "PENDING"] == 1


def test_an_endpoint_s_phase_and_what_is_live_are_shown(url, platform):
    proposal = Proposal(
        model="m", package_uri="/", package_digest=digest_json(1), base_uri="/", base_digest=digest_json(""),
        manifest={"model": "m", "base": {}, "rows_digest": "1"}, verdict={"passed": True, "rules": []},
        proof={"passed": True}, report={}, deploy={"endpoint": "m", "runtime": "llamacpp"}, live_digest="",
        approved=True, why="asked for", run="", project_digest="", by="ann",
    )  # fmt: skip
    release = platform.record.releases.propose(proposal, time.time()).release
    endpoints = platform.record.endpoints
    endpoints.observe("m", {"phase": "starting"}, time.time())
    assert figures(url)["tuneline_endpoint_phase", "m", "starting"] == 1
    endpoints.went_live("m", release, "", "asked for", "ann", time.time())
    found = figures(url)
    assert found["tuneline_endpoint_live", "m", release] == 1
    assert found["tuneline_releases", "approved"] == 1
