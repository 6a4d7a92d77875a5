"""Runs that a real Airflow 3 executes, followed. Its DAG has the shape of those that are exported."""

import json
import os
from pathlib import Path

import pytest
from tests.control.airflow_server import DAG, PASSWORD, USER, Airflow
from tests.control.sites import Site, states
from tests.control.test_remote import TWO

from tuneline.errors import ConflictError, NotFoundError, SpecError, UnauthenticatedError
from tuneline_ir.likeness import tag_of

pytestmark = pytest.mark.slow

PYTHON = Path(
    os.environ.get("TUNELINE_TEST_AIRFLOW_PYTHON") or Path(__file__).parents[2] / ".venv-airflow/bin/python"
)
IR = json.loads(json.dumps(TWO))
IR["root"]["inputDefinitions"] = {"parameters": {"x": {"parameterType": "STRING", "defaultValue": "hello"}}}


@pytest.fixture(scope="module")
def airflow(tmp_path_factory):
    """Started once: about 15 s of an idle machine, most of it Airflow's own imports."""
    if not PYTHON.exists():
        pytest.fail(f"There is no Airflow at {PYTHON}: run `make test`, or set TUNELINE_TEST_AIRFLOW_PYTHON.")
    folder = tmp_path_factory.mktemp("airflow")
    made = Airflow(folder / "home", PYTHON)
    made.results = folder
    text = DAG.format(id="two-steps", tag=tag_of(IR), folder=str(folder))
    (made.dags / "two.py").write_text(text)
    (made.dags / "other.py").write_text(
        text.replace("DAG('two-steps'", "DAG('other'").replace(tag_of(IR), "tuneline:0")
    )
    (made.dags / "paused.py").write_text(text.replace("DAG('two-steps'", "DAG('paused'"))
    try:
        for dag in ("two-steps", "other", "paused"):
            made.until_known(dag)
        made.patch("/api/v2/dags/paused", {"is_paused": True})
        yield made
    finally:
        made.stop()


@pytest.fixture
def home(tmp_path):
    made = Site(tmp_path / "home")
    yield made
    made.stop()


def engine(airflow, login=None, **options):
    login = {"user": USER, "password": PASSWORD} if login is None else login
    return {"kind": "airflow", "url": airflow.url, "options": options, "login": login}


def test_a_run_on_airflow_looks_as_one_at_home(airflow, home):
    run = home.submit(IR, engine(airflow), x="from the command")
    ended = home.ended(run, 120)
    assert (ended["state"], states(ended)) == ("SUCCEEDED", {"write": "SUCCEEDED", "read": "SUCCEEDED"})
    assert ended["tasks"][0]["outputs"]["parameters"] == {"said": "from the command"}
    (made,) = ended["tasks"][0]["outputs"]["artifacts"]["made"]
    assert home.platform.artifacts.local(made).read_text() == "made"
    assert (made["size_bytes"], made["metadata"]) == (4, {"a": 1})
    assert ended["runner"]["link"] == f"{airflow.url}/dags/two-steps/runs/{run}"
    assert "wrote from the command" in home.platform.logs(run, "write")["text"]
    assert all(task["seconds"] is not None and task["attempts"] == 1 for task in ended["tasks"])


def test_what_failed_on_airflow_is_tried_again_there_and_a_server_that_was_killed_finds_it(airflow, tmp_path):
    first = Site(tmp_path / "home")
    run = first.submit(IR, engine(airflow), x="fail")
    ended = first.ended(run, 120)
    assert (ended["state"], states(ended)) == ("FAILED", {"write": "SUCCEEDED", "read": "FAILED"})
    assert ended["tasks"][1]["error"]["message"] == "no such luck at all"
    assert "ValueError: no such luck" in first.platform.logs(run, "read")["text"]
    (airflow.results / "fine").touch()
    first.platform.retry(run)
    first.stop()
    second = Site(tmp_path / "home")
    try:
        again = second.ended(run, 120)
        assert (again["state"], set(states(again).values())) == ("SUCCEEDED", {"SUCCEEDED"})
        assert [task["attempts"] for task in again["tasks"]] == [1, 2]
    finally:
        second.stop()
        (airflow.results / "fine").unlink()


def test_a_token_that_has_expired_is_renewed(airflow):
    from tuneline.client import airflow as api  # noqa: PLC0415

    client = api.Airflow(airflow.url, {}, {"user": USER, "password": PASSWORD})
    client._known = "eyJhbGciOiJIUzI1NiJ9.e30.expired"
    with pytest.raises(NotFoundError, match="no-such-run"):
        client.look("two-steps/no-such-run")
    client.close()


def test_cancel_here_ends_it_on_airflow_with_a_token_alone(airflow, home):
    run = home.submit(IR, engine(airflow, {"token": airflow.token()}), x="wait")
    home.until(run, "read", "RUNNING", 120)
    home.platform.cancel(run)
    ended = home.ended(run, 120)
    assert (ended["state"], states(ended)) == ("CANCELED", {"write": "SUCCEEDED", "read": "CANCELED"})


def test_a_dag_that_is_not_the_exported_one_and_a_user_nobody_knows_are_refused(airflow, home):
    refused = {
        "no DAG `missing`": (NotFoundError, engine(airflow, dag="missing")),
        "another version of this pipeline: it is of tuneline:0": (SpecError, engine(airflow, dag="other")),
        "is paused": (ConflictError, engine(airflow, dag="paused")),
        "does not know the user `ann`": (
            UnauthenticatedError,
            engine(airflow, {"user": USER, "password": "x-wrong"}),
        ),
        "Invalid JWT token": (UnauthenticatedError, engine(airflow, {"token": "x-wrong"})),
        "wants to know who asks": (UnauthenticatedError, engine(airflow, {})),
    }
    for said, (kind, asked) in refused.items():
        with pytest.raises(kind) as error:
            home.submit(IR, asked)
        assert said in error.value.message
        assert error.value.hint
        assert "x-wrong" not in error.value.message + error.value.hint
    assert home.platform.runs() == []
