"""From a proposal to a live release and its history, over the wire, with a package on the disk."""

import json
import time

import pytest

from tuneline.errors import ConflictError, ModelError, NotFoundError, ProofError, UserError
from tuneline.execute.files import digest_path

BASE = "sha256:" + "b" * 64
HASHES = {
    "adapter_digest": "sha256:a",
    "served_digest": "sha256:s",
    "template_hash": "t",
    "tokenizer_hash": "k",
}


@pytest.fixture
def offer(tmp_path):
    """Makes a proposal with a real package folder."""

    def make(rows: str = "one", **changes) -> dict:
        folder = tmp_path / f"package-{rows}"
        if not folder.exists():
            folder.mkdir()
            manifest = {"model": "reviews", "labels": ["bad", "good"], "rows_digest": rows, **HASHES}
            (folder / "manifest.json").write_text(json.dumps(manifest))
        body = {
            "model": "reviews",
            "package": str(folder),
            "package_digest": digest_path(folder)[0],
            "base": str(tmp_path),
            "base_digest": BASE,
            "verdict": {
                "passed": True,
                "rules": [{"rule": "accuracy >= 0.8", "passed": True, "reason": "0.84"}],
            },
            "proof": {"passed": True, "runtime": "llamacpp", "base_digest": BASE, **HASHES},
            "report": {"rows": 400},
            "deploy": {"endpoint": "reviews", "runtime": "llamacpp", "port": 0, "keep_s": 1800},
            "live_digest": "",
            "passed": True,
        }
        return body | changes

    return make


def test_a_proposal_that_passes_becomes_an_approved_release(client, offer):
    done = client.propose(offer())
    assert (done["release"], done["state"], done["created"]) == ("reviews@1.0.0", "approved", True)
    assert done["why"] == "the gate passed (1 of 1 rules) and the proof holds"
    release = client.release("reviews@1.0.0")
    assert release["package"]["digest"] == offer()["package_digest"]
    assert release["manifest"]["labels"] == ["bad", "good"]
    assert [item["version"] for item in client.releases("reviews")] == ["1.0.0"]
    assert client.models() == ["reviews"]
    endpoint = client.endpoint("reviews")
    assert (endpoint["desired"], endpoint["live"], endpoint["phase"]) == ("reviews@1.0.0", None, "pending")
    assert [entry["kind"] for entry in client.ledger()] == ["proposed", "approved", "desired"]
    assert client.ledger(after=2)[0]["kind"] == "desired"
    assert client.verify_ledger()["ok"]


def test_identical_content_is_said_to_be_identical(client, offer):
    client.propose(offer())
    again = client.propose(offer())
    assert (again["created"], again["reason"]) == (False, "identical to reviews@1.0.0")


def test_a_refused_verdict_or_a_failed_proof_rejects_and_says_why(client, offer):
    refused = {"passed": False, "rules": [{"rule": "accuracy >= 0.8", "passed": False, "reason": "0.61"}]}
    done = client.propose(offer("one", verdict=refused, passed=False))
    assert (done["state"], done["why"]) == ("rejected", "the gate refused: accuracy >= 0.8: 0.61")
    failed = {**offer()["proof"], "passed": False, "reasons": ["answers differ"]}
    done = client.propose(offer("two", proof=failed))
    assert (done["state"], done["why"]) == ("rejected", "the proof failed: answers differ")
    assert client.endpoints() == []


def test_passed_must_be_said_by_the_verdict_itself(client, offer):
    assert client.propose(offer(verdict={"passed": False, "rules": []}))["state"] == "rejected"


@pytest.mark.parametrize("part", [*HASHES, "base_digest", "runtime"])
def test_a_proof_about_something_else_is_refused(client, offer, part):
    with pytest.raises(ProofError) as wrong:
        client.propose(offer(proof={**offer()["proof"], part: "another"}))
    assert wrong.value.details[0].startswith(f"{part}: proven another")
    assert client.models() == []


def test_a_package_that_was_changed_or_is_gone_is_refused(client, offer, tmp_path):
    body = offer()
    (tmp_path / "package-one" / "extra").write_text("x")
    with pytest.raises(ModelError, match="it was changed"):
        client.propose(body)
    with pytest.raises(ModelError, match="cannot be read"):
        client.propose({**body, "package": str(tmp_path / "nowhere")})
    with pytest.raises(ModelError, match="no package of `other`"):
        client.propose(offer(model="other"))


def test_what_is_live_and_was_live_is_told_with_times(client, platform, offer):
    client.propose(offer("one"))
    assert client.live("reviews") == {"release": None, "digest": None, "package": None, "base": None}
    platform.record.endpoints.went_live("reviews", "reviews@1.0.0", "", "ready", "control", 1_800_000_000.0)
    live = client.live("reviews")
    assert (live["release"], live["package"]) == ("reviews@1.0.0", offer("one")["package"])
    with pytest.raises(ConflictError, match=r"serves reviews@1\.0\.0 now"):
        client.propose(offer("two"))
    client.propose(offer("two", live_digest=live["digest"]))
    platform.record.endpoints.went_live(
        "reviews", "reviews@1.0.1", live["digest"], "ready", "control", 1_800_003_600.0
    )
    history = client.history("reviews")
    assert [(item["release"], item["from"], item["to"]) for item in history] == [
        ("reviews@1.0.0", "2027-01-15T08:00:00.000Z", "2027-01-15T09:00:00.000Z"),
        ("reviews@1.0.1", "2027-01-15T09:00:00.000Z", None),
    ]
    for at, release in (
        ("2027-01-15T08:30Z", "reviews@1.0.0"),
        ("2027-01-15T09:59:59.5+01:00", "reviews@1.0.0"),
        ("2027-01-15 09:00", "reviews@1.0.1"),
    ):
        assert [item["release"] for item in client.history("reviews", at)] == [release]
    assert client.history("reviews", "2027-01-15T07:59Z") == []


def test_a_time_in_the_hour_that_daylight_saving_repeats_is_told_by_its_offset_whatever_this_machine_s_zone(
    client, platform, offer, monkeypatch
):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    first, second = 1_792_888_200.0, 1_792_890_600.0  # 2026-10-25, 02:30 and, after 03:00 became 02:00, 02:10
    client.propose(offer("one"))
    platform.record.endpoints.went_live("reviews", "reviews@1.0.0", "", "ready", "control", first)
    digest = client.live("reviews")["digest"]
    client.propose(offer("two", live_digest=digest))
    platform.record.endpoints.went_live("reviews", "reviews@1.0.1", digest, "ready", "control", second)
    for at, releases in (
        ("2026-10-25T02:29:59+02:00", []),
        ("2026-10-25T02:30+02:00", ["reviews@1.0.0"]),
        ("2026-10-25T02:09:59+01:00", ["reviews@1.0.0"]),
        ("2026-10-25T02:10+01:00", ["reviews@1.0.1"]),
        ("2026-10-25T02:30+01:00", ["reviews@1.0.1"]),
        ("2026-10-25T01:00", ["reviews@1.0.0"]),
        ("2026-10-25T01:10Z", ["reviews@1.0.1"]),
    ):
        assert [item["release"] for item in client.history("reviews", at)] == releases, at
    monkeypatch.undo()
    time.tzset()


def test_a_wrong_time_name_or_release_is_a_clear_error(client, offer):
    client.propose(offer())
    with pytest.raises(UserError, match="`yesterday` is no time"):
        client.history("reviews", "yesterday")
    with pytest.raises(NotFoundError, match="no endpoint `review`"):
        client.endpoint("review")
    with pytest.raises(NotFoundError, match=r"no release 9\.9\.9"):
        client.release("reviews@9.9.9")


def test_other_data_asked_for_is_a_minor_and_fresh_rows_of_the_same_data_are_a_patch(
    client, platform, offer, ir
):
    root = {**ir["root"], "inputDefinitions": {"parameters": {"data_limit": LIMIT}}}
    done = []
    for rows, parameters in (("one", {}), ("two", {}), ("three", {"data_limit": 1000})):
        run = client.submit({**ir, "root": root}, parameters, {"name": rows, "digest": f"sha256:{rows}"})[
            "id"
        ]
        done.append(client.propose(offer(rows, run=run)))
        assert client.release(done[-1]["release"])["project_digest"] == f"sha256:{rows}"
    assert [item["release"] for item in done] == ["reviews@1.0.0", "reviews@1.0.1", "reviews@1.1.0"]
    assert done[1]["reason"] == "patch since 1.0.0: the same recipe saw fresh rows"
    assert done[2]["reason"] == "minor since 1.0.1: the data (limit) changed"


LIMIT = {"parameterType": "NUMBER_INTEGER", "defaultValue": 768, "isOptional": True}
