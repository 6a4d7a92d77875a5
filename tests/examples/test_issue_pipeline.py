"""The example, whole, over a tiny base: issues to a release, a page that asks it, a run that trains on.

The SDK is the real one, in an interpreter of its own; components come from files, a server and a text.
"""

import functools
import http.server
import json
import subprocess
import threading
from pathlib import Path

import httpx
import pytest
from tests.e2e.world import wait_for
from tests.examples.conftest import EXAMPLE
from tests.tiny import tiny_gguf

pytestmark = pytest.mark.slow

START = """
import json, sys
sys.path.insert(0, sys.argv[1])
from kfp import Client
from pipeline import issue_titles
client = Client(host=sys.argv[2])
run = client.create_run_from_pipeline_func(
    issue_titles, arguments=json.loads(sys.argv[3]), experiment_name="issue-titles"
)
print("run", run.run_id)
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and remembers what was asked for."""

    def log_message(self, *_) -> None:
        self.server.asked.append(self.path)


@pytest.fixture
def components():
    """The URL of a server of the example's components, and what it was asked for."""
    handler = functools.partial(Quiet, directory=str(EXAMPLE / "components"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", server.asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def start(world, kfp_python, components, tmp_path):
    """Starts the pipeline, small, with the SDK's own client; the id of the run."""
    url, asked = components
    tiny_gguf(tmp_path / "tiny.gguf", "gemma3")
    small = {
        "base_model": str(tmp_path / "tiny.gguf"),
        "words": 20,
        "held_out": 0.25,
        "limit": 32,
        "max_new_tokens": 8,
        "learning_rate": 0.01,
        "rules": ["rouge_l >= 0"],
        "app_below": 20.0,
    }
    env = {"COMPONENTS_URL": url, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}

    def call(client):
        command = [kfp_python, "-c", START, str(EXAMPLE), client.url, json.dumps(small)]
        ended = subprocess.run(command, env=env, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        assert "/tune.yaml" in asked
        return ended.stdout.split()[-1]

    return call


def tasks_of(client, run, ended, said):
    """The tasks of a run by path, once `ended` (of them and the run's state) is true."""

    def look():
        found = client.run(run)
        tasks = {task["name"]: task for task in found["tasks"]}
        failed = {name: task["error"] for name, task in tasks.items() if task["error"]}
        assert not failed, f"{failed}\n{said()}"
        return tasks if ended(tasks, found["state"]) else None

    return wait_for(look, timeout_s=200, every_s=0.2, said=said)


def told(client, run, task):
    """All that a task said."""
    return " ".join(point.get("message", "") for point in client.series(run, task)["points"])


def test_issues_become_a_model_and_a_page_and_the_next_run_trains_on(world, start):
    with world.server() as client:
        run = start(client)
        tasks = tasks_of(client, run, lambda _, state: state == "SUCCEEDED", world.logs)
        assert "training starts from the base" in told(client, run, "live")
        assert tasks["condition-1/app"]["outputs"]["parameters"]["release"] == "issue-titles-app@1.0.0"
        wishes = " ".join(tasks["train/tune"]["notes"])
        assert "nvidia.com/gpu" in wishes
        assert "preemptible" in wishes
        wait_for(lambda: client.endpoint("issue-titles")["live"] == "issue-titles@1.0.0", said=world.logs)
        page = client.endpoint("issue-titles-app")
        assert (page["live"], page["runtime"]) == ("issue-titles-app@1.0.0", "app")
        look_at(page["url"])
        board = client.tensorboard(run)
        assert list(board["logs"]) == ["train.tune.logs"]
        assert httpx.get(board["url"], trust_env=False).status_code == 200

        run = start(client)
        tuned = lambda now, _: now.get("train/tune", {}).get("state") == "SUCCEEDED"  # noqa: E731
        tasks = tasks_of(client, run, tuned, world.logs)
        assert "Training goes on from issue-titles@1.0.0." in told(client, run, "live")
        (adapter,) = tasks["train/tune"]["outputs"]["artifacts"]["adapter"]
        facts = json.loads((Path(adapter["uri"]) / "tuneline.json").read_text())
        assert facts["init"].startswith("sha256:")
        client.cancel(run)
        wait_for(lambda: client.run(run)["state"] == "CANCELED", said=world.logs)
    assert world.cli("down").returncode == 0
    assert world.processes() == []


def look_at(url):
    """What somebody does on the page."""
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as browser:
        assert "Generate title" in browser.get("/").text
        issue = browser.get("/random_github_issue").json()
        answer = browser.post("/summary", json={"issue_text": issue["body"]})
        assert (answer.status_code, answer.json()["body"]) == (200, issue["body"])
