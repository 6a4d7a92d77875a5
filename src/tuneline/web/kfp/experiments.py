"""/apis/v2beta1/experiments."""

from collections.abc import Mapping
from typing import Any

from tuneline.record.experiments import FIELDS
from tuneline.web.kfp import wire
from tuneline.web.kfp.call import Answer, Call, route
from tuneline.web.kfp.messages import anything, read, text

_EXPERIMENT = {
    "experiment_id": anything, "display_name": text, "description": text, "namespace": text,
    "created_at": anything, "storage_state": anything, "last_run_created_at": anything,
}  # fmt: skip


def _create(call: Call) -> Answer:
    body = read(call.json(), _EXPERIMENT)
    made = call.platform.kfp.experiments.create(body.get("display_name", ""), body.get("description", ""))
    return _shown(made)


def _list(call: Call) -> Answer:
    rows, token, total = call.platform.kfp.experiments.page(call.listing(FIELDS))
    shown = [_shown(row) for row in rows]
    return wire.present({"experiments": shown, "total_size": total, "next_page_token": token})


def _get(call: Call) -> Answer:
    return _shown(call.platform.kfp.experiments.get(call.path["id"]))


def _archive(call: Call) -> Answer:
    call.platform.kfp.experiments.archive(call.path["id"])
    return {}


def _unarchive(call: Call) -> Answer:
    call.platform.kfp.experiments.unarchive(call.path["id"])
    return {}


def _delete(call: Call) -> Answer:
    call.platform.kfp.experiments.delete(call.path["id"])
    return {}


def _shown(row: Mapping[Any, Any]) -> wire.Json:
    return wire.present(
        {
            "experiment_id": row["id"],
            "display_name": row["name"],
            "description": row["description"],
            "created_at": wire.timestamp(row["created_at"]),
            "last_run_created_at": wire.timestamp(row["last_run_at"]),
            "storage_state": row["storage_state"],
        }
    )


ROUTES = [
    route("POST", "/v2beta1/experiments", _create),
    route("GET", "/v2beta1/experiments", _list),
    route("POST", "/v2beta1/experiments/{id}:archive", _archive),
    route("POST", "/v2beta1/experiments/{id}:unarchive", _unarchive),
    route("GET", "/v2beta1/experiments/{id}", _get),
    route("DELETE", "/v2beta1/experiments/{id}", _delete),
]
