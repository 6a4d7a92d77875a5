"""What users do with recurring runs in the real `kfp` SDK; `flows.py` runs these."""

import os
import tempfile
import time

import kfp
import kfp_server_api
from kfp import compiler, dsl


@dsl.container_component
def say(text: str):
    return dsl.ContainerSpec(image="host", command=["sh", "-c", "echo $0", text])


@dsl.pipeline(name="saying")
def saying(text: str = "hello"):
    say(text=text)


def package():
    path = os.path.join(tempfile.mkdtemp(), "saying.yaml")
    compiler.Compiler().compile(saying, path)
    return path


def refused(call, *args, **kwargs):
    """Status and reason with which a call is refused; None if it is not."""
    try:
        call(*args, **kwargs)
    except kfp_server_api.ApiException as error:
        return error.status, error.reason
    return None


def recurring_by_cron(host):
    client = kfp.Client(host=host)
    experiment = client.create_experiment("nightly")
    made = client.create_recurring_run(
        experiment.experiment_id, "at nine", cron_expression="0 0 9 ? * 2-6", max_concurrency=2,
        no_catchup=True, params={"text": "[[ScheduledTime]]"}, pipeline_package_path=package(),
        enable_caching=False,
        start_time="2026-01-01T00:00:00Z", end_time="2099-01-01T00:00:00Z",
    )  # fmt: skip
    assert made.status == "ENABLED"
    assert made.max_concurrency == "2"
    assert made.no_catchup is True
    assert made.trigger.cron_schedule.cron == "0 0 9 ? * 2-6"
    assert made.trigger.cron_schedule.start_time.year == 2026
    assert made.experiment_id == experiment.experiment_id
    again = client.get_recurring_run(made.recurring_run_id)
    assert again.display_name == "at nine"
    assert again.runtime_config.parameters == {"text": "[[ScheduledTime]]"}
    assert again.pipeline_spec["pipelineInfo"]["name"] == "saying"
    assert again.created_at <= again.updated_at
    listed = client.list_recurring_runs(experiment_id=experiment.experiment_id)
    assert [row.recurring_run_id for row in listed.recurring_runs] == [made.recurring_run_id]
    assert listed.total_size == 1
    assert client.disable_recurring_run(made.recurring_run_id) == {}
    assert client.get_recurring_run(made.recurring_run_id).status == "DISABLED"
    assert client.enable_recurring_run(made.recurring_run_id) == {}
    assert client.get_recurring_run(made.recurring_run_id).status == "ENABLED"
    client.archive_experiment(experiment.experiment_id)
    assert client.get_recurring_run(made.recurring_run_id).status == "DISABLED"
    assert client.delete_recurring_run(made.recurring_run_id) == {}
    assert refused(client.get_recurring_run, made.recurring_run_id) == (404, "Not Found")
    assert client.list_recurring_runs().recurring_runs is None


def recurring_refused(host):
    client = kfp.Client(host=host)
    experiment = client.create_experiment("refused")
    for wrong in ({"cron_expression": "0 99 9 ? * 2-6"}, {"interval_second": -5}):
        asked = {"pipeline_package_path": package(), **wrong}
        found = refused(client.create_recurring_run, experiment.experiment_id, "wrong", **asked)
        assert found == (400, "Bad Request"), wrong


def recurring_until_it_ran(host, count):
    """Every second, the newest version of a pipeline, until `count` of its runs have succeeded."""
    client = kfp.Client(host=host)
    experiment = client.create_experiment("often")
    pipeline = client.upload_pipeline(package(), pipeline_name="saying")
    (version,) = client.list_pipeline_versions(pipeline.pipeline_id).pipeline_versions
    made = client.create_recurring_run(
        experiment.experiment_id, "often", cron_expression="* * * * * *", params={"text": "[[Index]]"},
        pipeline_id=pipeline.pipeline_id, version_id=version.pipeline_version_id,
    )  # fmt: skip
    assert made.pipeline_version_reference.pipeline_version_id == version.pipeline_version_id
    deadline = time.monotonic() + 30
    while True:
        runs = client.list_runs(experiment_id=experiment.experiment_id, sort_by="created_at").runs or []
        done = [run for run in runs if run.state == "SUCCEEDED"]
        if len(done) >= count:
            break
        assert time.monotonic() < deadline, [run.state for run in runs]
        time.sleep(0.1)
    client.disable_recurring_run(made.recurring_run_id)
    assert all(run.recurring_run_id == made.recurring_run_id for run in done)
    assert [run.runtime_config.parameters["text"] for run in done[:count]] == ["1", "2", "3"][:count]
    times = [run.scheduled_at for run in done[:count]]
    assert all((after - before).total_seconds() == 1 for before, after in zip(times, times[1:], strict=False))
