"""The example, whole, over a tiny base: issues to a release, a page that asks it, a run that trains on.

The SDK is the real one, in an interpreter of its own; components come from files, a server and a text.
"""

import functools
import http.server
import json
import subprocess
import threading

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
def run(world, compiled, tmp_path):
    """Runs the pipeline to its end with these parameters; its tasks by path."""
    spec, platform = compiled
    tiny_gguf(tmp_path / "tiny.gguf", "gemma3")
    small = {
        "base_model": str(tmp_path / "tiny.gguf"),
        "words": 20,
        "held_out": 0.3,
        "limit": 32,
        "learning_rate": 0.01,
        "rules": ["rouge_l >= 0"],
    }

    def call(**parameters):
        with world.server() as client:
            pipeline = {"pipeline_spec": spec, "platform_spec": platform}
            id = client.submit(pipeline, small | parameters, {"name": "issue-titles"})["id"]
            ended = lambda: client.run(id)["state"] not in ("PENDING", "RUNNING")  # noqa: E731
            wait_for(ended, timeout_s=150, every_s=0.2, said=world.logs)
            found, told = client.run(id), client.series(id, "live")["points"]
        tasks = {task["name"]: task for task in found["tasks"]}
        failed = {name: task["error"] for name, task in tasks.items() if task["error"]}
        assert found["state"] == "SUCCEEDED", failed
        return tasks, " ".join(point.get("message", "") for point in told)

    return call


def test_issues_become_a_model_and_a_page_and_the_next_run_trains_on(world, run):
    first, told = run()
    assert first["launch-app/app"]["outputs"]["parameters"]["release"] == "issue-titles-app@1.0.0"
    with world.server() as client:
        assert client.endpoint("issue-titles")["desired"] == "issue-titles@1.0.0"
        wait_for(lambda: client.endpoint("issue-titles")["live"], said=world.logs)
        page = client.endpoint("issue-titles-app")
    assert (page["live"], page["runtime"]) == ("issue-titles-app@1.0.0", "app")
    with httpx.Client(base_url=page["url"], trust_env=False, timeout=30) as browser:
        assert "Generate title" in browser.get("/").text
        issue = browser.get("/random_github_issue").json()
        answer = browser.post("/summary", json={"issue_text": issue["body"]})
        assert (answer.status_code, answer.json()["body"]) == (200, issue["body"])
    assert "training starts from the base" in told
    said = json.dumps(first["train/tune"]["notes"])
    assert "nvidia.com/gpu" in said
    assert "preemptible" in said

    second, told = run(launch_app="false")
    assert "Training goes on from issue-titles@1.0.0." in told
    assert second["launch-app"]["state"] == "SKIPPED"
    assert second["train/tune"]["state"] == "SUCCEEDED"
