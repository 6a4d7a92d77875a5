"""The example's web app: a random issue, a title for a text or a URL, and what it says when it cannot.

The model and GitHub are small real servers that answer as those do.
"""

import asyncio
import csv
import http.server
import importlib.util
import json
import shutil
import threading
from pathlib import Path

import httpx
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "issue-titles"


class Both(http.server.BaseHTTPRequestHandler):
    """A model that titles a text by its first three words, and GitHub's API with one issue."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(asked)
        words = asked["messages"][0]["content"].split()[:3]
        answer = {"choices": [{"message": {"content": f" {' '.join(words)}\n"}}]}
        self._answer(self.server.status, answer if self.server.status == 200 else {"error": "loading"})

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("authorization")))
        if self.path == "/repos/octo-org/octo-repo/issues/7":
            self._answer(200, {"body": "It breaks at noon.", "title": "Noon"})
        elif self.path == "/repos/octo-org/busy/issues/1":
            self._answer(403, {"message": "API rate limit exceeded"})
        else:
            self._answer(404, {"message": "Not Found"})

    def _answer(self, status, body) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def world():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Both)
    server.asked, server.status = [], 200
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def ask(world, tmp_path, monkeypatch):
    """Asks the app: (status, JSON or text)."""
    url = f"http://127.0.0.1:{world.server_address[1]}"
    monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
    monkeypatch.setenv("OPENAI_MODEL", "titles")
    monkeypatch.setenv("GITHUB_API", url)
    monkeypatch.setenv("GITHUB_TOKEN", "t0ken")
    folder = shutil.copytree(EXAMPLE / "app", tmp_path / "app")
    with (folder / "issues.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("url", "title", "body"), ("u", "Noon", "It breaks,\nat noon.")])
    spec = importlib.util.spec_from_file_location("issue_app", folder / "app.py")
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)

    def call(method, path, **more):
        async def once():
            transport = httpx.ASGITransport(app.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
                return await client.request(method, path, **more)

        answer = asyncio.run(once())
        is_json = "json" in answer.headers["content-type"]
        return answer.status_code, answer.json() if is_json else answer.text

    return call


def test_the_page_has_what_it_needs(ask):
    status, text = ask("GET", "/")
    assert status == 200
    for part in ("Random issue", "Generate title", 'name="issue_text"', 'name="issue_url"'):
        assert part in text


def test_a_random_issue_comes_whole(ask):
    assert ask("GET", "/random_github_issue") == (
        200, {"body": "It breaks,\nat noon.", "title": "Noon", "url": "u"},
    )  # fmt: skip


@pytest.mark.parametrize(
    "form", [{"json": {"issue_text": " It is slow "}}, {"data": {"issue_text": "It is slow"}}]
)
def test_a_text_gets_the_models_title(ask, world, form):
    assert ask("POST", "/summary", **form) == (200, {"summary": "It is slow", "body": "It is slow"})
    (asked,) = world.asked
    assert (asked["model"], asked["temperature"], asked["stop"]) == ("titles", 0, ["\n"])


def test_an_issue_is_fetched_by_its_url_with_the_token(ask, world):
    answer = ask("POST", "/summary", json={"issue_url": "https://github.com/octo-org/octo-repo/issues/7#top"})
    assert answer == (200, {"summary": "It breaks at", "body": "It breaks at noon."})
    assert world.asked[0] == ("/repos/octo-org/octo-repo/issues/7", "Bearer t0ken")


@pytest.mark.parametrize(
    "given, status, said",
    [
        ({}, 400, "Give issue_text"),
        ({"issue_url": "http://127.0.0.1:22/"}, 400, "looks like https://github.com/"),
        ({"issue_url": "https://github.com/a/../issues/1"}, 400, "looks like"),
        ({"issue_url": "https://github.com/octo-org/octo-repo/issues/8"}, 404, "knows no issue"),
        ({"issue_url": "https://github.com/octo-org/busy/issues/1"}, 429, "set GITHUB_TOKEN"),
        ({"issue_text": "x" * 300_000}, 413, "at most"),
        ([], 400, "JSON object"),
    ],
)
def test_what_cannot_be_titled_is_said(ask, given, status, said):
    got, body = ask("POST", "/summary", json=given)
    assert (got, said in body["error"]) == (status, True), body


def test_a_model_that_is_not_there_yet_is_said(ask, world, monkeypatch):
    world.status = 503
    status, body = ask("POST", "/summary", json={"issue_text": "It is slow"})
    assert (status, body["error"][:30]) == (503, "The model answered with 503: {")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert ask("POST", "/summary", json={"issue_text": "slow"})[0] == 503
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert "tuneline sets it" in ask("POST", "/summary", json={"issue_text": "slow"})[1]["error"]
