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
import yaml
from tests.e2e.world import wait_for
from tests.examples.conftest import EXAMPLE
from tests.tiny import tiny_gguf

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

COMPILE = """
import sys
sys.path.insert(0, sys.argv[1])
from kfp import compiler
from pipeline import issue_titles
compiler.Compiler().compile(issue_titles, sys.argv[2])
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
def compiled(kfp_python, components, tmp_path):
    """The pipeline as the SDK compiles it: its documents, the IR first."""
    target, (url, asked) = tmp_path / "pipeline.yaml", components
    command = [kfp_python, "-c", COMPILE, str(EXAMPLE), str(target)]
    ended = subprocess.run(
        command, env={"COMPONENTS_URL": url, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert "/tune.yaml" in asked
    return list(yaml.safe_load_all(target.read_text(encoding="utf-8")))


@pytest.fixture
def start(world, compiled, tmp_path):
    """Starts the pipeline, small; the id of the run."""
    spec, platform = compiled
    tiny_gguf(tmp_path / "tiny.gguf", "gemma3")
    small = {
        "base_model": str(tmp_path / "tiny.gguf"),
        "words": 20,
        "held_out": 0.25,
        "limit": 32,
        "max_new_tokens": 8,
        "learning_rate": 0.01,
        "rules": ["rouge_l >= 0"],
    }

    def call(client):
        pipeline = {"pipeline_spec": spec, "platform_spec": platform}
        return client.submit(pipeline, small, {"name": "issue-titles"})["id"]

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

        run = start(client)
        tasks = tasks_of(client, run, lambda now, _: now["train/tune"]["state"] == "SUCCEEDED", world.logs)
        assert "Training goes on from issue-titles@1.0.0." in told(client, run, "live")
        (adapter,) = tasks["train/tune"]["outputs"]["artifacts"]["adapter"]
        facts = json.loads((Path(adapter["uri"]) / "tuneline.json").read_text())
        assert facts["init"].startswith("sha256:")
        client.cancel(run)


def look_at(url):
    """What somebody does on the page."""
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as browser:
        assert "Generate title" in browser.get("/").text
        issue = browser.get("/random_github_issue").json()
        answer = browser.post("/summary", json={"issue_text": issue["body"]})
        assert (answer.status_code, answer.json()["body"]) == (200, issue["body"])
