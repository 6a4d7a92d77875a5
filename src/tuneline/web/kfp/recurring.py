"""Recurring runs on the wire: KFP's RecurringRun message to `platform.recurring` and back.

64-bit numbers leave as text; the list's key is `recurringRuns`, the only one of the API in camel case.
"""

from collections.abc import Mapping
from typing import Any

from tuneline.actions.recurring import RecurringRequest
from tuneline.errors import UserError
from tuneline.plan.recurring import line_of
from tuneline.record.recurring import FIELDS
from tuneline.web.kfp import errors, messages, wire
from tuneline.web.kfp.call import Answer, Call, route

Json = dict[str, Any]
PATH = "/v2beta1/recurringruns"
BOUNDS: messages.Message = {"start_time": messages.time, "end_time": messages.time}
TRIGGER: messages.Message = {
    "cron_schedule": messages.message({**BOUNDS, "cron": messages.text}),
    "periodic_schedule": messages.message({**BOUNDS, "interval_second": messages.int64}),
}
RECURRING: messages.Message = {
    "recurring_run_id": messages.anything, "created_at": messages.anything, "updated_at": messages.anything,
    "status": messages.anything, "error": messages.anything,
    "display_name": messages.text, "description": messages.text, "namespace": messages.text,
    "experiment_id": messages.text, "service_account": messages.text, "pipeline_version_id": messages.text,
    "pipeline_spec": messages.struct,
    "pipeline_version_reference": messages.message(
        {"pipeline_id": messages.text, "pipeline_version_id": messages.text}
    ),
    "runtime_config": messages.message({"parameters": messages.struct, "pipeline_root": messages.text}),
    "max_concurrency": messages.int64, "no_catchup": messages.flag, "trigger": messages.message(TRIGGER),
    "mode": messages.one_of("MODE_UNSPECIFIED", "ENABLE", "DISABLE"), "plugins_input": messages.struct,
}  # fmt: skip


def _create(call: Call) -> Answer:
    asked = _asked(messages.read(call.json(), RECURRING, ""))
    return _text(call, call.platform.recurring.create(asked))


def _list(call: Call) -> Answer:
    experiment = call.query.get("experiment_id", "")
    rows, token, total = call.platform.recurring.page(call.listing(FIELDS), experiment)
    return wire.listed("recurringRuns", [_text(call, row) for row in rows], total, token)


def _get(call: Call) -> Answer:
    return _text(call, call.platform.recurring.get(call.path["id"]))


def _enable(call: Call) -> Answer:
    call.platform.recurring.enable(call.path["id"])
    return {}


def _disable(call: Call) -> Answer:
    call.platform.recurring.enable(call.path["id"], False)
    return {}


def _delete(call: Call) -> Answer:
    call.platform.recurring.delete(call.path["id"])
    return {}


def _asked(body: Mapping[str, Any]) -> RecurringRequest:
    reference = body.get("pipeline_version_reference") or {}
    config = body.get("runtime_config") or {}
    spec = body.get("pipeline_spec") or None
    if spec is not None and reference:
        raise UserError("A recurring run has a pipeline_spec or a pipeline_version_reference, not both.")
    return RecurringRequest(
        display_name=body.get("display_name", ""),
        trigger=_trigger(body.get("trigger") or {}),
        spec=spec,
        pipeline_id=reference.get("pipeline_id", ""),
        pipeline_version_id=reference.get("pipeline_version_id", "") or body.get("pipeline_version_id", ""),
        experiment_id=body.get("experiment_id", ""),
        description=body.get("description", ""),
        parameters=config.get("parameters") or {},
        pipeline_root=config.get("pipeline_root", ""),
        service_account=body.get("service_account", ""),
        plugins_input=body.get("plugins_input"),
        enabled=body.get("mode") == "ENABLE",
        max_concurrency=body.get("max_concurrency", 0),
        catch_up=not body.get("no_catchup", False),
    )


def _trigger(body: Mapping[str, Any]) -> Json:
    if len(body) != 1:
        raise UserError(
            "A recurring run needs a trigger: one of cron_schedule and periodic_schedule.",
            hint='E.g. {"cron_schedule": {"cron": "0 0 9 ? * 2-6"}}.',
        )
    ((kind, given),) = body.items()
    bounds = {key: given[f"{key}_time"] for key in ("start", "end") if f"{key}_time" in given}
    if bounds.get("end") is not None and bounds["end"] < bounds.get("start", bounds["end"]):
        raise UserError("The trigger's end_time is before its start_time.")
    if kind == "periodic_schedule":
        every = given.get("interval_second", 0)
        if every < 1:
            raise UserError(
                f"Found invalid period schedule interval {every}. Set at interval to least 1 second."
            )
        return {"every_s": every, **bounds}
    return {"cron": given.get("cron", ""), **bounds}


def _text(call: Call, row: Mapping[Any, Any]) -> str:
    """A recurring run as JSON text. Its spec goes in as it is stored, without being parsed."""
    return wire.with_text(_shown(row), "pipeline_spec", call.platform.recurring.spec_text(row["id"]))


def _shown(row: Mapping[Any, Any]) -> Json:
    reference = {"pipeline_id": row["pipeline_id"], "pipeline_version_id": row["pipeline_version_id"]}
    config = {"parameters": row["parameters"], "pipeline_root": row["pipeline_root"]}
    body = {
        "recurring_run_id": row["id"],
        "display_name": row["display_name"],
        "description": row["description"],
        "pipeline_version_reference": wire.present(reference),
        "service_account": row["service_account"],
        "max_concurrency": wire.int64(row["max_concurrency"]),
        "trigger": _trigger_shown(row["trigger_body"]),
        "mode": "ENABLE" if row["enabled"] else "DISABLE",
        "created_at": wire.timestamp(row["created_at"]),
        "updated_at": wire.timestamp(row["updated_at"]),
        "status": "ENABLED" if row["enabled"] else "DISABLED",
        "error": errors.status_of(row["error"]),
        "no_catchup": bool(row["no_catchup"]),
        "experiment_id": row["experiment"],
        "plugins_input": row["plugins_input"],
    }
    return {"runtime_config": wire.present(config)} | wire.present(body)


def _trigger_shown(body: Mapping[str, Any]) -> Json:
    bounds = {f"{key}_time": wire.timestamp(body.get(key)) for key in ("start", "end")}
    if "every_s" in body:
        return {"periodic_schedule": wire.present({**bounds, "interval_second": wire.int64(body["every_s"])})}
    return {"cron_schedule": wire.present({**bounds, "cron": line_of(body)})}


ROUTES = [
    route("POST", PATH, _create),
    route("GET", PATH, _list),
    route("POST", f"{PATH}/{{id}}:enable", _enable),
    route("POST", f"{PATH}/{{id}}:disable", _disable),
    route("GET", f"{PATH}/{{id}}", _get),
    route("DELETE", f"{PATH}/{{id}}", _delete),
]
