"""Runs that Kubeflow executes, followed. Our own server, which speaks its API, stands as that Kubeflow; its
tasks are real processes."""

import json
import time

import httpx
import pytest
from tests.control.sites import Site, kubeflow, states
from tests.execute.doubles import pipeline

from tuneline.errors import ConflictError, NetworkError, NotFoundError, SettingError, SpecError

pytestmark = pytest.mark.slow

SAID, MADE = "{{$.outputs.parameters['said'].output_file}}", "{{$.outputs.artifacts['made'].path}}"
GIVEN, READ = "{{$.inputs.parameters['x']}}", "{{$.inputs.artifacts['made'].path}}"
TWO = pipeline(
    {
        "write": {
            "sh": f'printf %s "{GIVEN}" > "{SAID}"; printf %s made > "{MADE}"; echo wrote {GIVEN}',
            "given": {"x": "hello"},
            "out": ["said"],
            "made": ["made"],
        },
        "read": {
            "sh": f'test "{GIVEN}$(cat "{READ}")" = hellomade',
            "given": {"x": ("write", "said")},
            "read": {"made": ("write", "made")},
        },
    },
    "two-steps",
)


@pytest.fixture
def remote(tmp_path):
    made = Site(tmp_path / "kubeflow")
    yield made
    made.stop()


@pytest.fixture
def home(tmp_path):
    made = Site(tmp_path / "home")
    yield made
    made.stop()


def test_a_run_elsewhere_looks_as_one_at_home(home, remote):
    here, there = (
        home.submit(TWO),
        home.submit(TWO | {"pipelineInfo": {"name": "other"}}, kubeflow(remote.url)),
    )
    one, other = home.ended(here), home.ended(there)
    assert one["state"] == other["state"] == "SUCCEEDED"
    assert states(one) == states(other) == {"write": "SUCCEEDED", "read": "SUCCEEDED"}
    assert other["tasks"][0]["outputs"]["parameters"] == {"said": "hello"}
    (made,), (ours,) = (run["tasks"][0]["outputs"]["artifacts"]["made"] for run in (other, one))
    assert (made["digest"], made["size_bytes"]) == (ours["digest"], 4)
    assert home.platform.artifacts.local(made).read_text() == "made"
    assert one.keys() == other.keys()
    assert [task.keys() for task in one["tasks"]] == [task.keys() for task in other["tasks"]]
    assert home.platform.logs(there, "write")["text"] == home.platform.logs(here, "write")["text"]
    with pytest.raises(ConflictError, match="was executed by kubeflow"):
        home.platform.kfp.runs.clone(there)
    with pytest.raises(ConflictError, match="was executed by kubeflow"):
        home.platform.retry(there, ir=TWO)
    (theirs,) = remote.platform.runs()
    runner = other["runner"]
    assert (runner["kind"], runner["url"], runner["id"]) == ("kubeflow", remote.url, theirs["id"])
    assert runner["link"] == f"{remote.url}/#/runs/details/{theirs['id']}"
    assert one["runner"] is None
    page = httpx.get(f"{home.url}/runs/{there}", trust_env=False).text
    assert f'<a href="{runner["link"]}"' in page
    kinds = [event["kind"] for event in home.platform.events(there)["events"]]
    assert kinds[:2] == ["run_handed_over", "run_started"]
    times = {task["name"]: task["started_at"] for task in remote.platform.run(theirs["id"])["tasks"]}
    assert {task["name"]: task["started_at"] for task in other["tasks"]} == times


def test_what_failed_there_failed_here_and_is_tried_again_there(home, remote, tmp_path):
    script = f"test -e {tmp_path}/fine || {{ echo no such luck; exit 3; }}"
    ir = pipeline(
        {
            "first": {"sh": "true"},
            "bad": {"sh": script, "after": ["first"]},
            "last": {"sh": "true", "after": ["bad"]},
        }
    )
    run = home.submit(ir, kubeflow(remote.url))
    ended = home.ended(run)
    assert (ended["state"], states(ended)) == (
        "FAILED",
        {"first": "SUCCEEDED", "bad": "FAILED", "last": "SKIPPED"},
    )
    assert "exit" in ended["tasks"][1]["error"]["message"]
    assert "no such luck" in home.platform.logs(run, "bad")["text"]
    (tmp_path / "fine").touch()
    home.platform.retry(run)
    again = home.ended(run)
    assert (again["state"], set(states(again).values())) == ("SUCCEEDED", {"SUCCEEDED"})
    assert len(remote.platform.runs()) == 1


def test_a_server_that_is_killed_finds_its_runs_again(remote, tmp_path):
    ir = pipeline(
        {
            "wait": {"sh": f"while ! test -e {tmp_path}/go; do sleep 0.05; done"},
            "then": {"sh": "true", "after": ["wait"]},
        }
    )
    first = Site(tmp_path / "home")
    run = first.submit(ir, kubeflow(remote.url))
    first.until(run, "wait", "RUNNING")
    first.stop()
    (tmp_path / "go").touch()
    (theirs,) = remote.platform.runs()
    remote.ended(theirs["id"])  # while nobody looked
    second = Site(tmp_path / "home")
    try:
        assert states(second.ended(run)) == {"wait": "SUCCEEDED", "then": "SUCCEEDED"}
        assert len(remote.platform.runs()) == 1
    finally:
        second.stop()


def test_a_run_whose_hand_over_was_never_recorded_is_not_started_twice(remote, tmp_path):
    home = Site(tmp_path / "home")
    run = home.submit(TWO, kubeflow(remote.url))
    home.ended(run)
    with home.record._store.write() as db:  # as if the server had died after the request
        for table in ("links", "artifacts", "executions", "events"):
            db.exec_driver_sql(f"DELETE FROM {table}")
        db.exec_driver_sql("UPDATE tasks SET state = 'PENDING', attempts = 0, started_at = NULL")
        db.exec_driver_sql("UPDATE runs SET state = 'PENDING', last_seq = 0, finished_at = NULL")
    home.stop()
    again = Site(tmp_path / "home")
    try:
        assert again.ended(run)["state"] == "SUCCEEDED"
        assert len(remote.platform.runs()) == 1
    finally:
        again.stop()


def test_cancel_here_ends_it_there(home, remote):
    run = home.submit(pipeline({"long": {"sh": "sleep 60"}}), kubeflow(remote.url))
    home.until(run, "long", "RUNNING")
    home.platform.cancel(run)
    ended = home.ended(run)
    assert (ended["state"], states(ended)) == ("CANCELED", {"long": "CANCELED"})
    (theirs,) = remote.platform.runs()
    assert theirs["state"] == "CANCELED"


def test_an_engine_that_is_away_is_waited_for(home, tmp_path):
    remote = Site(tmp_path / "kubeflow")
    ir = pipeline({"wait": {"sh": f"while ! test -e {tmp_path}/go; do sleep 0.05; done"}})
    run = home.submit(ir, kubeflow(remote.url))
    home.until(run, "wait", "RUNNING")
    remote.stop()
    time.sleep(0.2)  # looks that find nobody
    assert home.platform.run(run)["state"] == "RUNNING"
    (tmp_path / "go").touch()
    back = Site(tmp_path / "kubeflow", remote.port)
    try:
        assert home.ended(run)["state"] == "SUCCEEDED"
    finally:
        back.stop()


def test_a_run_that_was_deleted_there_has_failed_here_and_says_why(home, remote):
    run = home.submit(pipeline({"long": {"sh": "sleep 60"}}), kubeflow(remote.url))
    home.until(run, "long", "RUNNING")
    (theirs,) = remote.platform.runs()
    remote.platform.cancel(theirs["id"])
    remote.platform.kfp.runs.delete(theirs["id"])
    ended = home.ended(run)
    assert ended["state"] in ("FAILED", "CANCELED")  # it may have been seen canceled first
    if ended["state"] == "FAILED":
        assert "404" in ended["error"]["message"]


def test_a_run_that_cannot_be_handed_over_is_none(home, remote):
    with pytest.raises(NetworkError, match="cannot be reached"):
        home.submit(TWO, kubeflow("http://127.0.0.1:1"))
    with pytest.raises(SettingError, match="holds more than a place") as refused:
        home.submit(TWO, kubeflow("http://ann:hunter2@kfp:8888"))
    assert "hunter2" not in str(refused.value)
    secret = pipeline({"a": {"sh": "true"}})
    secret["root"]["inputDefinitions"] = {"parameters": {"api_key": {"parameterType": "STRING"}}}
    with pytest.raises(SpecError, match="`api_key` is a secret"):
        home.submit(secret, kubeflow(remote.url), api_key="hunter2")
    assert home.platform.runs() == []
    assert list((home.home / "runs").iterdir()) == []


def test_a_login_is_in_one_file_of_the_user_and_nowhere_else(home, remote):
    run = home.submit(TWO, kubeflow(remote.url))
    home.ended(run)
    file = home.home / "runs" / run / "runner-login.json"
    assert json.loads(file.read_text()) == {"token": "kfp-token-1234"}
    assert file.stat().st_mode & 0o077 == 0
    holding = [
        path for path in home.home.rglob("*") if path.is_file() and b"kfp-token-1234" in path.read_bytes()
    ]
    assert holding == [file]
    assert "kfp-token" not in json.dumps(home.platform.run(run))
    with pytest.raises(NotFoundError):
        home.remote.cancel(run, "ann")
