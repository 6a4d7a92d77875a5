"""A project on a real Airflow, from the parameters of the trigger form to an endpoint that answers, through
the death of the scheduler and of all that it ran."""

import json

import pytest
from tests.airflow.world import Airflow, airflow, tool_python
from tests.e2e.projects import TRAIN, write_project
from tests.e2e.world import World, ask, wait_for

from tuneline.execute.files import digest_path

pytestmark = pytest.mark.slow

REVIEW = "Review: a great film with a story 99991\nSentiment:"
EPOCHS = 25


@pytest.fixture
def world(tmp_path):
    """The tuneline that DAG runs propose their releases to."""
    made = World(tmp_path / "home")
    yield made
    made.close()


@pytest.fixture
def reference(tmp_path):
    """The adapter that the local runner comes to with the same parameters."""
    world = World(tmp_path / "reference")
    yield world
    world.close()


@pytest.fixture
def engine(tmp_path, world):
    with world.server() as client:
        url = client.url
    made = Airflow(
        tmp_path / "airflow",
        TUNELINE_PYTHON=str(tool_python(tmp_path)),
        TUNELINE_ROOT=str(tmp_path / "root"),
        TUNELINE_URL=url,
        **{key: world.env[key] for key in ("TUNELINE_HOME", "TUNELINE_OFFLINE", "HF_HUB_OFFLINE")},
        OMP_NUM_THREADS="1",
    )
    yield made
    made.close()


def test_a_dag_run_ends_as_the_local_runner_does_although_its_scheduler_is_killed(
    engine, world, reference, tmp_path
):
    project = write_project(tmp_path / "reviews", train={**TRAIN, "save_steps": 10})
    exported = world.cli("export", "airflow", str(project), "-o", str(engine.dags), "--executor", "process")
    assert exported.returncode == 0, exported.stderr
    alone = reference.cli("run", str(project), "--detach", "-p", f"train.num_train_epochs={EPOCHS}")
    assert alone.returncode == 0, alone.stderr
    airflow(engine.env, "db", "migrate")
    engine.start("api-server", "dag-processor", "triggerer")
    wait_for(engine.is_up, timeout_s=90, said=engine.story)
    wait_for(lambda: engine.get("dags")["dags"], timeout_s=90, every_s=0.5, said=engine.story)
    engine.start("scheduler")

    shown = engine.get("dags/reviews/details")["params"]
    assert shown["train_r"]["schema"]["type"] == "integer"
    assert shown["train_num_train_epochs"]["schema"]["type"] == "number"
    assert shown["train_num_train_epochs"]["value"] == TRAIN["num_train_epochs"]
    engine.post("dags/reviews/dagRuns", {"logical_date": None, "dag_run_id": "first",
                                         "conf": {"train_num_train_epochs": EPOCHS}})  # fmt: skip
    from_unpaused(engine)

    state = tmp_path / "root" / "reviews" / "first" / "tune" / "state"
    wait_for(lambda: checkpoints(state), timeout_s=200, said=lambda: told(engine))
    engine.kill("scheduler")
    kept = checkpoints(state)
    engine.start("scheduler")

    def ended():
        return engine.get("dags/reviews/dagRuns/first")["state"] in ("success", "failed")

    wait_for(ended, timeout_s=250, every_s=1, said=lambda: told(engine))
    assert set(engine.states("reviews", "first").values()) == {"success"}, told(engine)

    tries = engine.get("dags/reviews/dagRuns/first/taskInstances/tune")["try_number"]
    assert tries == 2, "the attempt that was killed was made again"
    resumed = [
        json.loads(line)
        for line in (state.parent / "2" / "events.jsonl").read_text().splitlines()
        if "Going on from step" in line
    ]
    assert resumed, f"it began anew although there were {kept}"

    def finished():
        with reference.server() as client:
            found = client.run(alone.stdout.strip())
        return found if found["state"] in ("SUCCEEDED", "FAILED") else None

    run = wait_for(finished, timeout_s=200, every_s=0.5, said=reference.logs)
    expected = next(task for task in run["tasks"] if task["name"] == "tune")["outputs"]["artifacts"]
    adapter = state.parent / "2" / "outputs" / "adapter"
    assert digest_path(adapter)[0] == expected["adapter"][0]["digest"]

    def live():
        with world.server() as client:
            found = client.endpoint("reviews")
        return found if found.get("live") or found.get("release") else None

    assert wait_for(live, timeout_s=60, said=world.logs)
    answer = ask(live()["url"], "reviews", REVIEW)
    assert answer.json()["choices"][0]["text"].strip() == "positive", answer.text


def from_unpaused(engine):
    """A new DAG is paused: people switch it on in the list."""
    answer = engine._http.patch("/api/v2/dags/reviews", json={"is_paused": False}, headers=engine._login())
    assert answer.is_success, answer.text


def checkpoints(state):
    """Names of the whole checkpoints that training has left."""
    return sorted(path.name for path in (state / "checkpoints").glob("*") if path.suffix != ".part")


def told(engine):
    return f"{engine.states('reviews', 'first')}\n{engine.story()}"
