"""A real server, real pyfunc runtimes, the commands as typed: one canary is promoted, one taken back."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.world import wait_for
from tests.serve.pyfunc_package import SERVE, pyfunc_package

from tuneline.execute.files import digest_path
from tuneline.serve.interpreters import interpreter_of, version_of
from tuneline.serve.pyfunc import ABOUT

pytestmark = pytest.mark.slow
LOAD = Path(__file__).parents[1] / "control" / "load_program.py"
BASE = "sha256:" + "b" * 64
ASKED = '{"dataframe_records": [{"x": 3}]}'
QUICK = ["--every", "0.3s", "--min-requests", "40", "--margin", "errors=0.1", "--metric", "errors"]
FINE, BROKEN = (
    f"return [{{'label': {what}}} for row in rows]" for what in ("row['x'] * 2", "1 / (row['x'] - 3)")
)


def offer(world, name: str, predict: str, live: str = "", passed: bool = True) -> dict:
    """A proposal of code of its own, with the proof that `verify` would make here."""
    serve = SERVE.replace('return [{"label": row["x"] * by} for row in rows]', predict)
    assert serve != SERVE
    folder = pyfunc_package(world.home / name, serve, needs=())
    about = json.loads((folder / "served" / "code" / ABOUT).read_text())
    manifest = json.loads((folder / "manifest.json").read_text())
    names = ("adapter_digest", "served_digest", "template_hash", "tokenizer_hash")
    facts = {each: manifest[each] for each in names}
    python = interpreter_of(about, world.settings, print)
    proof = {"passed": True, "runtime": "pyfunc", "runtime_version": version_of(python, about),
             "base_digest": BASE, "base_file_sha256": "", **facts}  # fmt: skip
    rules = [{"rule": "accuracy >= 0.8", "passed": passed, "reason": "0.5"}]
    return {
        "model": "flows", "package": str(folder), "package_digest": digest_path(folder)[0],
        "base": str(world.home), "base_digest": BASE, "proof": proof, "live_digest": live,
        "verdict": {"passed": passed, "rules": rules}, "passed": passed,
        "deploy": {"endpoint": "flows", "runtime": "pyfunc", "rollout": {"strategy": "canary"}},
    }  # fmt: skip


@pytest.fixture
def asking():
    """Starts load on an endpoint; stopped, it says what came of it."""
    started = []

    def start(port: int) -> "subprocess.Popen[str]":
        words = [sys.executable, str(LOAD), str(port), "2", "/invocations", ASKED]
        child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        started.append(child)
        assert child.stdout is not None
        child.stdout.readline()
        return child

    yield start
    for child in started:
        child.kill()


def ended(child) -> dict:
    child.send_signal(signal.SIGTERM)
    return json.loads(child.communicate()[0].splitlines()[-1])


def test_a_release_is_tried_promoted_taken_back_and_a_broken_one_rolls_itself_back(world, asking):
    with world.server() as client:
        first = client.propose(offer(world, "first", FINE))["release"]
        wait_for(lambda: client.endpoint("flows")["live"] == first)
        live = client.endpoint("flows")
        load = asking(live["port"])
        tried = client.propose(offer(world, "second", FINE + "  # again", live["live_digest"]))["release"]
        assert client.endpoint("flows")["rollout"]["release"] == tried  # as its project says
        started = world.cli("rollout", "start", "flows", tried, "--canary", "50%,100%", *QUICK)
        assert started.stdout == "flows-2\n", started.stderr
        followed = world.cli("rollout", "status", "flows", "-w")
        assert (followed.returncode, "promoted" in followed.stdout) == (0, True), followed.stdout
        wait_for(lambda: client.endpoint("flows")["live"] == tried)
        back = world.cli("rollback", "flows", "--why", "to see")
        assert "is warm: it takes over in under a second" in back.stderr
        assert client.endpoint("flows")["live"] == first
        said = ended(load)
        assert (said["failures"], {key.split()[1] for key in said["answers"]}) == ([], {"200"})

        load = asking(live["port"])
        live = client.endpoint("flows")
        broken = client.propose(offer(world, "third", BROKEN, live["live_digest"], passed=False))
        assert broken["state"] == "rejected"
        refused = world.cli("rollout", "start", "flows", broken["release"], "--canary", "50%", *QUICK)
        assert "--force" in refused.stderr
        forced = ["--canary", "50%", *QUICK, "--force", "--why", "it is right, I am sure"]
        assert world.cli("rollout", "start", "flows", broken["release"], *forced).returncode == 0
        followed = world.cli("rollout", "status", "flows", "-w")
        assert followed.returncode == 5, followed.stdout  # rolled back
        assert "worse in errors" in followed.stdout
        assert client.endpoint("flows")["live"] == first
        assert ended(load)["failures"] == []
        kinds = [entry["body"]["kind"] for entry in client.ledger() if entry["kind"] == "decision"]
        assert (kinds.count("promote"), kinds.count("rollback"), kinds.count("replaced")) == (1, 1, 1)
        assert client.verify_ledger()["ok"]
