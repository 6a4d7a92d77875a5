"""/apis/v2beta1/runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from tuneline.actions.kfp.runs import RunRequest
from tuneline.errors import UserError
from tuneline.record.run_lists import FIELDS
from tuneline.web.kfp import wire
from tuneline.web.kfp.call import Answer, Call, route
from tuneline.web.kfp.errors import status_of
from tuneline.web.kfp.messages import Message, anything, message, read, struct, text, time
from tuneline.web.kfp.tasks import task_details

Row = Mapping[Any, Any]

REFERENCE: Message = {"pipeline_id": text, "pipeline_version_id": text}
RUNTIME_CONFIG: Message = {"parameters": struct, "pipeline_root": text}
_RUN: Message = {
    "experiment_id": text, "run_id": anything, "display_name": text, "storage_state": anything,
    "description": text, "pipeline_version_id": text, "pipeline_spec": struct,
    "pipeline_version_reference": message(REFERENCE), "runtime_config": message(RUNTIME_CONFIG),
    "service_account": text, "created_at": anything, "scheduled_at": time, "finished_at": anything,
    "state": anything, "error": anything, "run_details": anything, "recurring_run_id": text,
    "state_history": anything, "plugins_input": struct, "plugins_output": anything,
}  # fmt: skip
_CLONE: Message = {"display_name": text, "runtime_config": message({"parameters": struct})}
_SOURCES = ("pipeline_version_id", "pipeline_spec", "pipeline_version_reference")


def _create(call: Call) -> Answer:
    body = read(call.json(), _RUN)
    if len([name for name in _SOURCES if body.get(name)]) > 1:
        raise UserError(f"A run has one pipeline: give one of {', '.join(_SOURCES)}.")
    reference, config = body.get("pipeline_version_reference", {}), body.get("runtime_config", {})
    asked = RunRequest(
        display_name=body.get("display_name", ""),
        spec=body.get("pipeline_spec"),
        pipeline_id=reference.get("pipeline_id", ""),
        pipeline_version_id=reference.get("pipeline_version_id", "") or body.get("pipeline_version_id", ""),
        experiment_id=body.get("experiment_id", "") or call.query.get("experiment_id", ""),
        description=body.get("description", ""),
        parameters=config.get("parameters", {}),
        pipeline_root=config.get("pipeline_root", ""),
        service_account=body.get("service_account", ""),
        scheduled_at=body.get("scheduled_at"),
        recurring_run=body.get("recurring_run_id", ""),
        plugins_input=body.get("plugins_input"),
    )
    return _texts(call, [call.platform.kfp.runs.create(asked)])[0]


def _list(call: Call) -> Answer:
    experiment = call.query.get("experiment_id", "")
    rows, token, total = call.platform.kfp.runs.page(call.listing(FIELDS), experiment)
    return wire.listed("runs", _texts(call, rows), total, token)


def _get(call: Call) -> Answer:
    row = call.platform.kfp.runs.get(call.path["id"])
    details = task_details(call.platform.kfp.artifacts, row)
    return _texts(call, [row], {"run_details": {"task_details": details}} if details else {})[0]


def _archive(call: Call) -> Answer:
    call.platform.kfp.runs.archive(call.path["id"])
    return {}


def _unarchive(call: Call) -> Answer:
    call.platform.kfp.runs.unarchive(call.path["id"])
    return {}


def _terminate(call: Call) -> Answer:
    call.platform.kfp.runs.terminate(call.path["id"])
    return {}


def _retry(call: Call) -> Answer:
    call.platform.kfp.runs.retry(call.path["id"])
    return {}


def _clone(call: Call) -> Answer:
    """Ours: what KFP's UI does by reading a run and making another, here with its secrets."""
    body = read(call.json(), _CLONE)
    parameters = body.get("runtime_config", {}).get("parameters")
    made = call.platform.kfp.runs.clone(call.path["id"], body.get("display_name", ""), parameters)
    return _texts(call, [made])[0]


def _delete(call: Call) -> Answer:
    call.platform.kfp.runs.delete(call.path["id"])
    return {}


def _texts(call: Call, rows: Sequence[Row], more: wire.Json | None = None) -> list[str]:
    """Runs as JSON texts. A spec goes in as it is stored, without being parsed."""
    own = [row for row in rows if not row["pipeline_version_id"]]
    specs = call.platform.kfp.runs.specs(own) if own else {}
    texts = [specs[row["pipeline"]] if not row["pipeline_version_id"] else "" for row in rows]
    return [
        wire.with_text(_shown(row) | (more or {}), "pipeline_spec", spec)
        for row, spec in zip(rows, texts, strict=True)
    ]


def _shown(row: Row) -> wire.Json:
    reference = None
    if row["pipeline_version_id"]:
        reference = {"pipeline_id": row["pipeline_id"], "pipeline_version_id": row["pipeline_version_id"]}
    config = wire.present({"parameters": row["parameters"] or {}, "pipeline_root": row["pipeline_root"]})
    return {"runtime_config": config} | wire.present(
        {
            "experiment_id": row["experiment"],
            "run_id": row["id"],
            "display_name": row["display_name"],
            "storage_state": row["storage_state"],
            "description": row["description"],
            "pipeline_version_reference": reference,
            "service_account": row["service_account"],
            "created_at": wire.timestamp(row["created_at"]),
            # one that no schedule made is due when it is made
            "scheduled_at": wire.timestamp(row["scheduled_at"] or row["created_at"]),
            "finished_at": wire.timestamp(row["finished_at"]),
            "state": wire.runtime_state(row["state"]),
            "error": status_of(row["error"]),
            "recurring_run_id": row["recurring_run"],
            "state_history": _history(row),
            "plugins_input": row["plugins_input"],
        }
    )


def _history(row: Row) -> list[wire.Json]:
    seen = row["history"] or [
        {"at": at, "state": state}
        for at, state in (
            (row["created_at"], "PENDING"),
            (row["started_at"], "RUNNING"),
            (row["finished_at"], row["state"]),
        )
        if at is not None
    ]
    shown = [{"update_time": wire.timestamp(item["at"]), "state": item["state"]} for item in seen]
    if row["error"] and shown and row["finished_at"] is not None:
        shown[-1]["error"] = status_of(row["error"])
    return shown


ROUTES = [
    route("POST", "/v2beta1/runs", _create),
    route("GET", "/v2beta1/runs", _list),
    route("POST", "/v2beta1/runs/{id}:archive", _archive),
    route("POST", "/v2beta1/runs/{id}:unarchive", _unarchive),
    route("POST", "/v2beta1/runs/{id}:terminate", _terminate),
    route("POST", "/v2beta1/runs/{id}:retry", _retry),
    route("POST", "/v2beta1/runs/{id}:clone", _clone),
    route("GET", "/v2beta1/runs/{id}", _get),
    route("DELETE", "/v2beta1/runs/{id}", _delete),
]
