"""Errors on the wire, the guard of the loopback, the pages, the ledger, and stopping."""

import httpx
import pytest
from fastapi.testclient import TestClient

from tuneline.errors import TunelineError
from tuneline.web import create_app


def test_the_server_says_who_it_is(client, platform):
    said = client.healthz()
    ours = {"status": "ok", "version": "0.0.0", "home": str(platform.server.home), "pid": 1}
    assert ours.items() <= said.items()
    assert set(said) - set(ours) == {"commit_sha", "tag_name", "multi_user", "pipeline_store"}
    assert client.status()["server"]["started_at"] == "2027-01-15T08:00:00.000Z"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "192.168.1.2", ""]
)
def test_a_name_that_is_not_the_loopback_is_refused(url, host):
    answer = httpx.get(f"{url}/healthz", headers={"Host": host})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9", "LOCALHOST:80", "[::1]:80"])
def test_the_loopbacks_names_are_taken(url, host):
    assert httpx.get(f"{url}/healthz", headers={"Host": host}).status_code == 200


def test_a_page_of_another_origin_may_not_call(url):
    foreign = {"Origin": "https://evil.example"}
    assert httpx.post(f"{url}/api/v1/shutdown", json={}, headers=foreign).status_code == 403
    assert httpx.get(f"{url}/healthz", headers={"Origin": "http://localhost:3000"}).status_code == 200


def test_a_wrong_body_names_every_fault_and_no_value(url):
    answer = httpx.post(f"{url}/api/v1/runs", json={"parameters": "s3cret", "secret": "s3cret"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["retry"]) == (422, "invalid_request", False)
    assert [line.split(":")[0] for line in error["details"]] == [
        "body.pipeline_spec",
        "body.parameters",
        "body.secret",
    ]
    assert "s3cret" not in answer.text


def test_a_body_that_is_no_json_is_a_clear_error(url):
    answer = httpx.post(f"{url}/api/v1/runs", content=b"{", headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")


def test_a_wrong_path_or_method_answers_in_our_form(url):
    assert httpx.get(f"{url}/nowhere").json()["error"]["message"] == "There is no /nowhere here."
    answer = httpx.delete(f"{url}/api/v1/runs")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "bad_request")


def test_whatever_breaks_inside_leaves_as_one_json_error(platform, monkeypatch, caplog):
    def broken() -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(platform, "models", broken)
    with TestClient(create_app(platform), base_url="http://localhost", raise_server_exceptions=False) as http:
        answer = http.get("/api/v1/models")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    assert "ZeroDivisionError" in caplog.text


def test_every_code_of_an_error_becomes_the_same_class_again(client, platform, monkeypatch):
    kinds = [TunelineError]
    while kinds:
        kind = kinds.pop()
        kinds.extend(kind.__subclasses__())
        if not kind.__module__.startswith("tuneline.errors"):
            continue
        monkeypatch.setattr(
            platform, "models", lambda kind=kind: _raise(kind("what", hint="do", details=["a"]))
        )
        with pytest.raises(TunelineError) as got:
            client.models()
        assert (type(got.value), got.value.to_json()) == (
            kind,
            kind("what", hint="do", details=["a"]).to_json(),
        )


def _raise(error):
    raise error


def test_pages_need_no_internet_and_escape_what_they_show(url, client, ir):
    client.submit(ir, {}, {"name": "<script>x</script>"})
    for path in ("/", "/docs"):
        page = httpx.get(f"{url}{path}")
        assert page.status_code == 200
        assert "<script>" not in page.text
        assert "'unsafe-inline'" not in page.headers["content-security-policy"]
        assert "https://" not in page.text
    assert "&lt;script&gt;" in httpx.get(f"{url}/").text
    assert "/api/v1/releases:propose" in httpx.get(f"{url}/docs").text
    assert httpx.get(f"{url}/openapi.json").json()["info"]["title"] == "tuneline"


def test_stopping_is_asked_for_with_and_without_what_serves(client, asked_to_stop):
    client.shutdown()
    client.shutdown(all=True)
    assert asked_to_stop == [False, True]


def test_an_empty_ledger_is_whole(client):
    assert client.ledger() == []
    assert client.verify_ledger()["ok"]
