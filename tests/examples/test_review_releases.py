"""The tutorial's project and its users: against a real HTTP server that stands for endpoint and server."""

import importlib.util
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tuneline.spec.project import load

EXAMPLE = Path(__file__).parents[2] / "examples" / "review-releases"


class Answering(BaseHTTPRequestHandler):
    """`positive` to everything, by 1.0.0; `broken` gets a 500, `other` the id of another request."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.seen.append((self.path, body))
        asked = json.dumps(body)
        said = json.dumps({"choices": [{"message": {"content": " positive"}}]}).encode()
        self.send_response(500 if "broken" in asked else 200)
        self.send_header("x-tuneline-release", "reviews@1.0.0")
        if "x-request-id" in self.headers:
            self.send_header("x-request-id", "another" if "other" in asked else self.headers["x-request-id"])
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_):
        return


@pytest.fixture
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    made.seen = []
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def users_of(server, *rows):
    spec = importlib.util.spec_from_file_location("tutorial_users", EXAMPLE / "users.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    url = f"http://127.0.0.1:{server.server_port}"
    return module.Users("reviews", url, url, [dict(zip(("text", "label"), row, strict=True)) for row in rows])


def test_the_project_has_no_faults():
    project = load(EXAMPLE).project
    assert (project.name, project.deploy.rollout.strategy) == ("reviews", "ab")
    assert project.monitor.drift.retrain


def test_users_give_each_answer_its_score_and_count_what_failed(server, capsys):
    users = users_of(server, ("fine", "1"), ("dull", "0"), ("broken", "1"), ("other", "positive"))
    given = [score for row in users.rows for score in users.ask(row)]
    assert [score["score"] for score in given] == [1.0, 0.0]
    users.give(given)
    path, body = server.seen[-1]
    assert (path, body) == ("/api/v1/endpoints/reviews/feedback", given)
    assert body[1]["request_id"] == users.last["reviews@1.0.0"]
    assert users.failed == 2
    assert users.told().endswith("reviews@1.0.0 2 (50% right); 2 failed")
    assert capsys.readouterr().out.count("FAILED") == 2
