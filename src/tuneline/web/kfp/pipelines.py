"""/apis/v2beta1/pipelines and their versions, but for the two uploads (`uploads.py`)."""

from collections.abc import Mapping
from typing import Any

from tuneline.actions.kfp.pipelines import Described
from tuneline.record.uploads import PIPELINES, VERSIONS
from tuneline.web.kfp import wire
from tuneline.web.kfp.call import Answer, Call, route
from tuneline.web.kfp.messages import Message, anything, message, read, struct, text, texts_by_key

_PIPELINE: Message = {
    "pipeline_id": anything, "display_name": text, "name": text, "description": text, "namespace": text,
    "created_at": anything, "error": anything, "tags": texts_by_key,
}  # fmt: skip
_VERSION: Message = {
    "pipeline_id": anything, "pipeline_version_id": anything, "display_name": text, "name": text,
    "description": text, "created_at": anything, "package_url": message({"pipeline_url": text}),
    "code_source_url": text, "pipeline_spec": struct, "error": anything, "tags": texts_by_key,
}  # fmt: skip
_BOTH: Message = {"pipeline": message(_PIPELINE), "pipeline_version": message(_VERSION)}


def _create(call: Call) -> Answer:
    return pipeline(call.platform.kfp.pipelines.create(_described(read(call.json(), _PIPELINE))))


def _create_both(call: Call) -> Answer:
    body = read(call.json(), _BOTH)
    version = body.get("pipeline_version", {})
    said, of_version = _described(body.get("pipeline", {})), _described(version)
    url = version.get("package_url", {}).get("pipeline_url", "")
    return pipeline(call.platform.kfp.pipelines.create_from_url(said, of_version, url))


def _list(call: Call) -> Answer:
    rows, token, total = call.platform.kfp.pipelines.page(call.listing(PIPELINES))
    shown = [pipeline(row) for row in rows]
    return wire.present({"pipelines": shown, "total_size": total, "next_page_token": token})


def _get(call: Call) -> Answer:
    return pipeline(call.platform.kfp.pipelines.get(call.path["id"]))


def _named(call: Call) -> Answer:
    return pipeline(call.platform.kfp.pipelines.named(call.path["name"]))


def _update(call: Call) -> Answer:
    said = read(call.json(), _PIPELINE)
    return pipeline(call.platform.kfp.pipelines.update(call.path["id"], said))


def _delete(call: Call) -> Answer:
    call.platform.kfp.pipelines.delete(call.path["id"], call.flag("cascade"))
    return {}


def _create_version(call: Call) -> Answer:
    body = read(call.json(), _VERSION)
    url = body.get("package_url", {}).get("pipeline_url", "")
    made = call.platform.kfp.pipelines.create_version(
        call.path["id"], _described(body), url, body.get("pipeline_spec")
    )
    return version(made)


def _list_versions(call: Call) -> Answer:
    found = call.platform.kfp.pipelines.page_of_versions(call.path["id"], call.listing(VERSIONS))
    rows, token, total = found
    return wire.listed("pipeline_versions", [version(row) for row in rows], total, token)


def _get_version(call: Call) -> Answer:
    return version(call.platform.kfp.pipelines.version(call.path["version"]))


def _update_version(call: Call) -> Answer:
    said = read(call.json(), _VERSION)
    found = call.platform.kfp.pipelines.update_version(call.path["version"], said)
    return version(found)


def _delete_version(call: Call) -> Answer:
    call.platform.kfp.pipelines.delete_version(call.path["version"])
    return {}


def pipeline(row: Mapping[str, Any]) -> wire.Json:
    """A Pipeline."""
    return wire.present(
        {
            "pipeline_id": row["id"],
            "display_name": row["display_name"],
            "name": row["name"],
            "description": row["description"],
            "created_at": wire.timestamp(row["created_at"]),
            "tags": row["tags"],
        }
    )


def version(row: Mapping[str, Any]) -> str:
    """A PipelineVersion, as JSON text: its spec goes in as it is stored."""
    shown = wire.present(
        {
            "pipeline_id": row["pipeline"],
            "pipeline_version_id": row["id"],
            "display_name": row["display_name"],
            "name": row["name"],
            "description": row["description"],
            "created_at": wire.timestamp(row["created_at"]),
            "package_url": {"pipeline_url": row["package_url"]} if row["package_url"] else None,
            "code_source_url": row["code_source_url"],
            "tags": row["tags"],
        }
    )
    return wire.with_text(shown, "pipeline_spec", row["spec_text"])


def _described(body: Mapping[str, Any]) -> Described:
    names = ("name", "display_name", "description", "code_source_url", "tags")
    return Described(**{name: body[name] for name in names if name in body})


ROUTES = [
    route("POST", "/v2beta1/pipelines", _create),
    route("POST", "/v2beta1/pipelines/create", _create_both),
    route("GET", "/v2beta1/pipelines", _list),
    route("GET", "/v2beta1/pipelines/names/{name}", _named),
    route("POST", "/v2beta1/pipelines/{id}/versions", _create_version),
    route("GET", "/v2beta1/pipelines/{id}/versions", _list_versions),
    route("GET", "/v2beta1/pipelines/{id}/versions/{version}", _get_version),
    route("PATCH", "/v2beta1/pipelines/{id}/versions/{version}", _update_version),
    route("DELETE", "/v2beta1/pipelines/{id}/versions/{version}", _delete_version),
    route("GET", "/v2beta1/pipelines/{id}", _get),
    route("PATCH", "/v2beta1/pipelines/{id}", _update),
    route("DELETE", "/v2beta1/pipelines/{id}", _delete),
]
