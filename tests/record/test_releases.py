"""Proposals: identical content once, compare-and-set on what is live, what the ledger says."""

import json
import threading

import pytest

from tuneline.errors import ConflictError, NotFoundError, UserError
from tuneline.types import digest_json


def kinds(record):
    return [entry.kind for entry in record.ledger.entries()]


def go_live(record, release, at=50.0):
    live = record.endpoints.live("reviews")
    record.endpoints.went_live("reviews", release, live.digest if live else "", "ready", "control", at)


def test_a_first_approved_release_is_1_0_0_and_wanted_at_its_endpoint(record, proposal):
    done = record.releases.propose(proposal(), 10.0)
    assert (done.release, done.state, done.created, done.reason) == (
        "reviews@1.0.0",
        "approved",
        True,
        "first release",
    )
    assert record.endpoints.get("reviews")["desired"] == "reviews@1.0.0"
    assert kinds(record) == ["proposed", "approved", "desired"]
    assert record.releases.models() == ["reviews"]


def test_a_rejected_release_has_a_version_but_is_not_wanted_anywhere(record, proposal):
    done = record.releases.propose(proposal(approved=False, why="the gate refused"), 10.0)
    assert (done.release, done.state, done.created) == ("reviews@1.0.0", "rejected", True)
    assert record.endpoints.all() == []
    assert kinds(record) == ["proposed", "rejected"]
    assert json.loads(record.ledger.entries()[1].body)["why"] == "the gate refused"


def test_proposing_identical_content_again_changes_nothing_and_says_so(record, proposal):
    record.releases.propose(proposal(), 10.0)
    before = record.ledger.head(), record.endpoints.get("reviews")
    done = record.releases.propose(proposal(), 11.0)
    assert (done.release, done.created, done.reason) == ("reviews@1.0.0", False, "identical to reviews@1.0.0")
    go_live(record, "reviews@1.0.0")
    again = record.releases.propose(proposal(live_digest=digest_json("a")), 60.0)
    assert (again.created, record.ledger.head()[0]) == (False, before[0][0] + 1)
    assert record.endpoints.get("reviews")["generation"] == before[1]["generation"]


def test_fresh_rows_make_a_patch_and_take_the_place_of_the_live_release(record, proposal):
    record.releases.propose(proposal("a"), 10.0)
    go_live(record, "reviews@1.0.0")
    done = record.releases.propose(proposal("b", live_digest=digest_json("a")), 60.0)
    assert (done.release, done.reason) == (
        "reviews@1.0.1",
        "patch since 1.0.0: the same recipe saw fresh rows",
    )
    assert record.endpoints.get("reviews")["desired"] == "reviews@1.0.1"


def test_a_proposal_judged_against_what_is_no_longer_live_is_refused_and_leaves_nothing(record, proposal):
    record.releases.propose(proposal("a"), 10.0)
    go_live(record, "reviews@1.0.0")
    head = record.ledger.head()
    with pytest.raises(ConflictError, match=r"serves reviews@1\.0\.0"):
        record.releases.propose(proposal("b", live_digest=""), 60.0)
    assert (record.ledger.head(), len(record.releases.of("reviews"))) == (head, 1)


def test_content_once_rejected_is_approved_when_its_gate_passes_later(record, proposal):
    record.releases.propose(proposal(approved=False), 10.0)
    done = record.releases.propose(proposal(), 11.0)
    assert (done.release, done.state, done.created) == ("reviews@1.0.0", "approved", False)
    assert done.reason == "identical to reviews@1.0.0, which was rejected before and passes now"
    assert record.releases.get("reviews@1.0.0")["state"] == "approved"
    assert kinds(record) == ["proposed", "rejected", "approved", "desired"]


def test_a_stricter_gate_does_not_reject_a_release_that_is_live(record, proposal):
    record.releases.propose(proposal(), 10.0)
    done = record.releases.propose(proposal(approved=False), 11.0)
    assert (done.state, done.created) == ("approved", False)
    assert record.endpoints.get("reviews")["desired"] == "reviews@1.0.0"


def test_going_back_to_an_earlier_release_makes_no_new_one(record, proposal):
    record.releases.propose(proposal("a"), 10.0)
    go_live(record, "reviews@1.0.0")
    record.releases.propose(proposal("b", live_digest=digest_json("a")), 20.0)
    go_live(record, "reviews@1.0.1", 60.0)
    done = record.releases.propose(proposal("a", live_digest=digest_json("b")), 70.0)
    assert (done.release, done.created) == ("reviews@1.0.0", False)
    assert done.reason == "identical to reviews@1.0.0; endpoint reviews had reviews@1.0.1"
    assert record.endpoints.get("reviews")["desired"] == "reviews@1.0.0"


def test_versions_allocated_at_the_same_time_differ(record, proposal):
    done, barrier = [], threading.Barrier(8)

    def propose(n: int) -> None:
        barrier.wait()
        done.append(record.releases.propose(proposal(f"content {n}"), 10.0).release)

    threads = [threading.Thread(target=propose, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [f"reviews@1.0.{n}" for n in range(8)]
    assert record.ledger.verify() == []


def test_releases_are_listed_by_version_not_by_text(record, proposal):
    for n in range(12):
        record.releases.propose(proposal(f"c{n}", approved=False), 10.0)
    assert [row["version"] for row in record.releases.of("reviews")][:3] == ["1.0.11", "1.0.10", "1.0.9"]


def test_unknown_names_are_said_with_the_known_ones(record, proposal):
    with pytest.raises(NotFoundError, match="no model `reviews`"):
        record.releases.of("reviews")
    record.releases.propose(proposal(), 10.0)
    with pytest.raises(NotFoundError) as wrong:
        record.releases.of("review")
    assert wrong.value.hint == "Models: reviews."
    with pytest.raises(NotFoundError, match=r"no release 2\.0\.0"):
        record.releases.get("reviews@2.0.0")
    with pytest.raises(UserError, match="names no release"):
        record.releases.get("reviews")


def test_the_ledger_keeps_digests_and_no_bodies(record, proposal):
    record.releases.propose(proposal(report={"text": "a secret review"}), 10.0)
    assert "a secret review" not in "".join(entry.body for entry in record.ledger.entries())
    body = json.loads(record.ledger.entries()[0].body)
    assert body["package"] == digest_json("a")
    assert body["verdict"] == {"passed": True, "rules": [{"rule": "accuracy >= 0.8", "passed": True}]}
