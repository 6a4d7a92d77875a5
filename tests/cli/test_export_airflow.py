"""`tuneline export airflow`: files for a project and for a pipeline; no server is asked."""

import json
from pathlib import Path

from tests.cli.test_project import PROJECT

from tuneline_ir import parse

HERE = Path(__file__).parents[2]


def test_a_project_becomes_a_dag_file_and_its_pipeline(tuneline, tmp_path):
    (tmp_path / "tuneline.yaml").write_text(
        PROJECT + 'schedule: {cron: "@daily", timezone: Europe/Berlin}\n'
        "on: {airflow: {pool: small}, kubernetes: {steps: {tune: {gpus: 1}}}}\n"
    )
    made = tuneline("export", "airflow", ".", "-o", "dags", "--root", "gs://b/p", "-p", "train.r=4")
    assert made.code == 0, made.err
    assert made.out == "dags/demo.py\ndags/demo.json\n"
    text = (tmp_path / "dags/demo.py").read_text()
    assert 'schedule="0 0 * * *",\n    timezone="Europe/Berlin"' in text
    assert 'pool="small"' in text
    pipeline = parse((tmp_path / "dags/demo.json").read_text())
    assert pipeline.inputs.parameters["train_r"].default == 4
    assert pipeline.executors["exec-tune"].resources["accelerator"]["resourceCount"] == "1"


def test_processes_are_not_placed_on_nodes(tuneline, tmp_path):
    (tmp_path / "tuneline.yaml").write_text(
        PROJECT + "on: {kubernetes: {image: 'ghcr.io/x/y:1', steps: {tune: {gpus: 1}}}}\n"
    )
    made = tuneline("export", "airflow", "-o", "dags", "--executor", "process", "--json")
    assert made.code == 0, made.err
    assert json.loads(made.out)["executor"] == "process"
    pipeline = parse((tmp_path / "dags/demo.json").read_text())
    assert {each.image for each in pipeline.executors.values()} == {"tuneline"}


def test_the_example_exports_as_it_is(tuneline, tmp_path):
    made = tuneline("export", "airflow", str(HERE / "examples/movie-reviews"), "-o", str(tmp_path / "dags"))
    assert made.code == 0, made.err
    assert "TUNELINE_ROOT" in made.err
    assert "tuneline-airflow" in made.err


def test_a_pipeline_that_airflow_cannot_run_is_refused_and_nothing_is_written(tuneline, tmp_path):
    leaf, part = {"executorLabel": "e"}, {"dag": {"tasks": {"t": {"componentRef": {"name": "leaf"}}}}}
    again = {"part": {"componentRef": {"name": "part"}, "retryPolicy": {"maxRetryCount": 1}}}
    ir = {
        "pipelineInfo": {"name": "p"}, "schemaVersion": "2.1.0", "components": {"leaf": leaf, "part": part},
        "deploymentSpec": {"executors": {"e": {"container": {"image": "i"}}}},
        "root": {"dag": {"tasks": again}},
    }  # fmt: skip
    (tmp_path / "p.json").write_text(json.dumps(ir))
    ended = tuneline("export", "airflow", "p.json", "-o", "dags")
    assert ended.code == 2
    assert "tries a whole graph again" in ended.err
    assert not (tmp_path / "dags").exists()
    refused = tuneline("export", "airflow", "p.json", "-o", "dags", "-p", "a=1")
    assert refused.code == 2
    assert "-p is for projects" in refused.err
