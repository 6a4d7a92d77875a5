"""Which release was live when, through switches, clocks set back, and several endpoints."""

import json

import pytest

from tuneline.errors import ConflictError, NotFoundError
from tuneline.plan.endpoints import Live
from tuneline.record.record import Record
from tuneline.types import digest_json


@pytest.fixture
def switched(record, proposal):
    """1.0.0 live from 100, 1.0.1 from 200."""
    record.releases.propose(proposal("a"), 90.0)
    record.endpoints.went_live("reviews", "reviews@1.0.0", "", "ready", "control", 100.0)
    deploy = {"endpoint": "reviews", "runtime": "llamacpp", "port": 0, "keep_s": 1800}
    deploy |= {"monitor": {"keep_s": 60}}
    record.releases.propose(proposal("b", deploy=deploy, live_digest=digest_json("a")), 190.0)
    record.endpoints.went_live("reviews", "reviews@1.0.1", digest_json("a"), "ready", "control", 200.0)
    return record


def live_at(record, at):
    return [row["version"] for row in record.endpoints.history("reviews", at)]


def test_at_any_time_at_most_one_release_was_live(switched):
    assert [live_at(switched, at) for at in (99.9, 100.0, 199.9, 200.0, 1e9)] == [
        [], ["1.0.0"], ["1.0.0"], ["1.0.1"], ["1.0.1"],
    ]  # fmt: skip
    assert [(row["from_at"], row["to_at"]) for row in switched.endpoints.history("reviews")] == [
        (100.0, 200.0),
        (200.0, None),
    ]


def test_saying_twice_that_a_release_is_live_changes_nothing(switched):
    head = switched.ledger.head()
    switched.endpoints.went_live("reviews", "reviews@1.0.1", digest_json("a"), "ready", "control", 300.0)
    assert switched.ledger.head() == head


def test_a_release_goes_live_only_in_the_place_of_the_one_it_was_to_replace(switched):
    head = switched.ledger.head()
    with pytest.raises(
        ConflictError, match=r"serves reviews@1\.0\.1 now, which is not what reviews@1\.0\.0 was to"
    ):
        switched.endpoints.went_live("reviews", "reviews@1.0.0", digest_json("a"), "late", "control", 300.0)
    assert (switched.ledger.head(), live_at(switched, 300.0)) == (head, ["1.0.1"])


def test_the_controller_reads_what_is_wanted_and_what_serving_it_takes(switched):
    (wanted,) = switched.endpoints.desired()
    assert (wanted.release, wanted.generation, wanted.live_digest) == ("reviews@1.0.1", 2, digest_json("a"))
    assert (wanted.runtime, wanted.port, wanted.keep_s, wanted.by) == ("llamacpp", 0, 1800, "ann")
    assert wanted.monitor == {"keep_s": 60}
    facts = switched.endpoints.release("reviews@1.0.1")
    assert (str(facts.package), facts.package_digest, str(facts.base)) == (
        "/packages/b",
        digest_json("b"),
        "/base",
    )
    assert switched.endpoints.live("reviews") == Live("reviews@1.0.1", digest_json("b"))
    assert switched.endpoints.live("other") is None


def test_a_change_wakes_the_controller(switched, proposal):
    woken = []
    with switched.endpoints.listening(lambda: woken.append(1)):
        switched.releases.propose(proposal("c", live_digest=digest_json("b")), 300.0)
        switched.endpoints.observe("reviews", {"phase": "starting"}, 301.0)
    assert len(woken) == 2


def test_a_retired_release_leaves_nothing_live(switched):
    switched.endpoints.retire("reviews", "stopped", "ann", 300.0)
    switched.endpoints.retire("reviews", "stopped", "ann", 301.0)
    assert switched.endpoints.live("reviews") is None
    assert live_at(switched, 300.0) == []
    kinds = [entry.kind for entry in switched.ledger.entries()]
    assert kinds[-2:] == ["live", "retired"]


def test_a_clock_set_back_makes_no_interval_end_before_it_began(switched):
    switched.endpoints.retire("reviews", "stopped", "ann", 150.0)
    assert [(row["from_at"], row["to_at"]) for row in switched.endpoints.history("reviews")][1] == (
        200.0,
        200.0,
    )


def test_what_is_wanted_is_set_only_against_what_is_live(switched):
    with pytest.raises(ConflictError):
        switched.endpoints.want("reviews", "reviews@1.0.0", digest_json("a"), "back", "ann", 300.0)
    switched.endpoints.want("reviews", "reviews@1.0.0", digest_json("b"), "back", "ann", 300.0)
    assert switched.endpoints.get("reviews")["desired"] == "reviews@1.0.0"


def test_an_unknown_endpoint_or_release_is_said_to_be_unknown(switched):
    with pytest.raises(NotFoundError, match="no endpoint `other`") as wrong:
        switched.endpoints.history("other")
    assert wrong.value.hint == "Endpoints: reviews."
    with pytest.raises(NotFoundError, match=r"reviews@9\.0\.0"):
        switched.endpoints.went_live("reviews", "reviews@9.0.0", "", "", "", 1.0)


def test_what_was_seen_is_kept_and_replaced(switched):
    switched.endpoints.observe("reviews", {"phase": "starting"}, 1.0)
    assert switched.endpoints.observed("other") == {}
    switched.endpoints.observe("reviews", {"phase": "live", "port": 8100}, 2.0)
    assert switched.endpoints.observed("reviews") == {"phase": "live", "port": 8100}
    assert switched.endpoints.get("reviews")["observed"] == {"phase": "live", "port": 8100}


STEPS = (100.0, 40.0, 41.0, 1e6, 500.0, 500.0, 0.0, 2e6)
"""A clock that is set back, set far ahead, corrected, and stands still."""


def test_a_history_never_overlaps_and_never_goes_back_whatever_the_clock_does(record, proposal):
    for n in range(len(STEPS)):
        live = record.endpoints.live("reviews") if n else None
        record.releases.propose(proposal(f"c{n}", live_digest=live.digest if live else ""), 1.0)
        record.endpoints.went_live(
            "reviews", f"reviews@1.0.{n}", live.digest if live else "", "ready", "control", STEPS[n]
        )
        rows = record.endpoints.history("reviews")
        ends = [row["to_at"] for row in rows]
        assert ends[-1] is None
        assert all(row["from_at"] <= end for row, end in zip(rows, ends[:-1], strict=False))
        assert ends[:-1] == [row["from_at"] for row in rows[1:]], "each begins where the one before ends"
        for at in {time for row in rows for time in (row["from_at"], row["to_at"]) if time is not None}:
            assert len(live_at(record, at)) == 1
        assert live_at(record, 1e9) == [f"1.0.{n}"]
    assert live_at(record, 99.0) == []
    assert live_at(record, 100.0) == ["1.0.2"]
    assert live_at(record, 999_999.0) == ["1.0.2"]
    assert record.ledger.verify() == []


def test_the_ledger_keeps_the_time_that_the_clock_told(switched, proposal):
    switched.releases.propose(proposal("c", live_digest=digest_json("b")), 210.0)
    switched.endpoints.went_live("reviews", "reviews@1.0.2", digest_json("b"), "ready", "control", 50.0)
    retired, live = switched.ledger.entries()[-2:]
    assert (retired.at, live.at) == (50.0, 50.0)
    assert (json.loads(retired.body)["to"], json.loads(live.body)["from"]) == (200.0, 200.0)


def test_what_goes_live_again_after_nothing_was_begins_no_earlier_than_that_ended(switched, proposal):
    switched.endpoints.retire("reviews", "down", "ann", 300.0)
    switched.endpoints.went_live("reviews", "reviews@1.0.1", "", "up", "control", 250.0)
    assert [(row["from_at"], row["to_at"]) for row in switched.endpoints.history("reviews")] == [
        (100.0, 200.0), (200.0, 300.0), (300.0, None),
    ]  # fmt: skip
    assert live_at(switched, 299.9) == live_at(switched, 300.0) == ["1.0.1"]


def test_a_record_that_is_opened_again_goes_on_with_its_history(switched, database_url):
    other = Record(database_url, clock=lambda: 0.0)
    other.endpoints.went_live("reviews", "reviews@1.0.0", digest_json("b"), "back", "control", 150.0)
    assert [(row["from_at"], row["to_at"]) for row in other.endpoints.history("reviews")] == [
        (100.0, 200.0), (200.0, 200.0), (200.0, None),
    ]  # fmt: skip
    other.close()


@pytest.mark.parametrize("other", [{"on": "kubernetes", "runtime": "vllm"}, {"on": "here"}])
def test_an_endpoint_stays_where_it_is_served(record, proposal, other):
    here = {"endpoint": "reviews", "runtime": "llamacpp", "on": "here"}
    there = {"endpoint": "reviews", "runtime": "vllm", "on": "kubernetes"}
    before = there if other["on"] == "here" else here
    record.releases.propose(proposal("a", deploy=before), 100.0)
    with pytest.raises(
        ConflictError, match="Endpoint reviews is served (here|on Kubernetes by vllm); reviews@"
    ):
        record.releases.propose(proposal("b", deploy={**before, **other}, live_digest=""), 110.0)
