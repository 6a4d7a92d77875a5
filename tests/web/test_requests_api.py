"""Feedback and traces over the wire, on real lines of a router: in segments, and ingested."""

import json
import time

import httpx
import pytest

from tuneline.control.ingesting import Ingest
from tuneline.errors import ForbiddenError, NotFoundError, TunelineError
from tuneline.record.releases import Proposal
from tuneline.serve.router_log import RequestLine, Segments

DIGEST = "sha256:" + "d" * 64


@pytest.fixture
def released(platform, runner, tmp_path, ir):
    """A run that made reviews@1.0.0 and 1.1.0, of which 1.0.0 is live."""
    run = platform.submit(ir, {}, {"name": "reviews", "digest": "sha256:project"})["id"]
    for version in ("one", "two"):
        manifest = {
            "recipe": {"r": 8}, "recipe_digest": f"recipe-{version}", "data_digest": "source",
            "rows_digest": "rows", "code_digest": "code", "labels": ["a"],
        }  # fmt: skip
        live = runner.record.endpoints.live("reviews") if version == "two" else None
        done = runner.record.releases.propose(
            Proposal(
                model="reviews", package_uri=f"/{version}", package_digest=f"sha256:{version}", base_uri="/b",
                base_digest="sha256:base", manifest=manifest, verdict={"passed": True, "reason": "2 rules"},
                proof={}, report={}, deploy={"endpoint": "reviews", "runtime": "pyfunc"},
                live_digest=live.digest if live else "", approved=True, why="passed", run=run,
                project_digest="sha256:project", by="ann",
            ),
            time.time(),
        )  # fmt: skip
        if version == "one":
            runner.record.endpoints.went_live("reviews", done.release, "", "first", "ann", 1_000.0)
    return run


@pytest.fixture
def router(tmp_path):
    """Writes lines as a router of endpoint `reviews` does."""
    segments = Segments(tmp_path / "endpoints" / "reviews" / "segments")

    def write(id, at, **more):
        values = {
            "release": "reviews@1.0.0", "revision": "r1", "method": "POST", "path": "/v1/completions",
            "status": 200, "ms": 3.25, "bytes_in": 1, "bytes_out": 2, "sticky": "", "retries": 0,
        }  # fmt: skip
        segments.add(RequestLine(at=at, id=id, **(values | more)))
        segments.write()

    return write


def ingest(tmp_path):
    made = Ingest(tmp_path / "endpoints" / "reviews", time.time, 86_400.0 * 30)
    while made.step():
        pass


@pytest.mark.parametrize("ingested", [False, True])
def test_a_trace_leads_from_an_id_to_the_release_and_all_that_made_it(
    client, released, router, tmp_path, ingested
):
    now = time.time()
    router("a b/é?", now)
    router("other", now)
    if ingested:
        ingest(tmp_path)
    client.feedback("reviews", [{"request_id": "a b/é?", "score": 0.25, "comment": "meh"}])
    found = client.trace("a b/é?")
    assert (found["id"], found["endpoint"], found["was_live"]) == ("a b/é?", "reviews", True)
    assert (found["request"]["time"], found["request"]["ms"]) == (pytest.approx(now, abs=1e-5), 3.25)
    assert (found["live"]["release"], found["live"]["to"]) == ("reviews@1.0.0", None)
    assert [(row["score"], row["comment"], row["by"]) for row in found["feedback"]] == [(0.25, "meh", "ann")]
    release = found["release"]
    assert (release["run"]["id"], release["run"]["project_digest"]) == (released, "sha256:project")
    assert release["data"] == {"data_digest": "source", "rows_digest": "rows"}
    assert (release["verdict"]["passed"], release["package"]["digest"]) == (True, "sha256:one")
    assert (found["shadows"], found["earlier"], found["also_at"]) == ([], [], [])


def test_a_release_that_was_not_live_then_is_said_to_be_not(client, released, router):
    router("before", 999.0)
    router("canary", time.time(), release="reviews@1.1.0", revision="r2")
    assert (client.trace("before")["live"], client.trace("before")["was_live"]) == (None, False)
    canary = client.trace("canary")
    assert (canary["was_live"], canary["live"]["release"]) == (False, "reviews@1.0.0")
    assert canary["release"]["package"]["digest"] == "sha256:two"


def test_a_copy_is_shown_beside_the_request_it_is_of(client, released, router, tmp_path):
    now = time.time()
    router("x", now)
    folder = tmp_path / "endpoints" / "reviews" / "segments"
    line = json.loads((folder / "00000001.jsonl").read_text())
    copy = line | {
        "release": "reviews@1.1.0",
        "revision": "r2",
        "shadow_of": "r1",
        "agrees": False,
        "at": now + 1,
    }
    with (folder / "00000001.jsonl").open("a") as file:
        file.write(json.dumps(copy, separators=(",", ":")) + "\n")
    for _ in range(2):
        found = client.trace("x")
        assert (found["request"]["release"], found["was_live"]) == ("reviews@1.0.0", True)
        assert [(each["revision"], each["agrees"]) for each in found["shadows"]] == [("r2", False)]
        ingest(tmp_path)


def test_of_one_id_at_many_times_the_latest_is_shown_and_the_others_beside(
    client, released, router, tmp_path
):
    router("same", 2_000.0)
    ingest(tmp_path)
    router("same", 3_000.0)
    found = client.trace("same")
    assert (found["request"]["time"], [each["time"] for each in found["earlier"]]) == (3_000.0, [2_000.0])


def test_a_line_is_found_once_at_every_moment_of_its_ingestion(client, released, router, tmp_path):
    router("x", 2_000.0)
    segment = tmp_path / "endpoints" / "reviews" / "segments" / "00000001.jsonl"
    ingest(tmp_path)
    state = tmp_path / "endpoints" / "reviews" / "requests" / "state.json"
    read = json.loads(state.read_text())
    state.write_text(json.dumps(read | {"segments": {}}))  # as a reader that looked just before the commit
    assert client.trace("x")["earlier"] == []
    assert segment.exists()


def test_a_release_that_is_not_on_record_is_said_to_be_missing(client, released, router):
    router("x", 2_000.0, release="gone@1.0.0")
    assert client.trace("x")["release"] == {"release": "gone@1.0.0", "missing": "There is no model `gone`."}
    router("y", 2_000.0, release="", revision="", status=503)
    assert client.trace("y")["release"] is None


def test_an_id_that_is_nowhere_says_what_to_do_and_that_it_was_scored(client, released, tmp_path):
    with pytest.raises(NotFoundError, match="No request `nope` of endpoint reviews") as wrong:
        client.trace("nope", "reviews")
    assert "x-request-id" in wrong.value.hint
    client.feedback("reviews", [{"request_id": "nope", "score": 1}])
    with pytest.raises(NotFoundError, match="It was scored at reviews"):
        client.trace("nope")
    folder = tmp_path / "endpoints" / "reviews" / "segments"
    folder.mkdir(parents=True)
    (folder / "1.jsonl").write_text("no line\n")
    ingest(tmp_path)
    with pytest.raises(NotFoundError, match="1 request lines could not be read"):
        client.trace("nope")
    with pytest.raises(NotFoundError, match="no endpoint `elsewhere`"):
        client.trace("nope", "elsewhere")


def test_feedback_is_taken_before_its_request_is_seen_and_says_so(
    client, released, router, tmp_path, platform
):
    router("old", 2_000.0)
    ingest(tmp_path)
    router("new", 3_000.0)
    scores = [{"request_id": id, "score": 1.0} for id in ("old", "new", "later")]
    done = client.feedback("reviews", scores)
    assert done == {"endpoint": "reviews", "accepted": 3, "numbers": [1, 2, 3], "unseen": ["later"]}
    assert [row.request_id for row in platform.record.feedback.since("reviews", 1)] == ["new", "later"]


def test_one_score_needs_no_list_and_a_thousand_are_one_request(url, client, released):
    address = f"{url}/api/v1/endpoints/reviews/feedback"
    one = httpx.post(address, json={"request_id": "a", "score": 0})
    assert (one.status_code, one.json()["accepted"]) == (200, 1)
    many = [{"request_id": f"r{number}", "score": 1} for number in range(1000)]
    assert client.feedback("reviews", many)["accepted"] == 1000
    with pytest.raises(TunelineError, match="at most 1000"):
        client.feedback("reviews", [*many, many[0]])


@pytest.mark.parametrize("change", [{"score": 1.01}, {"score": -0.1}, {"score": "1"}, {"score": True},
                                    {"score": None}, {"request_id": ""}, {"request_id": "x" * 201},
                                    {"comment": "x" * 4001}, {"by": "me"}])  # fmt: skip
def test_a_score_that_is_none_is_refused_and_nothing_of_its_list_kept(client, released, platform, change):
    good = {"request_id": "a", "score": 1.0}
    with pytest.raises(TunelineError) as wrong:
        client.feedback("reviews", [good, good | change])
    assert wrong.value.to_json()["details"]
    assert platform.record.feedback.since("reviews", 0) == []


def test_an_unknown_endpoint_is_named_with_those_there_are(client, released):
    with pytest.raises(NotFoundError, match="no endpoint `review`") as wrong:
        client.feedback("review", [{"request_id": "a", "score": 1}])
    assert wrong.value.hint == "Endpoints: reviews."


def test_who_may_only_read_traces_and_gives_no_score_and_a_token_stands_as_who_did(
    url, platform, released, router
):
    router("x", 2_000.0)
    reader = platform.record.tokens.create("reader", time.time(), read_only=True)
    writer = platform.record.tokens.create("app", time.time())
    address, body = f"{url}/api/v1/endpoints/reviews/feedback", {"request_id": "x", "score": 1}
    refused = httpx.post(address, json=body, headers={"Authorization": f"Bearer {reader}"})
    assert refused.status_code == ForbiddenError.http_status
    traced = httpx.get(f"{url}/api/v1/requests/x", headers={"Authorization": f"Bearer {reader}"})
    assert traced.status_code == 200
    httpx.post(address, json=body, headers={"Authorization": f"Bearer {writer}"}).raise_for_status()
    assert [row.by for row in platform.record.feedback.since("reviews", 0)] == ["app"]


def test_the_openapi_document_has_both(url):
    paths = httpx.get(f"{url}/openapi.json").json()["paths"]
    assert "post" in paths["/api/v1/endpoints/{name}/feedback"]
    assert "get" in paths["/api/v1/requests/{id}"]
    assert "/api/v1/requests/{id}" in httpx.get(f"{url}/docs").text
