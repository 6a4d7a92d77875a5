"""Kubeflow Pipelines as an engine: its API v2beta1, by the requests that its own SDK makes.

Kubeflow's own server leaves inputs and outputs of tasks out of what it tells of a run (kubeflow/pipelines
issue 9858), lists the pods of a task as tasks, and has logs only as long as the pods are there. Where it has
the task resource of its coming API (`/tasks`), as tuneline's server does, outputs are read from that.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tuneline.client.answers import part, seconds
from tuneline.client.engine import Engine
from tuneline.errors import NotFoundError, UserError
from tuneline.plan.engine import KUBEFLOW, token_variable
from tuneline.plan.events import ArtifactRef, Outputs
from tuneline.plan.remote import Handed, Made, Seen, SeenTask, State
from tuneline.types import Digest, digest_json
from tuneline_ir import Pipeline

BASE = "/apis/v2beta1"
NO_OUTPUTS = "Kubeflow's API does not tell its outputs"
_STATES = {
    "PENDING": State.PENDING, "RUNNING": State.RUNNING, "SUCCEEDED": State.SUCCEEDED,
    "SKIPPED": State.SKIPPED, "FAILED": State.FAILED, "CANCELING": State.RUNNING, "CANCELED": State.CANCELED,
    "PAUSED": State.PENDING, "CACHED": State.SUCCEEDED,
}  # fmt: skip
_ROOTS = ("", "root")


class Kubeflow:
    """See `plan.remote.Remote`. Thread-safe."""

    def __init__(self, url: str, options: Mapping[str, str], token: Callable[[], str]) -> None:
        """options: `experiment`, by name; `root`, where artifacts go."""
        self._http = Engine("Kubeflow", url, token, token_variable(KUBEFLOW))
        self._options = options

    def begin(self, run: Handed) -> tuple[str, str]:
        """See Remote. It is found by its display name, which holds the run's id."""
        id = self._found(run.name) or self._created(run)
        return id, f"{self._http.url}/#/runs/details/{id}"

    def look(self, id: str) -> Seen:
        """See Remote."""
        body = self._http.json("GET", f"{BASE}/runs/{part(id)}")
        return seen(body)

    def made(self, id: str, pipeline: Pipeline, tasks: Mapping[str, SeenTask]) -> Mapping[str, Made]:
        """See Remote: from the task resource, where the server has it."""
        if not tasks:
            return {}
        try:
            listed = self._http.json("GET", f"{BASE}/tasks", query={"run_id": id}).get("tasks") or []
        except UserError:  # 404, or whatever a server says of a route that it has not
            return {name: Made(missing=NO_OUTPUTS) for name in tasks}
        found = {_name(task): task for task in _top(listed)}
        return {
            name: Made(_outputs(found[name].get("outputs") or {}) if name in found else Outputs())
            for name in tasks
        }

    def log(self, id: str, task: SeenTask) -> str:
        """See Remote: of the task's pod, while it is there, or from its archive."""
        path = f"/apis/v1alpha1/runs/{part(id)}/nodes/{part(task.place)}/log"
        return self._http.text(path)

    def cancel(self, id: str) -> None:
        """See Remote."""
        self._http.json("POST", f"{BASE}/runs/{part(id)}:terminate")

    def retry(self, id: str) -> None:
        """See Remote."""
        self._http.json("POST", f"{BASE}/runs/{part(id)}:retry")

    def close(self) -> None:
        """See Remote."""
        self._http.close()

    def _found(self, name: str) -> str:
        for run in self._http.json("GET", f"{BASE}/runs", query=_named(name)).get("runs") or ():
            return str(run["run_id"])
        return ""

    def _created(self, run: Handed) -> str:
        body: dict[str, Any] = {
            "display_name": run.name,
            "description": f"Run {run.id} of tuneline.",
            "pipeline_spec": dict(run.pipeline),
            "runtime_config": {"parameters": dict(run.parameters)},
        }
        if self._options.get("root"):
            body["runtime_config"]["pipeline_root"] = self._options["root"]
        if self._options.get("experiment"):
            body["experiment_id"] = self._experiment(self._options["experiment"])
        made = self._http.json("POST", f"{BASE}/runs", body)
        if not made.get("run_id"):
            raise NotFoundError(f"Kubeflow at {self._http.url} took the run and gave it no id.")
        return str(made["run_id"])

    def _experiment(self, name: str) -> str:
        found = self._http.json("GET", f"{BASE}/experiments", query=_named(name))
        for experiment in found.get("experiments") or ():
            return str(experiment["experiment_id"])
        return str(self._http.json("POST", f"{BASE}/experiments", {"display_name": name})["experiment_id"])


def seen(body: Mapping[str, Any]) -> Seen:
    """A run of the API."""
    details = (body.get("run_details") or {}).get("task_details") or []
    history = body.get("state_history") or []
    running = [item.get("update_time") for item in history if item.get("state") == "RUNNING"]
    ended = body.get("finished_at") or ""
    return Seen(
        state=_STATES.get(str(body.get("state", "")), State.PENDING),
        error=str((body.get("error") or {}).get("message", "")),
        tasks=tuple(_task(detail) for detail in _top(details)),
        started_at=seconds(running[0]) if running else None,
        finished_at=seconds(ended),
    )


def _task(detail: Mapping[str, Any]) -> SeenTask:
    return SeenTask(
        name=_name(detail),
        state=_STATES.get(str(detail.get("state", "")), State.PENDING),
        started_at=seconds(detail.get("start_time")),
        finished_at=seconds(detail.get("end_time")),
        error=str((detail.get("error") or {}).get("message", "")),
        place=str(detail.get("pod_name") or detail.get("task_id") or ""),
    )


def _name(detail: Mapping[str, Any]) -> str:
    # ours name a task in the task resource by its path; a title is for people
    name = str(detail.get("name") or detail.get("display_name") or "")
    return name if "/" not in name else ""


def _top(details: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The tasks of the pipeline itself: those whose parent is the run's root, where parents are told."""
    listed = list(details)
    names = {str(each.get("task_id")): str(each.get("display_name", "")) for each in listed}
    roots = [
        each
        for each in listed
        if not each.get("parent_task_id") or names.get(str(each["parent_task_id"]), "") in _ROOTS
    ]
    return [each for each in roots if str(each.get("display_name", "")) not in _ROOTS]


def _outputs(body: Mapping[str, Any]) -> Outputs:
    parameters = {
        str(each.get("parameter_key") or each.get("name")): each.get("value")
        for each in body.get("parameters") or ()
    }
    artifacts = {}
    for each in body.get("artifacts") or ():
        key = str(each.get("artifact_key") or each.get("key"))
        artifacts[key] = tuple(_artifact(key, one) for one in each.get("artifacts") or ())
    return Outputs(parameters, artifacts)


def _artifact(key: str, body: Mapping[str, Any]) -> ArtifactRef:
    uri = str(body.get("uri", ""))
    return ArtifactRef(
        name=key,
        type=str(body.get("schema_title") or f"system.{body.get('type') or 'Artifact'}"),
        uri=uri,
        digest=Digest(str(body.get("digest") or digest_json({"uri": uri}))),
        size_bytes=int(body.get("size_bytes") or 0),
        metadata=dict(body.get("metadata") or {}),
    )


def _named(name: str) -> dict[str, str]:
    equal = {"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]}
    return {"filter": json.dumps(equal)}
