"""Airflow 3 as an engine: its REST API v2, over a DAG that `tuneline export airflow` made.

The DAG must be there: nothing is uploaded. A run's id there is ours, so it is found again and started once.
What tasks put out is in their XCom `return_value`, as `tuneline-airflow` writes it. Limits: a nested pipeline
or a loop is one task, made of the states of those in it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from tuneline.client.answers import part, seconds
from tuneline.client.engine import Engine
from tuneline.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    SpecError,
    TunelineError,
    UnauthenticatedError,
)
from tuneline.plan.engine import AIRFLOW, token_variable
from tuneline.plan.events import ArtifactRef, Outputs
from tuneline.plan.remote import Handed, Made, Seen, SeenTask, State
from tuneline.types import Digest, digest_json
from tuneline_ir import Pipeline
from tuneline_ir.likeness import PREFIX, safe, tag_of

_RUN = {"success": State.SUCCEEDED, "failed": State.FAILED, "running": State.RUNNING, "queued": State.PENDING}
_TASK = {
    "success": State.SUCCEEDED, "failed": State.FAILED, "skipped": State.SKIPPED, "removed": State.SKIPPED,
    "upstream_failed": State.SKIPPED, "running": State.RUNNING, "deferred": State.RUNNING,
}  # fmt: skip
"""All others wait: `scheduled`, `queued`, `up_for_retry`, none."""
_AGAIN = ("up_for_retry", "up_for_reschedule", "restarting")
PAGE = 100
LOG_PIECES = 1000


class Airflow:
    """See `plan.remote.Remote`. Thread-safe."""

    def __init__(self, url: str, options: Mapping[str, str], login: Mapping[str, str]) -> None:
        """options: `dag`, if it is not named as the pipeline. login: `token`, or `user` and `password`."""
        self._http = Engine("Airflow", url, self._token, token_variable(AIRFLOW))
        self._options, self._login = options, login
        self._known = login.get("token", "")
        self._reasons: dict[tuple[str, str, int], str] = {}

    def begin(self, run: Handed) -> tuple[str, str]:
        """See Remote. Raises: SpecError, ConflictError if the DAG is not the one that this pipeline makes."""
        spec = run.pipeline.get("pipeline_spec") or run.pipeline
        dag = self._options.get("dag") or safe(str(spec["pipelineInfo"]["name"]))
        self._check(dag, tag_of(run.pipeline))
        given = {
            name: body["defaultValue"]
            for name, body in _inputs(spec).items()
            if body.get("defaultValue") is not None
        }
        body = {"dag_run_id": run.id, "logical_date": None, "conf": {**given, **run.parameters}}
        try:
            self._call("POST", f"{_dag(dag)}/dagRuns", body)
        except ConflictError:  # it was started before, and that was never recorded
            self._call("GET", f"{_dag(dag)}/dagRuns/{part(run.id)}")
        return f"{dag}/{run.id}", f"{self._http.url}/dags/{part(dag)}/runs/{part(run.id)}"

    def look(self, id: str) -> Seen:
        """See Remote."""
        body = self._call("GET", _run(id))
        found: list[Mapping[str, Any]] = []
        while True:
            query = {"limit": PAGE, "offset": len(found)}
            page = self._call("GET", f"{_run(id)}/taskInstances", query=query)
            listed = page.get("task_instances") or []
            found += listed
            if not listed or len(found) >= int(page.get("total_entries") or 0):
                break
        return Seen(
            state=_RUN.get(str(body.get("state")), State.PENDING),
            tasks=tuple(self._with_reason(id, task) for task in _tasks(found)),
            started_at=seconds(body.get("start_date")),
            finished_at=seconds(body.get("end_date")),
        )

    def made(self, id: str, pipeline: Pipeline, tasks: Mapping[str, SeenTask]) -> Mapping[str, Made]:
        """See Remote."""
        found = {}
        for name, task in tasks.items():
            if not task.place:  # of tasks
                found[name] = Made(missing="what the tasks in it put out is theirs alone")
                continue
            path = f"{_run(id)}/taskInstances/{part(task.place)}/xcomEntries/return_value"
            try:
                value = self._call("GET", path).get("value")
                found[name] = Made(
                    _outputs(json.loads(value) if isinstance(value, str) else value, pipeline, name)
                )
            except (NotFoundError, ValueError):
                found[name] = Made(missing="it left no outputs in Airflow's XCom")
        return found

    def log(self, id: str, task: SeenTask) -> str:
        """See Remote."""
        if not task.place:
            raise NotFoundError("a nested pipeline has no log of its own; its tasks have, on Airflow's page.")
        path = f"{_run(id)}/taskInstances/{part(task.place)}/logs/{max(1, task.attempt)}"
        lines: list[str] = []
        query: dict[str, Any] = {"full_content": "true"}
        for _ in range(LOG_PIECES):
            body = self._call("GET", path, query=query)
            content = body.get("content") or []
            lines += content.splitlines() if isinstance(content, str) else [_line(each) for each in content]
            if not content or not body.get("continuation_token"):
                break
            query["token"] = body["continuation_token"]
        return "".join(f"{line}\n" for line in lines if line)

    def cancel(self, id: str) -> None:
        """See Remote: Airflow knows no other end than failed."""
        self._call("PATCH", _run(id), {"state": "failed"}, {"update_mask": "state"})

    def retry(self, id: str) -> None:
        """See Remote."""
        self._call("POST", f"{_run(id)}/clear", {"dry_run": False, "only_failed": True})

    def close(self) -> None:
        """See Remote."""
        self._http.close()

    def _with_reason(self, id: str, task: SeenTask) -> SeenTask:
        """A failed task with what it said of that: `tuneline-airflow` leaves it in the XCom `error`."""
        if task.state is not State.FAILED or not task.place:
            return task
        key = (id, task.name, task.attempt)
        if key not in self._reasons:
            path = f"{_run(id)}/taskInstances/{part(task.place)}/xcomEntries/error"
            try:
                self._reasons[key] = str(self._call("GET", path).get("value") or "")
            except NotFoundError:
                self._reasons[key] = ""
        return replace(task, error=self._reasons[key])

    def _check(self, dag: str, tag: str) -> None:
        """That the DAG is there, runs, and is the one of this pipeline."""
        again = f"Export it: `tuneline export airflow PROJECT -o DAGS`, to Airflow's folder of DAGs ({dag})."
        try:
            body = self._call("GET", _dag(dag))
        except NotFoundError as error:
            raise NotFoundError(f"Airflow at {self._http.url} has no DAG `{dag}`.", hint=again) from error
        if body.get("has_import_errors"):
            raise ConflictError(f"Airflow cannot read the DAG `{dag}`: it has import errors.", hint=again)
        tags = [str(each.get("name")) for each in body.get("tags") or ()]
        known = [each for each in tags if each.startswith(PREFIX)]
        if tag not in known:
            said = f"it is of {', '.join(known)}, this one is {tag}" if known else f"it has no tag {tag}"
            raise SpecError(
                f"The DAG `{dag}` was exported from another version of this pipeline: {said}.", hint=again
            )
        if body.get("is_paused"):
            raise ConflictError(
                f"The DAG `{dag}` is paused: a run of it would wait for ever.",
                hint=f"Switch it on in Airflow: `airflow dags unpause {dag}`.",
            )

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """One request; with a new token, if this user can have one and the old one is no good any more."""
        try:
            return self._http.json(method, path, body, query)
        except (UnauthenticatedError, ForbiddenError) as error:  # it says 403 of a token that has expired
            if self._login.get("token"):
                raise UnauthenticatedError(error.message, hint=error.hint) from error
            self._known = ""
            return self._http.json(method, path, body, query)

    def _token(self) -> str:
        if not self._known:
            self._known = self._new_token()
        return self._known

    def _new_token(self) -> str:
        user, password = self._login.get("user", ""), self._login.get("password", "")
        body = {"username": user, "password": password} if user else None
        try:
            found = self._http.json("POST" if body else "GET", "/auth/token", body, anonymous=True)
        except (NotFoundError, UnauthenticatedError) as error:
            raise _unknown(self._http.url, user) from error
        except TunelineError as error:
            if error.retry:
                raise
            raise _unknown(self._http.url, user) from error
        return str(found.get("access_token") or "")


def _unknown(url: str, user: str) -> UnauthenticatedError:
    who = f"does not know the user `{user}` by that password" if user else "wants to know who asks"
    return UnauthenticatedError(
        f"Airflow at {url} {who}.",
        hint="Set TUNELINE_AIRFLOW_USER and TUNELINE_AIRFLOW_PASSWORD, or TUNELINE_AIRFLOW_TOKEN.",
    )


def _tasks(instances: Iterable[Mapping[str, Any]]) -> Iterable[SeenTask]:
    """Tasks of the pipeline itself: those of its graphs together, under the graph's name."""
    inside: dict[str, list[Mapping[str, Any]]] = {}
    for each in instances:
        id = str(each["task_id"])
        if int(each.get("map_index", -1)) < 0:
            yield _task(each)
        if "." in id:  # `graph.task`: Airflow's ids have dots where paths have slashes
            inside.setdefault(id.partition(".")[0], []).append(each)
    for name, listed in inside.items():
        yield _graph(name, listed)


def _task(each: Mapping[str, Any]) -> SeenTask:
    state, word = _TASK.get(str(each.get("state")), State.PENDING), str(each.get("state"))
    tried = int(each.get("try_number") or 0)
    return SeenTask(
        name=str(each["task_id"]),
        state=state,
        attempt=tried if state in (State.RUNNING, State.SUCCEEDED, State.FAILED) or word in _AGAIN else 0,
        started_at=seconds(each.get("start_date")),
        finished_at=seconds(each.get("end_date")),
        error="something that it needs failed" if word == "upstream_failed" else "",
        place=str(each["task_id"]),
    )


def _graph(name: str, listed: list[Mapping[str, Any]]) -> SeenTask:
    states = {_TASK.get(str(each.get("state")), State.PENDING) for each in listed}
    begun = [at for each in listed if (at := seconds(each.get("start_date"))) is not None]
    ended = [at for each in listed if (at := seconds(each.get("end_date"))) is not None]
    if states == {State.PENDING}:
        state = State.PENDING
    elif states & {State.PENDING, State.RUNNING}:
        state = State.RUNNING
    elif State.FAILED in states:
        state = State.FAILED
    else:
        state = State.SUCCEEDED if State.SUCCEEDED in states else State.SKIPPED
    return SeenTask(name, state, 0, min(begun, default=None), max(ended, default=None))


def _outputs(record: Any, pipeline: Pipeline, task: str) -> Outputs:
    if not isinstance(record, Mapping):
        return Outputs()
    known = pipeline.tasks.get(task)
    declared = pipeline.component_of(known).outputs.artifacts if known is not None else {}
    artifacts = {
        name: tuple(
            _artifact(name, each, declared[name].type if name in declared else "system.Artifact")
            for each in listed
        )
        for name, listed in (record.get("artifacts") or {}).items()
    }
    return Outputs(dict(record.get("parameters") or {}), artifacts)


def _artifact(name: str, body: Mapping[str, Any], type: str) -> ArtifactRef:
    uri = str(body.get("uri", ""))
    return ArtifactRef(
        name, type, uri, Digest(digest_json({"uri": uri})), 0, dict(body.get("metadata") or {})
    )


def _line(entry: Any) -> str:
    """A line of a log: Airflow's are `{"timestamp", "event", ...}`; its own marks of groups are left out."""
    if not isinstance(entry, Mapping):
        return str(entry)
    event = str(entry.get("event", ""))
    raised = [f"{each.get('exc_type')}: {each.get('exc_value')}" for each in entry.get("error_detail") or ()]
    return "\n".join([*([] if event.startswith("::") else [event]), *raised])


def _inputs(spec: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    found: Mapping[str, Mapping[str, Any]] = ((spec.get("root") or {}).get("inputDefinitions") or {}).get(
        "parameters"
    ) or {}
    return found


def _dag(id: str) -> str:
    return f"/api/v2/dags/{part(id)}"


def _run(id: str) -> str:
    dag, _, run = id.partition("/")
    return f"{_dag(dag)}/dagRuns/{part(run)}"
