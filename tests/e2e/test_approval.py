"""A release that waits for a person, through its command line: exit code 4, approved, gated again, live."""

import json
import signal

import pytest
from tests.e2e.test_own_code import states, write
from tests.e2e.world import World, wait_for
from tests.kubeflow import TASK_ENV

pytestmark = pytest.mark.slow


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "home", TUNELINE_TASK_ENV=str(TASK_ENV))
    yield made
    made.close()


def live(world):
    with world.server() as client:
        found = client.endpoint("moods")
        return found["live"] if found["phase"] == "live" else None


def test_a_release_waits_for_a_yes_is_gated_again_if_live_moved_and_goes_on_by_itself(world, tmp_path):
    project = write(tmp_path / "moods")
    file = project / "tuneline.yaml"
    file.write_text(file.read_text() + "release: {approval: required}\n")

    ended = world.cli("run", str(project))
    assert ended.returncode == 4, ended.stderr
    assert "moods@1.0.0 passed its gate and waits for approval" in ended.stderr
    assert 'tuneline releases approve moods@1.0.0 --comment "..."' in ended.stderr
    with world.server() as client:
        assert client.endpoints() == []
    assert world.cli("releases", "approve", "moods@1.0.0", "--comment", "first").returncode == 0
    wait_for(lambda: live(world) == "moods@1.0.0", said=world.logs)

    waits = world.run(project, "-p", "train.params.least=2", expect=4)
    assert waits["release"]["state"] == "candidate"
    name = waits["release"]["release"]
    other = world.run(project, "-p", "train.params.least=3", "-p", "release.approval=auto")
    assert live(world) == other["release"]["release"] != name

    ended = world.cli("releases", "approve", name, "--comment", "it is better", "--json")
    done = json.loads(ended.stdout)
    assert (done["again"], done["serves"], done["state"]) == (True, other["release"]["release"], "candidate")
    with world.server() as client:
        pid = client.healthz()["pid"]
    next(process for process in world.processes() if process.pid == pid).send_signal(signal.SIGKILL)
    wait_for(lambda: live(world) == name, timeout_s=300, said=world.logs)  # it starts the server again

    with world.server() as client:
        run = client.run(done["run"], outline=True)
        assert states(run)["train"] == states(run)["score"] == "CACHED"
        assert states(run)["evaluate"] == states(run)["gate"] == "SUCCEEDED"
        assert run["report"]["verdict"]["live_release"] == other["release"]["release"]
        release = client.release(name)
        assert (release["state"], release["approval"]["comment"]) == ("approved", "it is better")
        (now,) = [row for row in client.history("moods") if row["to"] is None]
        assert (now["release"], now["why"]) == (name, "approved: it is better")
        assert client.verify_ledger(release["approval"]["ledger_head"])["ok"]
        made = client.provenance(name)
    assert made["run"]["id"] == waits["run"]
    assert made["parameters"]["train_params"] == {"least": 2}
    assert made["source"][0]["source"].endswith("rows.jsonl")
    code = {each["task"]: each for each in made["code"]}
    assert {"fetch", "prepare", "train", "score", "verify", "package"} <= set(code)
    assert all(each["digest"].startswith("sha256:") for each in code.values())
    shown = world.cli("runs", "show", waits["run"])
    assert "approved" in shown.stdout
    told = world.cli("lineage", name, "--up").stdout
    assert f"by run {waits['run']} of moods" in told
    assert "by code train" in told
