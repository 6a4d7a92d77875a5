"""Pipelines of the conformance tests as DAGs on the real Airflow: task by task as on the local runner.

Airflow takes a third of a second a task: two minutes on an idle core. docs/airflow.md has how many end how.
"""

import json
import re
import subprocess
from pathlib import Path

import pytest
from tests.airflow.world import PYTHON, airflow, environment, tool_python
from tests.conformance.comparing import differences
from tests.conformance.harness import SECRETS, WHEELS, compiled
from tests.kubeflow import ROOT, TASK_ENV

pytestmark = pytest.mark.slow

NOT_HERE = {
    "a-nested-pipeline-retried": "tries a whole graph again",
    "a-nested-pipeline-retried-in-vain": "tries a whole graph again",
}
"""Refused by name."""
LATE = ("an-image-that-is-refused", "a-containerized-python-component")
"""What the local runner refuses before it starts, since it looks at the images of its machine first."""
UNKNOWN = "parameter-unknown"
"""Airflow hands on parameters that nobody declared, and says nothing."""
OTHERWISE = {
    "a-deadline-for-the-run": "the run is SUCCEEDED",  # `dag.test()` has no scheduler, which would end it
    "placeholders-in-f-strings": "run manual__",  # a run's id is Airflow's
}
"""What is different by nature, and how."""

DAG = """
from pathlib import Path
from tuneline_airflow.dag import pipeline_dag
dag = pipeline_dag(Path(__file__).with_suffix(".json"), executor="process", dag_id={name!r})
"""


def _is_of_the_server(name: str, expected: dict) -> bool:
    """Whether a case is about what Airflow does not have: the cache, or tuneline's own server."""
    return "again" in expected or name.startswith("life-") or bool(expected.get("slow"))


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Those to run, as the SDK compiled them."""
    found = compiled(tmp_path_factory.mktemp("compiled"))
    return {name: case for name, case in found.items() if not _is_of_the_server(name, case["expected"])}


@pytest.fixture(scope="module")
def outcomes(cases, tmp_path_factory):
    """By case: how it went on Airflow."""
    home = tmp_path_factory.mktemp("airflow")
    shared = home / "shared"
    shared.mkdir()
    (shared / "words.txt").write_text("shared words")
    for path, value in SECRETS.items():
        (home / "home" / path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        (home / "home" / path).write_text(value)
    given, bundles = {}, []
    for name, case in cases.items():
        bundle, folder = home / "bundles" / name, home / "folders" / name
        bundle.mkdir(parents=True)
        folder.mkdir(parents=True)
        (bundle / "pipeline.json").write_text(json.dumps(case["ir"]))
        (bundle / "pipeline.py").write_text(DAG.format(name=name))
        bundles.append({"name": name, "kwargs": {"path": str(bundle)},
                        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle"})  # fmt: skip
        parameters = json.dumps(case["expected"].get("parameters", {}))
        filled = parameters.replace("{folder}", str(folder)).replace("{shared}", str(shared))
        given[name] = {"bundle": str(bundle), "parameters": json.loads(filled)}
    (home / "cases.json").write_text(json.dumps(given))
    env = environment(
        home,
        DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST=json.dumps(bundles),
        LOGGING__LOGGING_LEVEL="ERROR",
        TUNELINE_PYTHON=str(tool_python(home)),
        TUNELINE_ROOT=str(home / "root"),
        TUNELINE_HOME=str(home / "home"),
        TUNELINE_IMAGES="host",
        TUNELINE_OFFLINE="1",
        TUNELINE_TASK_ENV=str(TASK_ENV),
        PIP_FIND_LINKS=str(WHEELS),
    )
    airflow(env, "db", "migrate")
    env["PYTHONPATH"] += f":{ROOT}"
    with (home / "log").open("w") as log:
        words = [str(PYTHON), "-m", "tests.airflow.running", str(home / "cases.json"), str(home / "out.json")]
        subprocess.run(words, env=env, cwd=home, stdout=log, stderr=log, timeout=1750)
    return _read(home)


def _read(home: Path) -> dict:
    assert (home / "out.json").is_file(), (home / "log").read_text()[-4000:]
    return json.loads((home / "out.json").read_text())


@pytest.mark.timeout(1800)
def test_every_pipeline_ends_as_it_does_on_the_local_runner(cases, outcomes):
    wrong, counts = [], dict.fromkeys(("same", "otherwise", "refused", "refused late", "not refused"), 0)
    for name, case in cases.items():
        expected, run = case["expected"], outcomes.get(name, {"broke": "it was not run"})
        if name in NOT_HERE:
            counts["refused"] += 1
            found = [] if NOT_HERE[name] in run.get("refused", "") else [f"it was not refused: {run}"]
        elif name == UNKNOWN:
            counts["not refused"] += 1
            found = [] if run.get("state") == "SUCCEEDED" else [str(run)]
        elif "refused" in expected:
            counts["refused late" if name in LATE else "refused"] += 1
            said = str(run.get("broke")) + str([task.get("error") for task in run.get("tasks", [])])
            found = [] if re.search(expected["refused"], said) else [f"it was not refused: {said[-500:]}"]
        else:
            found = differences(run, expected) if "broke" not in run else [run["broke"]]
            counts["otherwise" if name in OTHERWISE else "same"] += 1
            if name in OTHERWISE and OTHERWISE[name] in str(found):
                found = []
        wrong += [f"{name}: {one}" for one in found]
    print(counts)  # noqa: T201 - for docs/airflow.md
    assert not wrong, "\n".join(wrong)
