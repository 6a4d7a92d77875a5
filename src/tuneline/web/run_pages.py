"""The page of a run: its graph, tasks, parameters, artifacts with what they show, and logs."""

from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from tuneline.actions import Platform
from tuneline.actions.artifacts import Artifacts
from tuneline.actions.levels import Level, Place, counted
from tuneline.actions.looks import Looks
from tuneline.plan.secrets import split
from tuneline.web import metrics
from tuneline.web.access import may_write
from tuneline.web.frames import small
from tuneline.web.graph import SIZES, Drawing, Node, draw
from tuneline.web.rendering import page

Json = dict[str, Any]

ACTIVE = ("PENDING", "RUNNING", "CANCELING")
GOOD = ("SUCCEEDED", "CACHED", "SKIPPED")
TAIL_BYTES = 64 << 10
WHOLE_BYTES = 16 << 20
"""Of a log, the most that is shown on a page, and given as text."""
MOST_SHOWN = 30
"""Artifacts whose content is shown on one page."""
MOST_ITERATIONS = 500


def run_router(platform: Platform, looks: Looks) -> APIRouter:
    """The routes below /runs/{id}."""
    router = APIRouter(include_in_schema=False)

    @router.get("/runs/{id}")
    def run(id: str, request: Request, within: str = "", task: str = "") -> HTMLResponse:
        found = looks.outline(id)
        level = looks.level(id, within)
        if level.kind not in ("dag", "loop"):
            task, level = within, looks.level(id, within.rpartition("/")[0])
        return page("run.html", **_values(platform, looks, found, level, task), may_write=may_write(request))

    @router.get("/runs/{id}/logs")
    def logs(id: str, task: str = "", attempt: int | None = None, raw: bool = False) -> Response:
        if not task:
            return page("logs.html", run=looks.outline(id), task=None, log=None, refresh=False, attempt=None)
        found = looks.task(id, task)
        if raw:
            text = platform.logs(id, task, attempt, -WHOLE_BYTES, WHOLE_BYTES)["text"]
            return PlainTextResponse(text, headers={"X-Content-Type-Options": "nosniff"})
        log = platform.logs(id, task, attempt, -TAIL_BYTES, TAIL_BYTES)
        return page(
            "logs.html", run=looks.summary(id), task=found, log=log, refresh=not log["done"], attempt=attempt
        )

    @router.post("/runs/{id}/cancel")
    def cancel(id: str) -> Response:
        platform.cancel(id)
        return RedirectResponse(f"/runs/{id}", HTTPStatus.SEE_OTHER)

    @router.post("/runs/{id}/retry")
    def retry(id: str) -> Response:
        return RedirectResponse(f"/runs/{platform.retry(id)['id']}", HTTPStatus.SEE_OTHER)

    return router


def _values(platform: Platform, looks: Looks, run: Json, level: Level, task: str) -> Json:
    """What `run.html` shows."""
    chosen = looks.task(run["id"], task) if task else None
    base = f"/runs/{run['id']}"
    artifacts = _artifacts(run, chosen)
    return {
        "run": run,
        "level": level,
        "graph": _drawing(level, base, run["state"] in ACTIVE) if level.kind == "dag" else None,
        "sizes": SIZES,
        "iterations": level.iterations[:MOST_ITERATIONS],
        "tasks": [_row(shown, base) for shown in run["tasks"]],
        "chosen": chosen,
        "defaults": _defaults(looks.inputs(run["id"]), run["parameters"]),
        "artifacts": artifacts,
        "shown": _shown(artifacts, platform.artifacts),
        "refresh": run["state"] in ACTIVE,
        "base": base,
    }


def _defaults(declared: Json, given: Json) -> Json:
    """What the parameters are that were not given; secrets masked."""
    values = {
        name: body["defaultValue"]
        for name, body in declared.items()
        if name not in given and isinstance(body, Mapping) and "defaultValue" in body
    }
    return split(values)[0]


def _drawing(level: Level, base: str, active: bool) -> Drawing:
    return draw([_node(place, base, active) for place in level.places])


def _node(place: Place, base: str, active: bool) -> Node:
    whole = place.kind in ("dag", "loop")
    state = "SKIPPED" if place.state == "PENDING" and not active else place.state
    link = f"{base}?{urlencode({'within' if whole else 'task': place.path})}"
    note = counted(place.inside, GOOD) if whole else ""
    return Node(place.name, state, place.needs, note, link, whole)


def _row(task: Json, base: str) -> Json:
    """A task of the table, with where its name leads."""
    whole = task["kind"] in ("dag", "loop") or bool((task["inside"] or {}).get("tasks"))
    link = f"{base}?{urlencode({'within' if whole else 'task': task['name']})}"
    under = f"{task['under']}/" if task["under"] else ""
    return {
        **task,
        "link": link,
        "whole": whole,
        "label": task["name"].removeprefix(under),
        "said": _counts(task) or (task["error"] or {}).get("message") or task["reason"],
        "log": None if whole or not task["attempts"] else f"{base}/logs?{urlencode({'task': task['name']})}",
    }


def _counts(task: Json) -> str:
    inside = task["inside"] or {}
    counts = inside.get("iterations") or (inside.get("tasks") if task["closed"] else None) or {}
    done = sum(counts.get(state, 0) for state in GOOD)
    return f"{done:,} of {sum(counts.values()):,} done" if counts else ""


def _artifacts(run: Json, chosen: Json | None) -> list[Json]:
    """What the shown tasks put out, or the chosen one alone: artifacts, each with its task and key."""
    found: dict[str, Json] = {}
    tasks: Sequence[Mapping[str, Any]] = [chosen] if chosen else run["tasks"]
    for task in tasks:
        for key, refs in task["outputs"]["artifacts"].items():
            for place, ref in enumerate(refs):
                name = key if len(refs) == 1 else f"{key}[{place}]"
                entry = {**ref, "key": name, "task": task["name"], "run": run["id"]}
                found.setdefault(ref["id"] or f"{task['name']}/{name}", entry)
    return list(found.values())


def _shown(artifacts: Sequence[Json], stored: Artifacts) -> list[Json]:
    """`{"artifact", "blocks"}` of those that show anything, at most MOST_SHOWN."""
    found: list[Json] = []
    for artifact in artifacts:
        if len(found) == MOST_SHOWN:
            break
        named = {**artifact, "name": artifact["key"]}
        blocks = metrics.blocks(named, partial(small, stored, artifact))
        if blocks:
            found.append({"artifact": artifact, "blocks": blocks})
    return found
