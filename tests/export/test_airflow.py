"""A DAG's two files: what stands in them, and what is refused before they are written."""

import ast
import json

import pytest

from tuneline.errors import SpecError
from tuneline.export.airflow import Dag, When, dag_files, when_of

IR = {
    "pipelineInfo": {"name": "movie-reviews"},
    "components": {
        "part": {"dag": {"tasks": {"t": {"componentRef": {"name": "leaf"}}}}},
        "leaf": {"executorLabel": "e"},
    },
    "deploymentSpec": {"executors": {"e": {"container": {"image": "i"}}}},
    "root": {"dag": {"tasks": {"train": {"componentRef": {"name": "leaf"}}}}},
    "schemaVersion": "2.1.0",
}


def changed(**root):
    return {**IR, "root": {**IR["root"], **root}}


def arguments(text: str) -> dict:
    """The keyword arguments by which a DAG file makes its DAG."""
    call = ast.parse(text).body[-1].value
    return {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}


def test_a_dag_file_names_its_pipeline_and_says_when_it_runs():
    when = When(cron="0 6 * * *", timezone="Europe/Berlin")
    on = {"train": {"requests": {"memory": "2Gi"}, "gpus": 1}}
    files = dag_files(IR, Dag("reviews", "1.2.3", root="gs://b/p", when=when, pool="gpus", on=on))
    assert sorted(files) == ["movie_reviews.json", "movie_reviews.py"]
    assert json.loads(files["movie_reviews.json"]) == IR
    text = files["movie_reviews.py"]
    assert "exported from reviews by tuneline 1.2.3" in text
    assert arguments(text) == {
        "executor": "kubernetes", "root": "gs://b/p", "pool": "gpus", "on": on,
        "schedule": "0 6 * * *", "timezone": "Europe/Berlin",
    }  # fmt: skip


def test_nothing_in_a_name_becomes_code():
    source = '"""\nimport os\n"""\\'
    text = dag_files(IR, Dag(source, "1"))["movie_reviews.py"]
    assert [type(node).__name__ for node in ast.parse(text).body] == [
        "Expr", "ImportFrom", "ImportFrom", "Assign",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "cron, line",
    [
        ("0 6 * * *", "0 6 * * *"),
        ("@daily", "0 0 * * *"),
        ("*/15 8-10 ? * mon-fri", "0,15,30,45 8,9,10 * * 1,2,3,4,5"),
        ("0 0 1 * sun", "0 0 1 * 0"),
        ("0 30 6 * * 7", "30 6 * * 0"),
    ],
)
def test_a_schedule_means_the_same_to_airflow(cron, line):
    assert when_of(cron, "Europe/Berlin", 0) == When(cron=line, timezone="Europe/Berlin")


def test_times_between_runs_and_zones_in_a_line_are_kept():
    assert when_of("", "UTC", 3600.0) == When(every_s=3600.0)
    assert when_of("@every 90m", "UTC", 0) == When(every_s=5400)
    assert when_of("CRON_TZ=Asia/Tokyo 0 6 * * *", "UTC", 0).timezone == "Asia/Tokyo"
    assert when_of("", "UTC", 0) == When()


def test_a_schedule_that_airflow_cannot_have_is_refused():
    with pytest.raises(SpecError, match="names seconds"):
        when_of("30 0 6 * * *", "UTC", 0)


def test_all_that_airflow_has_no_word_for_is_refused_by_name():
    tasks = {
        "no good": {"componentRef": {"name": "leaf"}},
        "part": {"componentRef": {"name": "part"}, "retryPolicy": {"maxRetryCount": 2}},
    }
    inputs = {"parameters": {"n": {"parameterType": "NUMBER_INTEGER"}}}
    ir = changed(dag={"tasks": tasks}, inputDefinitions=inputs)
    with pytest.raises(SpecError) as refused:
        dag_files(ir, Dag("p.yaml", "1", when=When(every_s=60)))
    first, second, third = refused.value.details
    assert "`no good`" in first
    assert "is no name for a task of Airflow" in first
    assert "`part`" in second
    assert "tries a whole graph again" in second
    assert "`n` has no default" in third


def test_a_pipeline_with_faults_is_not_exported():
    with pytest.raises(SpecError) as refused:
        dag_files({**IR, "schemaVersion": "9"}, Dag("p.yaml", "1"))
    assert refused.value.details
