"""Who may ask: decided by real requests through the app, with the address they come from given."""

import contextlib
import re
import time

import httpx
import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from tuneline.client import Client
from tuneline.errors import ForbiddenError, UnauthenticatedError
from tuneline.web import create_app
from tuneline.web.access import Asked, admit
from tuneline.web.login import local_path

ELSEWHERE = "192.0.2.7"


@pytest.fixture
def tokens(platform):
    return platform.record.tokens


@pytest.fixture
def far(platform):
    """A browser or program on another machine."""
    app = create_app(platform)
    with TestClient(
        app, base_url="http://tuneline.test:8080", client=(ELSEWHERE, 50_000), follow_redirects=False
    ) as http:
        yield http


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def test_from_elsewhere_nothing_is_shown_without_a_token(far, tokens):
    tokens.create("ci", time.time())
    # fmt: off
    paths = ("/healthz", "/api/v1/runs", "/openapi.json", "/apis/v2beta1/runs", "/nowhere", "/loginx",
             "/login/../api/v1/runs", "/static", "/artifacts/view?id=x", "/runs/x/logs?task=y&raw=true",
             "/metrics")
    # fmt: on
    for path in paths:
        answer = far.get(path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="tuneline"')
    assert far.get("/api/v1/runs").json()["error"]["code"] == "unauthenticated"
    assert far.post("/api/v1/shutdown", json={}).status_code == 401
    assert far.post("/apis/v2beta1/healthz").status_code == 401
    assert far.get("/static/../app.py").status_code in (401, 404)
    assert far.get("/apis/v2beta1/healthz").json().keys() == {
        "commit_sha", "tag_name", "multi_user", "pipeline_store"}  # fmt: skip


def test_a_token_opens_and_its_revocation_closes_at_once(far, tokens):
    token = tokens.create("ci", time.time())
    assert far.get("/api/v1/runs", headers=bearer(token)).json() == []
    assert far.get("/api/v1/runs", headers={"authorization": f"bearer {token}"}).status_code == 200
    assert far.get("/api/v1/runs", headers=bearer(token + "x")).status_code == 401
    assert far.get("/api/v1/runs", headers={"Authorization": f"Basic {token}"}).status_code == 401
    tokens.revoke("ci", time.time())
    assert "revoked" in far.get("/api/v1/runs", headers=bearer(token)).json()["error"]["message"]


def test_a_token_that_has_ended_is_refused(far, tokens):
    token = tokens.create("short", time.time() - 10, expires_at=time.time() - 1)
    tokens.create("other", time.time())
    assert far.get("/healthz", headers=bearer(token)).status_code == 401


def test_a_reading_token_only_reads(far, tokens, ir):
    token = tokens.create("watch", time.time(), read_only=True)
    assert far.get("/api/v1/status", headers=bearer(token)).status_code == 200
    answer = far.post("/api/v1/runs", json={"pipeline_spec": ir}, headers=bearer(token))
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    assert "`watch` may only read" in answer.json()["error"]["message"]


def test_below_apis_a_refusal_has_the_form_that_kfp_clients_read(far, tokens):
    token = tokens.create("watch", time.time(), read_only=True)
    body = far.get("/apis/v2beta1/runs").json()
    assert (body["code"], body["details"][0]["code"]) == (16, 16)
    assert body["details"][0]["@type"] == "type.googleapis.com/google.rpc.Status"
    answer = far.post("/apis/v2beta1/runs", json={}, headers=bearer(token))
    assert (answer.status_code, answer.json()["code"]) == (403, 7)


def test_what_is_done_is_recorded_under_the_tokens_name(far, tokens, ir, platform):
    mine = bearer(tokens.create("ann-laptop", time.time()))
    run = far.post("/api/v1/runs", json={"pipeline_spec": ir}, headers=mine).json()["id"]
    assert far.post(f"/api/v1/runs/{run}:cancel", headers=mine).status_code == 200
    events = platform.events_now(run)["events"]
    assert [event["by"] for event in events if event["kind"] == "cancel_requested"] == ["ann-laptop"]


def test_what_is_done_by_kfps_api_is_recorded_so_too(far, tokens, ir, platform):
    mine = bearer(tokens.create("ann-notebook", time.time()))
    asked = {"display_name": "try", "pipeline_spec": ir}
    run = far.post("/apis/v2beta1/runs", json=asked, headers=mine).json()["run_id"]
    assert far.post(f"/apis/v2beta1/runs/{run}:terminate", headers=mine).status_code == 200
    events = platform.events_now(run)["events"]
    assert [event["by"] for event in events if event["kind"] == "cancel_requested"] == ["ann-notebook"]


def test_without_any_token_a_foreign_name_is_refused_as_ever(far):
    answer = far.get("/healthz")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    assert "tuneline token create" in answer.json()["error"]["hint"]


def test_what_nginx_passes_on_by_default_is_not_local(tokens):
    """HTTP/1.0, its own name of this server as Host, and no header that says who asked."""
    tokens.create("ci", time.time())
    headers = {"host": "127.0.0.1:8080", "connection": "close"}
    with pytest.raises(UnauthenticatedError):
        admit(Asked("DELETE", "/", headers, "127.0.0.1", "1.0"), tokens, time.time())


def test_a_peer_that_is_no_address_is_not_this_machine(tokens):
    tokens.create("ci", time.time())
    with pytest.raises(UnauthenticatedError):
        admit(Asked("GET", "/", {"host": "localhost"}, "somewhere"), tokens, time.time())


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_a_proxy_on_this_machine_does_not_make_its_callers_local(platform, tokens, header):
    tokens.create("ci", time.time())
    with TestClient(create_app(platform), base_url="http://127.0.0.1", client=("127.0.0.1", 1)) as http:
        assert http.get("/healthz").status_code == 200
        assert http.get("/healthz", headers={header: "127.0.0.1"}).status_code == 401


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", None])
def test_this_machine_is_known_by_each_of_its_loopback_addresses(peer, tokens):
    assert admit(Asked("GET", "/", {"host": "localhost:8080"}, peer), tokens, 0.0) is None


@pytest.mark.parametrize(
    "peer, host",
    [("192.0.2.7", "localhost"), ("::ffff:192.0.2.7", "127.0.0.1"), ("127.0.0.1", "evil.example"),
     ("127.0.0.1", "127.0.0.1, evil.example"), ("127.0.0.1", "[")],
)  # fmt: skip
def test_anybody_else_is_not(peer, host, tokens):
    tokens.create("ci", time.time())
    with pytest.raises(UnauthenticatedError):
        admit(Asked("GET", "/", {"host": host}, peer), tokens, time.time())


def test_on_the_loopback_a_foreign_token_is_ignored_and_one_of_ours_must_be_good(client, url, tokens):
    assert httpx.get(f"{url}/healthz", headers=bearer("of-another-service")).status_code == 200
    token = tokens.create("ci", time.time())
    with Client(url, token) as mine:
        assert mine.runs() == []
    tokens.revoke("ci", time.time())
    with Client(url, token) as mine, pytest.raises(UnauthenticatedError) as wrong:
        mine.runs()
    assert token not in str(wrong.value.to_json())
    assert client.runs() == []


def test_a_reading_token_reads_only_on_the_loopback_too(url, tokens, ir):
    token = tokens.create("watch", time.time(), read_only=True)
    with Client(url, token) as mine, pytest.raises(ForbiddenError, match="may only read"):
        mine.submit(ir, {}, {})


def logged_in(far, token, next="/docs"):
    return far.post("/login", data={"token": token, "next": next})


def test_a_person_logs_in_and_out(far, tokens):
    token = tokens.create("ann", time.time(), read_only=True)
    answer = far.get("/docs", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/docs")
    form = far.get("/login?next=/docs")
    assert 'value="/docs"' in form.text
    assert form.headers["content-security-policy"].startswith("default-src 'none'")
    for asset in re.findall(r'(?:src|href)="(/static/[^"]+)"', form.text):
        assert far.get(asset).status_code == 200
    assert logged_in(far, "tl_wrong").status_code == 401
    answer = logged_in(far, token)
    assert (answer.status_code, answer.headers["location"]) == (303, "/docs")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert far.get("/docs", headers={"Accept": "text/html"}).status_code == 200
    assert "by the token <b>ann</b>" in far.get("/login").text
    far.post("/logout")
    assert far.get("/docs", headers={"Accept": "text/html"}).status_code == 303


def test_the_cookie_does_nothing_for_pages_of_others(far, tokens, ir):
    logged_in(far, tokens.create("ann", time.time()))
    body = {"pipeline_spec": ir}
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://tuneline.test:8081"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        assert far.post("/api/v1/runs", json=body, headers=headers).status_code == 403
    own = {"Origin": "http://tuneline.test:8080", "Sec-Fetch-Site": "same-origin"}
    assert far.post("/api/v1/runs", json=body, headers=own).status_code == 201


def test_behind_a_proxy_the_name_it_forwards_is_the_origin_and_the_cookie_is_secure(far, tokens):
    far.cookies.clear()
    proxied = {"X-Forwarded-Host": "t.example", "X-Forwarded-Proto": "https", "Origin": "https://t.example"}
    answer = far.post("/login", data={"token": tokens.create("ann", time.time())}, headers=proxied)
    assert answer.status_code == 303
    assert "Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    "text", ["https://evil.example", "//evil.example", "/\\evil.example", "", "x", "/a\r\nSet-Cookie: x"]
)
def test_the_login_leads_nowhere_else(text):
    assert local_path(text) == "/"
    assert local_path("/#/runs/details/1") == "/#/runs/details/1"


def test_a_login_form_that_is_no_form_is_a_wrong_token(far):
    for body in (b"", b"\xff\xfe", b"token=" + b"x" * 100_000):
        with contextlib.suppress(httpx.HTTPError):
            assert far.post("/login", content=body).status_code == 401


def test_a_websocket_is_closed(far):
    with pytest.raises(WebSocketDisconnect), far.websocket_connect("/nowhere"):
        pass
