"""Runs side by side: parameters, outputs and scalar metrics, and which of them differ."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from tuneline.actions.looks import Looks
from tuneline.errors import UserError
from tuneline.web.metrics import number, scalars
from tuneline.web.rendering import as_json, page

MOST = 10
Json = dict[str, Any]


def compare_router(looks: Looks) -> APIRouter:
    """The route /compare?runs=a,b (or runs=a&runs=b)."""
    router = APIRouter(include_in_schema=False)

    @router.get("/compare")
    def compare(runs: Annotated[list[str], Query()] = []) -> HTMLResponse:  # noqa: B006 - FastAPI copies it
        ids = list(dict.fromkeys(id for given in runs for id in given.split(",") if id))
        if not 2 <= len(ids) <= MOST:
            raise UserError(
                f"{len(ids)} runs cannot be compared.", hint=f"Choose 2 to {MOST}: /compare?runs=ID,ID."
            )
        found = [looks.outline(id) for id in ids]
        parts = [
            ("Parameters", rows([shown(run["parameters"]) for run in found])),
            ("Metrics", rows([metrics(run["tasks"]) for run in found])),
            (
                "The pipelines put out",
                rows([shown((run["outputs"] or {}).get("parameters") or {}) for run in found]),
            ),
        ]
        return page("compare.html", runs=found, parts=[part for part in parts if part[1]])

    return router


def shown(values: Mapping[str, Any]) -> dict[str, str]:
    """Values as text."""
    return {key: value if isinstance(value, str) else as_json(value) for key, value in values.items()}


def metrics(tasks: Sequence[Json]) -> dict[str, str]:
    """The scalars of all metrics artifacts: `task.key: metric` -> number."""
    return {
        f"{task['name']}.{key}: {name}": number(value)
        for task in tasks
        for key, refs in task["outputs"]["artifacts"].items()
        for ref in refs
        if ref["type"] == "system.Metrics"
        for name, value in scalars(ref["metadata"] or {}).items()
    }


def rows(columns: Sequence[Mapping[str, str]]) -> list[tuple[str, list[str | None], bool]]:
    """(name, a value a run, whether they differ), in the order in which names are first seen."""
    names = dict.fromkeys(name for column in columns for name in column)
    found = [(name, [column.get(name) for column in columns]) for name in names]
    return [(name, values, len(set(values)) > 1) for name, values in found]
