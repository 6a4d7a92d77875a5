"""Recurring runs over HTTP as Kubeflow Pipelines has them, and the runs that their loop starts."""

import json
import time
from datetime import UTC, datetime

import pytest

from tuneline.actions import Platform
from tuneline.actions.ports import Server
from tuneline.control.recurring import RecurringLoop

pytestmark = pytest.mark.slow

SPEC = {
    "schemaVersion": "2.1.0",
    "pipelineInfo": {"name": "echo"},
    "components": {
        "comp-say": {
            "executorLabel": "exec-say",
            "inputDefinitions": {"parameters": {"text": {"parameterType": "STRING"}}},
            "outputDefinitions": {"parameters": {"said": {"parameterType": "STRING"}}},
        }
    },
    "deploymentSpec": {
        "executors": {
            "exec-say": {
                "container": {
                    "image": "host",
                    "command": ["sh", "-c", 'mkdir -p "$(dirname "$1")"; printf %s "$0" > "$1"'],
                    "args": [
                        "{{$.inputs.parameters['text']}}",
                        "{{$.outputs.parameters['said'].output_file}}",
                    ],
                }
            }
        }
    },
    "root": {
        "inputDefinitions": {"parameters": {"text": {"parameterType": "STRING", "defaultValue": "hello"}}},
        "dag": {
            "tasks": {
                "say": {
                    "taskInfo": {"name": "say"},
                    "componentRef": {"name": "comp-say"},
                    "inputs": {"parameters": {"text": {"componentInputParameter": "text"}}},
                }
            }
        },
    },
}
CRON = {"cron_schedule": {"cron": "0 0 9 ? * 2-6"}}
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC).timestamp()


class Clock:
    """Stands still unless moved."""

    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def platform(record, runner, tmp_path, clock):
    """As everywhere here, with a clock that the test holds."""
    server = Server("127.0.0.1", 0, 1, tmp_path, "0.0.0", START, "ann")
    return Platform(record, runner, server, lambda all: None, clock)


@pytest.fixture
def loop(record, platform, clock):
    return RecurringLoop(record.recurring, platform.recurring, clock)


def body(**changes):
    made = {
        "display_name": "nightly", "mode": "ENABLE", "max_concurrency": 1, "trigger": CRON,
        "pipeline_spec": SPEC, "runtime_config": {"parameters": {"text": "x"}},
    }  # fmt: skip
    return {**made, **changes}


def create(http, **changes):
    answer = http.post("/recurringruns", json=body(**changes))
    assert answer.status_code == 200, answer.text
    return answer.json()


def every(seconds, **bounds):
    return {"periodic_schedule": {"interval_second": seconds, **bounds}}


def drain(loop):
    while loop.look_once() == 0.0:
        pass


def runs_of(http, id):
    listed = http.get("/runs", params={"page_size": 100}).json().get("runs", [])
    return [run for run in listed if run.get("recurring_run_id") == id]


def ended(http, id, count):
    """The runs of a recurring run, when so many have succeeded."""
    deadline = time.monotonic() + 20
    while True:
        found = [run for run in runs_of(http, id) if run["state"] == "SUCCEEDED"]
        if len(found) >= count:
            return found
        assert time.monotonic() < deadline, runs_of(http, id)
        time.sleep(0.02)


def test_it_is_answered_as_kubeflow_answers_it(http):
    made = create(http, description="d", no_catchup=True, trigger={"cron_schedule": {
        "cron": "0 0 9 ? * 2-6", "start_time": "2026-03-01T00:00:00Z", "end_time": "2026-05-01T00:00:00Z",
    }})  # fmt: skip
    id = made.pop("recurring_run_id")
    assert made.pop("pipeline_spec") == SPEC
    assert made.pop("experiment_id") == http.get("/experiments").json()["experiments"][0]["experiment_id"]
    assert made == {
        "display_name": "nightly",
        "description": "d",
        "runtime_config": {"parameters": {"text": "x"}},
        "max_concurrency": "1",
        "trigger": {
            "cron_schedule": {
                "cron": "0 0 9 ? * 2-6",
                "start_time": "2026-03-01T00:00:00Z",
                "end_time": "2026-05-01T00:00:00Z",
            }
        },
        "mode": "ENABLE",
        "created_at": "2026-03-01T12:00:00Z",
        "updated_at": "2026-03-01T12:00:00Z",
        "status": "ENABLED",
        "no_catchup": True,
    }
    assert http.get(f"/recurringruns/{id}").json()["recurring_run_id"] == id


def test_64_bit_numbers_are_texts_and_taken_as_numbers_too(http):
    made = create(http, max_concurrency="10", trigger=every("3600"))
    assert made["max_concurrency"] == "10"
    assert made["trigger"] == {"periodic_schedule": {"interval_second": "3600"}}


def test_it_is_listed_under_a_key_in_camel_case_by_pages_and_filters(http):
    ids = [create(http, display_name=name)["recurring_run_id"] for name in ("a", "b", "c")]
    page = http.get("/recurringruns", params={"page_size": 2}).json()
    assert sorted(page) == ["next_page_token", "recurringRuns", "total_size"]
    assert page["total_size"] == 3
    rest = http.get("/recurringruns", params={"page_size": 2, "page_token": page["next_page_token"]}).json()
    assert {row["recurring_run_id"] for row in page["recurringRuns"] + rest["recurringRuns"]} == set(ids)
    named = json.dumps({"predicates": [{"operation": 1, "key": "display_name", "stringValue": "b"}]})
    found = http.get("/recurringruns", params={"filter": named}).json()["recurringRuns"]
    assert [row["display_name"] for row in found] == ["b"]


def test_those_of_one_experiment_are_listed_and_disabled_when_it_is_archived(http, platform):
    mine = http.post("/experiments", json={"display_name": "mine"}).json()["experiment_id"]
    inside = create(http, experiment_id=mine)["recurring_run_id"]
    outside = create(http)["recurring_run_id"]
    listed = http.get("/recurringruns", params={"experiment_id": mine}).json()["recurringRuns"]
    assert [row["recurring_run_id"] for row in listed] == [inside]
    http.post(f"/experiments/{mine}:archive")
    assert http.get(f"/recurringruns/{inside}").json()["status"] == "DISABLED"
    assert http.get(f"/recurringruns/{outside}").json()["status"] == "ENABLED"
    assert http.get("/recurringruns", params={"experiment_id": "nowhere"}).status_code == 404


def test_deleting_an_experiment_disables_its_own(http):
    mine = http.post("/experiments", json={"display_name": "mine"}).json()["experiment_id"]
    inside = create(http, experiment_id=mine)["recurring_run_id"]
    assert http.delete(f"/experiments/{mine}").status_code == 200
    assert http.get(f"/recurringruns/{inside}").json()["status"] == "DISABLED"


def test_it_is_disabled_enabled_and_deleted(http):
    id = create(http, mode="DISABLE")["recurring_run_id"]
    shown = http.get(f"/recurringruns/{id}").json()
    assert (shown["status"], shown["mode"]) == ("DISABLED", "DISABLE")
    for verb, status in (("enable", "ENABLED"), ("disable", "DISABLED")):
        answer = http.post(f"/recurringruns/{id}:{verb}")
        assert (answer.status_code, answer.json()) == (200, {})
        assert http.get(f"/recurringruns/{id}").json()["status"] == status
    answer = http.delete(f"/recurringruns/{id}", params={"propagation_policy": "FOREGROUND"})
    assert (answer.status_code, answer.json()) == (200, {})
    gone = http.get(f"/recurringruns/{id}")
    assert (gone.status_code, gone.json()["code"]) == (404, 5)
    for again in (http.post(f"/recurringruns/{id}:enable"), http.delete(f"/recurringruns/{id}")):
        assert again.status_code == 404


REFUSED = [
    ({"display_name": ""}, "name is empty"),
    (
        {"max_concurrency": 0},
        "max concurrency of the recurring run is out of range. Support 1-10. Received 0",
    ),
    ({"max_concurrency": 11}, "Support 1-10. Received 11"),
    ({"trigger": {}}, "needs a trigger"),
    ({"trigger": {"cron_schedule": {"cron": "@daily"}, **every(5)}}, "needs a trigger"),
    ({"trigger": {"cron_schedule": {"cron": "0 99 * * * *"}}}, "`99` is no minute"),
    ({"trigger": {"cron_schedule": {"cron": ""}}}, "The schedule is empty"),
    ({"trigger": every(0)}, "Found invalid period schedule interval 0"),
    ({"trigger": every(-5)}, "Found invalid period schedule interval -5"),
    ({"trigger": every(5, start_time="soon")}, "'soon' is no time"),
    ({"trigger": every(5, start_time="2026-03-02T00:00:00Z", end_time="2026-03-01T00:00:00Z")}, "before its"),
    ({"pipeline_spec": None}, "needs a pipeline_spec"),
    ({"pipeline_version_reference": {"pipeline_id": "p"}}, "not both"),
    ({"runtime_config": {"parameters": {"y": 1}}}, "not required by pipeline: y"),
    ({"runtime_config": {"parameters": {"text": 1}}}, "text requires type string"),
    ({"experiment_id": "nowhere"}, "Experiment nowhere not found"),
    ({"mode": "ON"}, "`mode` is 'ON'"),
    ({"colour": "red"}, 'unknown field "colour"'),
]


def test_what_is_wrong_is_refused_and_nothing_is_stored(http):
    for changes, message in REFUSED:
        asked = {key: value for key, value in body(**changes).items() if value is not None}
        answer = http.post("/recurringruns", json=asked)
        assert answer.status_code == (404 if "Experiment" in message else 400), changes
        assert message in answer.json()["message"], changes
    assert http.get("/recurringruns").json() == {}


def test_a_tick_becomes_a_run_with_its_macros_written_out(http, loop, clock):
    text = (
        "[[ScheduledTime.2006-01-02T15:04:05]] [[Index]] [[CurrentTime]] {{$.scheduledTime.strftime('%H')}}"
    )
    made = create(http, trigger={"cron_schedule": {"cron": "CRON_TZ=Asia/Tokyo 0 0 * * * *"}},
                  runtime_config={"parameters": {"text": text + " [[RunUUID]]"}})  # fmt: skip
    clock.now += 3600 + 5
    drain(loop)
    (run,) = ended(http, made["recurring_run_id"], 1)
    assert run["display_name"] == "nightly-1"
    assert run["scheduled_at"] == "2026-03-01T13:00:00Z"
    assert run["created_at"] == "2026-03-01T13:00:05Z"
    said = run["runtime_config"]["parameters"]["text"]
    assert said == f"2026-03-01T13:00:00 1 20260301130005 22 {run['run_id']}"


def test_a_task_reads_the_tick_as_its_schedule_time(http, loop, clock, record):
    spec = json.loads(json.dumps(SPEC))
    constant = {"runtimeValue": {"constant": "{{$.pipeline_job_schedule_time_utc}}"}}
    spec["root"]["dag"]["tasks"]["say"]["inputs"]["parameters"]["text"] = constant
    id = create(http, pipeline_spec=spec, trigger=every(60))["recurring_run_id"]
    clock.now += 65
    drain(loop)
    (run,) = ended(http, id, 1)
    (task,) = record.runs.tasks(run["run_id"])
    assert task["outputs"]["parameters"] == {"said": "2026-03-01T12:01:00Z"}


def test_catching_up_runs_every_missed_tick_and_no_catchup_the_latest(http, loop, clock):
    both = [create(http, display_name=str(no), trigger=every(60), no_catchup=no, max_concurrency=5)
            for no in (False, True)]  # fmt: skip
    clock.now += 3 * 60
    drain(loop)
    all_of_them, latest = (runs_of(http, made["recurring_run_id"]) for made in both)
    times = sorted(run["scheduled_at"] for run in all_of_them)
    assert times == ["2026-03-01T12:01:00Z", "2026-03-01T12:02:00Z", "2026-03-01T12:03:00Z"]
    assert [run["scheduled_at"] for run in latest] == ["2026-03-01T12:03:00Z"]


def test_enabling_fires_nothing_of_what_passed(http, loop, clock):
    id = create(http, trigger=every(60))["recurring_run_id"]
    http.post(f"/recurringruns/{id}:disable")
    clock.now += 600
    drain(loop)
    http.post(f"/recurringruns/{id}:enable")
    drain(loop)
    assert runs_of(http, id) == []
    clock.now += 60
    drain(loop)
    assert [run["scheduled_at"] for run in runs_of(http, id)] == ["2026-03-01T12:11:00Z"]


def test_a_pipeline_without_a_version_takes_the_newest_one_at_each_tick(http, loop, clock):
    pipeline = http.post("/pipelines", json={"display_name": "echo"}).json()["pipeline_id"]
    first = version(http, pipeline, "one")
    made = create(
        http, pipeline_spec={}, pipeline_version_reference={"pipeline_id": pipeline}, trigger=every(60)
    )
    assert made["pipeline_version_reference"] == {"pipeline_id": pipeline}
    assert "pipeline_spec" not in made
    clock.now += 60
    drain(loop)
    ended(http, made["recurring_run_id"], 1)
    second = version(http, pipeline, "two")
    clock.now += 60
    drain(loop)
    runs = ended(http, made["recurring_run_id"], 2)
    used = [run["pipeline_version_reference"]["pipeline_version_id"] for run in runs]
    assert used == [first, second]


def test_a_named_version_is_kept_to_and_one_that_is_gone_is_told_and_tried_again(http, loop, clock):
    pipeline = http.post("/pipelines", json={"display_name": "echo"}).json()["pipeline_id"]
    first = version(http, pipeline, "one")
    version(http, pipeline, "two")
    reference = {"pipeline_id": pipeline, "pipeline_version_id": first}
    made = create(http, pipeline_spec={}, pipeline_version_reference=reference, trigger=every(60))
    id = made["recurring_run_id"]
    clock.now += 60
    drain(loop)
    (run,) = ended(http, id, 1)
    assert run["pipeline_version_reference"] == reference
    http.delete(f"/pipelines/{pipeline}/versions/{first}")
    clock.now += 60
    drain(loop)
    assert len(runs_of(http, id)) == 1
    assert f"PipelineVersion {first} not found" in http.get(f"/recurringruns/{id}").json()["error"]["message"]


def test_deleting_it_keeps_its_runs(http, loop, clock):
    id = create(http, trigger=every(60))["recurring_run_id"]
    clock.now += 60
    drain(loop)
    ended(http, id, 1)
    http.delete(f"/recurringruns/{id}")
    clock.now += 60
    drain(loop)
    assert len(runs_of(http, id)) == 1


def test_deleting_its_run_keeps_the_pipeline_that_it_needs(http, loop, clock):
    id = create(http, trigger=every(60))["recurring_run_id"]
    clock.now += 60
    drain(loop)
    (run,) = ended(http, id, 1)
    http.delete(f"/runs/{run['run_id']}")
    assert http.get(f"/recurringruns/{id}").json()["pipeline_spec"] == SPEC
    clock.now += 60
    drain(loop)
    ended(http, id, 1)


def test_a_secret_is_kept_out_of_the_record_and_reaches_the_task(http, loop, clock, record, tmp_path):
    spec = json.loads(json.dumps(SPEC).replace('"text"', '"api_token"').replace("['text']", "['api_token']"))
    made = create(http, pipeline_spec=spec, trigger=every(60),
                  runtime_config={"parameters": {"api_token": "hunter2-[[Index]]"}})  # fmt: skip
    id = made["recurring_run_id"]
    assert made["runtime_config"]["parameters"] == {"api_token": "***"}
    kept = tmp_path / "recurring" / id / "secrets.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert not any(b"hunter2" in file.read_bytes() for file in tmp_path.glob("tuneline.db*"))
    clock.now += 60
    drain(loop)
    (run,) = ended(http, id, 1)
    assert run["runtime_config"]["parameters"] == {"api_token": "***"}
    assert "hunter2" not in http.get(f"/runs/{run['run_id']}").text
    http.delete(f"/recurringruns/{id}")
    assert not kept.exists()


def version(http, pipeline, name):
    answer = http.post(
        f"/pipelines/{pipeline}/versions", json={"display_name": name, "name": name, "pipeline_spec": SPEC}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["pipeline_version_id"]
