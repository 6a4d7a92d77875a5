"""Tasks: `run_details.task_details` of a run, and the task resource of KFP's coming API (`/tasks`).

Inputs and outputs are filled, which KFP's own server leaves empty. `task_details` has room for artifact ids
only; the task resource also has the parameters, with secrets masked.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from tuneline.actions.kfp.artifacts import Artifacts, artifact_ids, task_id
from tuneline.errors import UserError
from tuneline.plan.secrets import split
from tuneline.web.kfp import wire
from tuneline.web.kfp.artifacts import artifact
from tuneline.web.kfp.call import Answer, Call, route
from tuneline.web.kfp.errors import status_of

Row = Mapping[Any, Any]

TYPES: Mapping[str, str] = {
    "task": "RUNTIME", "importer": "RUNTIME", "dag": "DAG", "loop": "LOOP", "iteration": "LOOP_ITERATION",
}  # fmt: skip


def task_details(artifacts: Artifacts, run: Row) -> list[wire.Json]:
    """PipelineTaskDetails of a run, in the pipeline's order."""
    rows = artifacts.tasks(run["id"])
    used = artifacts.used(rows)
    failed = artifacts.failed_attempts(run["id"])
    children = _children(rows)
    return [
        _detail(run, row)
        | wire.present(
            {
                "inputs": _listed(row, "inputs", used),
                "outputs": _listed(row, "outputs", used),
                "child_tasks": [{"task_id": task_id(run["id"], child)} for child in children[row["name"]]],
                "executor_detail": wire.present({"failed_main_jobs": failed.get(row["name"])}),
            }
        )
        for row in rows
    ]


def _list(call: Call) -> Answer:
    run = call.query.get("run_id", "")
    if not run:
        raise UserError("`run_id` is missing: tasks are listed by run.")
    kfp = call.platform.kfp
    found = _resources(kfp.artifacts, kfp.runs.get(run))
    parent = call.query.get("parent_id", "")
    shown = [task for task in found if not parent or task.get("parent_task_id") == parent]
    return wire.present({"tasks": shown, "total_size": len(shown)})


def _get(call: Call) -> Answer:
    run, _, path = call.path["id"].partition("/")
    kfp = call.platform.kfp
    row = kfp.artifacts.task(run, path)
    tasks = _resources(kfp.artifacts, kfp.runs.get(run))
    return next(task for task in tasks if task["task_id"] == task_id(run, row["name"]))


def _resources(artifacts: Artifacts, run: Row) -> list[wire.Json]:
    rows = artifacts.tasks(run["id"])
    used = artifacts.used(rows)
    children = _children(rows)
    return [
        _detail(run, row)
        | wire.present(
            {
                "name": row["name"],
                "type": TYPES.get(row["kind"] or "task", "RUNTIME"),
                "type_attributes": _attributes(row),
                "inputs": _io(row, "inputs", used),
                "outputs": _io(row, "outputs", used),
                "child_tasks": [{"task_id": task_id(run["id"], child)} for child in children[row["name"]]],
                "cache_fingerprint": row["cache_key"],
            }
        )
        for row in rows
    ]


def _detail(run: Row, row: Row) -> wire.Json:
    """What both shapes share."""
    began = row["started_at"]
    return wire.present(
        {
            "run_id": run["id"],
            "task_id": task_id(run["id"], row["name"]),
            "display_name": row["display_name"] or row["name"].rpartition("/")[2],
            "create_time": wire.timestamp(run["created_at"]),
            "start_time": wire.timestamp(began),
            "end_time": wire.timestamp(row["finished_at"]),
            "state": wire.runtime_state(row["state"]),
            "execution_id": _execution(run["id"], row),
            "error": status_of(row["error"]),
            "parent_task_id": task_id(run["id"], row["parent"]) if row["parent"] else None,
            "pod_name": row["name"],
            "state_history": _history(row),
        }
    )


def _history(row: Row) -> list[wire.Json]:
    began, ended = row["started_at"], row["finished_at"]
    seen = [(began, "RUNNING")] if began is not None and not row["cached"] else []
    if ended is not None:
        seen.append((ended, row["state"]))
    return [{"update_time": wire.timestamp(at), "state": wire.runtime_state(state)} for at, state in seen]


def _execution(run: str, row: Row) -> str:
    """A number for the newest attempt, the same each time: KFP's executions are numbered."""
    if not row["attempts"] and not row["cached"]:
        return ""
    name = f"{run}/{row['name']}/{row['attempts']}".encode()
    return wire.int64(int.from_bytes(hashlib.sha256(name).digest()[:8], "big") >> 1)


def _attributes(row: Row) -> wire.Json:
    """The place of an iteration in its loop; the first one's is 0, and said."""
    return {} if row["iteration"] is None else {"iteration_index": wire.int64(row["iteration"])}


def _children(rows: Iterable[Row]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row["parent"]:
            found[row["parent"]].append(row["name"])
    return found


def _listed(row: Row, way: str, used: Mapping[str, Row]) -> wire.Json:
    """ArtifactLists by key."""
    return {
        key: {"artifact_ids": [wire.int64(used[id]["number"]) for id in ids if id in used]}
        for key, ids in artifact_ids(row, way).items()
    }


def _io(row: Row, way: str, used: Mapping[str, Row]) -> wire.Json:
    """Parameters and artifacts, as the coming API has them."""
    parameters = split((row[way] or {}).get("parameters") or {})[0].items()
    return wire.present(
        {
            "parameters": [{"parameter_key": key, "value": value} for key, value in parameters],
            "artifacts": [
                {"artifact_key": key, "artifacts": [artifact(used[id]) for id in ids if id in used]}
                for key, ids in artifact_ids(row, way).items()
            ],
        }
    )


ROUTES = [
    route("GET", "/v2beta1/tasks", _list),
    route("GET", "/v2beta1/tasks/{id:path}", _get),
]
