"""`tuneline trace` and `tuneline feedback` with a real server, router and app, the server killed between."""

import http.client
import json
import time
from http.server import BaseHTTPRequestHandler

import psutil
import pytest
from tests.vllm_server import serving

from tuneline.errors import NotFoundError
from tuneline.record.record import Record

APP = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
"""


def until(condition, within_s=40.0):
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def ask(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/some/path?secret=1")
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.getheader("x-request-id")


def state_of(home):
    path = home / "endpoints" / "web" / "requests" / "state.json"
    return json.loads(path.read_text()) if path.exists() else {"lines": 0}


@pytest.mark.slow
def test_an_answer_s_id_leads_to_its_release_before_and_after_it_was_ingested(tuneline, home, tmp_path):
    """A server, a router and an app, about 15 s: only together do they show that a request comes through."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app.py").write_text(APP)
    assert tuneline("app", "put", "web", str(tmp_path / "app"), "--entry", "app.py:app").code == 0

    def live():
        found = json.loads(tuneline("status", "--json").out)["endpoints"][0]
        return found["port"] if found["phase"] == "live" else None

    port = until(live)
    id = ask(port)
    found = until(lambda: json.loads(tuneline("trace", id, "--json").out or "null"))
    assert (found["request"]["release"], found["was_live"]) == ("web@1.0.0", True)
    assert "secret" not in json.dumps(found)
    assert tuneline("feedback", "web", id, "--score", "0.5", "--comment", "so so").out == f"{id} scored 0.5\n"
    later = tuneline("feedback", "web", "later", "--score", "1")
    assert (later.code, "No line of that request is here yet" in later.err) == (0, True)

    until(lambda: state_of(home)["lines"] == 1)
    psutil.Process(json.loads((home / "server.json").read_text())["pid"]).kill()
    second = ask(port)  # the router goes on, and writes
    assert tuneline("up", "-d").code == 0
    until(lambda: state_of(home)["lines"] == 2)
    shown = tuneline("trace", id, "--endpoint", "web").out
    for said in (f"request          {id}", "asked            GET /some/path\n", "by release       web@1.0.0",
                 "live then        web@1.0.0, from", "feedback         0.5 by", "so so"):  # fmt: skip
        assert said in shown
    assert json.loads(tuneline("trace", second, "--json").out)["earlier"] == []
    missing = tuneline("trace", "nope")
    assert (missing.code, "No request `nope` of" in missing.err) == (NotFoundError.exit_code, True)
    record = Record(f"sqlite:///{home / 'tuneline.db'}")
    assert [(row.request_id, row.score) for row in record.feedback.since("web", 0)] == [
        (id, 0.5),
        ("later", 1),
    ]
    record.close()


@pytest.mark.parametrize("words", [("--score", "1.1"), ("--score", "good"), ()])
def test_a_score_that_is_none_is_a_usage_error(tuneline, words):
    found = tuneline("feedback", "web", "id", *words)
    assert (found.code, found.out, "--score" in found.err) == (2, "", True)


CODE = {"digest": "sha256:c0de", "task": "train"}
TRACED = {
    "id": "r1", "endpoint": "web", "shadows": [], "earlier": [], "also_at": [], "feedback": [],
    "was_live": True,
    "request": {
        "at": "2026-11-26T22:06:11.607Z", "method": "POST", "path": "/v1/completions", "status": 200,
        "ms": 7.1, "retries": 0, "shadow_of": None, "release": "web@1.0.0", "revision": "1.0.0-1",
        "override": None,
    },
    "live": {"release": "web@1.0.0", "from": "2026-11-26T21:00:00.000Z", "to": None},
    "release": {
        "release": "web@1.0.0", "state": "approved", "forced": [], "verdict": {"passed": True},
        "package": {"digest": "sha256:9ac"}, "base": None, "commit": None, "source": [],
        "run": {"id": "20261126-1", "created_at": "2026-11-26T20:00:00.000Z", "commit": None},
        "code": [CODE, {"digest": "sha256:e1", "task": "score"}, CODE],
        "parameters": {
            "data_prompt": "{text}\nAnswer:", "data_keep": [], "data_where": "", "train_seed": 0,
            "nothing": None, "monitor": {"keep_s": 2592000.0, "keep_bytes": 4000000000, "to": "z" * 99},
        },
        "data": {"data_digest": "sha256:da", "rows_digest": "sha256:20"},
    },
}  # fmt: skip


class Traced(BaseHTTPRequestHandler):
    """A server that knows one request."""

    def do_GET(self):
        data = json.dumps({"ok": True, "version": "0.1.0"} if self.path == "/healthz" else TRACED).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        return


def test_code_is_told_once_and_parameters_a_line_each_without_the_empty_ones(tuneline, monkeypatch):
    with serving(Traced) as port:
        monkeypatch.setenv("TUNELINE_URL", f"http://127.0.0.1:{port}")
        shown = tuneline("trace", "r1").out.splitlines()
        assert json.loads(tuneline("trace", "r1", "--json").out) == TRACED
    assert [line.split()[1:] for line in shown if line.startswith("code ")] == [
        ["sha256:c0de", "train"],
        ["sha256:e1", "score"],
    ]
    prompt, monitor, seed = sorted(line for line in shown if line.startswith("parameter "))
    assert prompt == r'parameter        data_prompt = "{text}\nAnswer:"'
    assert monitor.startswith('parameter        monitor = {"keep_s": 2592000.0, "keep_bytes": 4000000000, ')
    assert (monitor[-3:], len(monitor) - len("parameter        monitor = ")) == ("...", 90)
    assert seed == "parameter        train_seed = 0"
