"""Runs pipelines as DAGs: `python -m tests.airflow.running CASES.json OUT.json` in Airflow's own environment.

CASES.json: by name `parameters` and `bundle` (a folder that holds the one DAG file of that name). OUT.json:
by name how the run went, shaped as tuneline's own API says it, so that the conformance tests' comparison
takes either. `dag.test()` runs Airflow's own task runner and execution API in this process; only the
scheduler's loop is not there.
"""

import contextlib
import json
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.settings import Session
from sqlalchemy import select

from tuneline_airflow.described import ATTRIBUTE
from tuneline_airflow.left import Run
from tuneline_airflow.seen import Seen, Sight
from tuneline_ir import Kind, Status

try:
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
except ImportError:  # Airflow 3.0, by TUNELINE_TEST_AIRFLOW_PYTHON
    from airflow.models.dagbag import DagBag

    def BundleDagBag(dag_folder: str, bundle_path: Path, bundle_name: str) -> DagBag:
        return DagBag(dag_folder, include_examples=False, bundle_path=bundle_path)

    def sync_bag_to_db(bag: DagBag, bundle_name: str, bundle_version: None) -> None:
        bag.sync_to_db(bundle_name, bundle_version)


STATES = {"success": "SUCCEEDED", "failed": "FAILED"}


class LeftInDatabase:
    """See `tuneline_airflow.left.Left`: from outside a task."""

    def __init__(self, dag_id: str, run_id: str) -> None:
        with Session() as session:
            found = session.scalars(
                select(TaskInstance).where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
            )
            instances = list(found)
            self._states = {(each.task_id, each.map_index): str(each.state) for each in instances}
            self.attempts = {(each.task_id, each.map_index): each.try_number for each in instances}
            rows = session.execute(
                select(XComModel.task_id, XComModel.map_index, XComModel.key, XComModel.value).where(
                    XComModel.dag_id == dag_id, XComModel.run_id == run_id
                )
            )
            self._left = {(id, index, key): _value(value) for id, index, key, value in rows}

    def one(self, id: str, index: int, key: str) -> Any:
        return self._left.get((id, index, key))

    def all(self, id: str) -> Mapping[int, Any]:
        return {i: v for (name, i, key), v in self._left.items() if name == id and key == "return_value"}

    def states(self) -> Mapping[tuple[str, int], str]:
        return self._states


def _value(value: Any) -> Any:
    """Airflow keeps the JSON text of some values in a column of JSON."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def run(name: str, case: Mapping[str, Any]) -> dict[str, Any]:
    """One case, run to its end."""
    bag = BundleDagBag(dag_folder=case["bundle"], bundle_path=Path(case["bundle"]), bundle_name=name)
    if bag.import_errors:
        return {"refused": "\n".join(bag.import_errors.values())}
    sync_bag_to_db(bag, name, None)
    dag = bag.dags[name]
    dag_run = dag.test(run_conf=case.get("parameters") or {})
    described, left = getattr(dag, ATTRIBUTE), LeftInDatabase(name, dag_run.run_id)
    parameters = described.parameters({**dag.params.dump(), **(case.get("parameters") or {})})
    names = {"pipeline_job_uuid": dag_run.run_id, "pipeline_job_resource_name": f"{name}-{dag_run.run_id}",
             "pipeline_job_name": f"{name}-{dag_run.run_id}"}  # fmt: skip
    seen = Seen(Run(described.outline, parameters, left, names, described.final_states))
    root = seen[""]
    tasks = [_task(sight, left) for sight in _walk(seen, root)]
    state = STATES.get(str(dag_run.state), str(dag_run.state))
    told = _outputs(root) if state == "SUCCEEDED" else {}
    return {"id": dag_run.run_id, "state": state, "outputs": told, "tasks": tasks,
            "error": root.error if root.status is Status.FAILED else None}  # fmt: skip


def _walk(seen: Seen, graph: Sight) -> Iterator[Sight]:
    """What was begun, as tuneline lists it: nothing of a graph that was not gone into."""
    try:
        closed = not graph.open or (graph.path != "" and graph.given is None)
    except ValueError:
        closed = True
    for path in () if closed else graph.children:
        yield seen[path]
        if seen[path].kind is not Kind.TASK:
            yield from _walk(seen, seen[path])


def _task(sight: Sight, left: LeftInDatabase) -> dict[str, Any]:
    inputs: dict[str, Any] = {}
    with contextlib.suppress(ValueError):
        inputs = {"parameters": dict(sight.given.parameters)}
    return {
        "name": sight.path, "state": sight.status.value, "outputs": _outputs(sight), "inputs": inputs,
        "error": sight.error, "attempts": left.attempts.get(sight._ran) if sight.graph is None else 1,
        "display_name": sight.task.display_name or sight.task.name,
    }  # fmt: skip


def _outputs(sight: Sight) -> dict[str, Any]:
    put = sight.outputs
    artifacts = {
        key: [
            {**each, "type": each["type"]["schemaTitle"], "custom_path": each.get("customPath", "")}
            for each in listed
        ]
        for key, listed in put.artifacts.items()
    }
    return {"parameters": dict(put.parameters), "artifacts": artifacts}


def main() -> None:
    cases, found = json.loads(Path(sys.argv[1]).read_text()), {}
    DagBundlesManager().sync_bundles_to_db()
    for name, case in cases.items():
        try:
            found[name] = run(name, case)
        except Exception:
            found[name] = {"broke": traceback.format_exc()[-3000:]}
        Path(sys.argv[2]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
