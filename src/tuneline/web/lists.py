"""Plain lists: runs, experiments, recurring runs, uploaded pipelines with their versions, page by page."""

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from tuneline.actions import Platform, views
from tuneline.actions.levels import inputs_of, level
from tuneline.actions.outline import Tree
from tuneline.errors import NotFoundError
from tuneline.plan.listing import parse
from tuneline.plan.secrets import MASK, is_secret
from tuneline.record import experiments, run_lists, uploads
from tuneline.web.graph import SIZES, Node, draw
from tuneline.web.rendering import moment, page, took
from tuneline_ir import documents

PAGE = 50
NEWEST = "created_at desc"
Json = dict[str, Any]


def list_router(platform: Platform) -> APIRouter:
    """The routes of lists."""
    router = APIRouter(include_in_schema=False)

    @router.get("/runs")
    def runs(after: str = "", archived: bool = False) -> HTMLResponse:
        state = "ARCHIVED" if archived else "AVAILABLE"
        shown = _runs(
            platform, after, [{"operation": "EQUALS", "key": "storage_state", "string_value": state}]
        )
        more = {"archived": "true"} if archived else {}
        title = "Archived runs" if archived else "Runs"
        return page("runs.html", title=title, about="", other=not archived, **_more(shown, "/runs", more))

    @router.get("/experiments")
    def all_experiments(after: str = "") -> HTMLResponse:
        asked = parse(experiments.FIELDS, page_token=after, page_size=PAGE, sort_by=NEWEST)
        rows, token, _ = platform.kfp.experiments.page(asked)
        table = [
            (f"/experiments/{row['id']}", row["name"], row["storage_state"].lower(), row["description"],
             views.moment(row["created_at"]))
            for row in rows
        ]  # fmt: skip
        head = ("experiment", "", "description", "created")
        return page(
            "list.html", title="Experiments", head=head, rows=table, more=_link("/experiments", token)
        )

    @router.get("/experiments/{id}")
    def experiment(id: str, after: str = "") -> HTMLResponse:
        row = platform.kfp.experiments.get(id)
        shown = _runs(platform, after, experiment=id)
        more = _more(shown, f"/experiments/{id}", {})
        return page("runs.html", title=row["name"], about=row["description"], other=False, **more)

    @router.get("/recurringruns")
    def schedules() -> HTMLResponse:
        table = [
            (f"/recurringruns/{found['id']}", found["name"], _when(found),
             "enabled" if found["enabled"] else "paused", str(found["runs_made"]), found["next"])
            for found in platform.schedules.all()
        ]  # fmt: skip
        head = ("what runs by itself", "when", "", "runs made", "next")
        return page("list.html", title="Recurring runs", head=head, rows=table, more="")

    @router.get("/recurringruns/{id}")
    def schedule(id: str, after: str = "") -> HTMLResponse:
        found = platform.schedules.get(id)
        is_its = {"operation": "EQUALS", "key": "recurring_run_id", "string_value": found["id"]}
        shown = _runs(platform, after, [is_its])
        coming = ", ".join(moment(tick) for tick in found["upcoming"]) or "never"
        about = f"{_when(found)}, {'enabled' if found['enabled'] else 'paused'}; next: {coming}"
        more = _more(shown, f"/recurringruns/{found['id']}", {})
        return page("runs.html", title=found["name"], about=about, other=False, **more)

    @router.get("/pipelines")
    def pipelines(after: str = "") -> HTMLResponse:
        asked = parse(uploads.PIPELINES, page_token=after, page_size=PAGE, sort_by=NEWEST)
        rows, token, _ = platform.kfp.pipelines.page(asked)
        table = [
            (f"/pipelines/{row['id']}", row["display_name"] or row["name"], row["name"], row["description"],
             views.moment(row["created_at"]))
            for row in rows
        ]  # fmt: skip
        head = ("pipeline", "name", "description", "created")
        return page("list.html", title="Pipelines", head=head, rows=table, more=_link("/pipelines", token))

    @router.get("/pipelines/{id}")
    def pipeline(id: str, version: str = "", within: str = "") -> HTMLResponse:
        return page("pipeline.html", **_pipeline(platform, id, version, within), sizes=SIZES)

    return router


def _when(schedule: Json) -> str:
    """A schedule's times, as they were written."""
    every = schedule["every_s"]
    return f"every {took(float(every))}" if every else f"{schedule['cron']} ({schedule['zone']})"


def _runs(
    platform: Platform, after: str, wanted: Sequence[Json] = (), experiment: str = ""
) -> tuple[list[Json], str]:
    """A page of runs, and the next one's token. wanted: predicates as KFP's filters have them."""
    filter = json.dumps({"predicates": list(wanted)}) if wanted else ""
    asked = parse(run_lists.FIELDS, page_token=after, page_size=PAGE, sort_by=NEWEST, filter=filter)
    rows, token, _ = platform.kfp.runs.page(asked, experiment)
    return [_listed(row) for row in rows], token


def _listed(row: views.Row) -> Json:
    """What a list shows of a run."""
    times = {key: views.moment(row[key]) for key in ("created_at", "started_at", "finished_at")}
    names = {key: row[key] for key in ("id", "name", "display_name", "state", "error")}
    return {**names, **times, "project": ""}


def _more(shown: tuple[list[Json], str], path: str, query: dict[str, str]) -> Json:
    return {"runs": shown[0], "more": _link(path, shown[1], query)}


def _link(path: str, token: str, query: dict[str, str] | None = None) -> str:
    """Where the next page is; empty on the last one."""
    return f"{path}?{urlencode({**(query or {}), 'after': token})}" if token else ""


def _pipeline(platform: Platform, id: str, version: str, within: str) -> Json:
    """A pipeline with its versions, and the one chosen (the newest, if none is) as a graph."""
    row = platform.kfp.pipelines.get(id)
    asked = parse(uploads.VERSIONS, page_size=200, sort_by=NEWEST)
    versions, _, _ = platform.kfp.pipelines.page_of_versions(id, asked)
    shown: Json = {
        "pipeline": row,
        "versions": versions,
        "chosen": None,
        "graph": None,
        "inputs": {},
        "level": None,
    }
    if not version and not versions:
        return shown
    chosen = platform.kfp.pipelines.version(version or versions[0]["id"])
    if chosen["pipeline"] != id:
        raise NotFoundError(f"PipelineVersion {version} of pipeline {id} not found.")
    spec = documents(json.loads(chosen["spec_text"]))[0]
    found = level(spec, Tree([]), within) or level(spec, Tree([]), "")
    base = f"/pipelines/{id}?version={chosen['id']}"
    nodes = [
        Node(
            place.name, "PENDING", place.needs, place.kind,
            f"{base}&{urlencode({'within': place.path})}" if place.kind == "dag" else "",
            place.kind in ("dag", "loop"),
        )
        for place in (found.places if found else ())
    ]  # fmt: skip
    return shown | {
        "chosen": chosen,
        "graph": draw(nodes),
        "inputs": _shown_inputs(inputs_of(spec)),
        "level": found,
        "base": base,
    }


def _shown_inputs(declared: Json) -> Json:
    """A pipeline's parameters as it declares them; defaults that are secrets by name are masked."""
    return {
        name: {**body, "defaultValue": MASK} if is_secret(name) and body.get("defaultValue") else body
        for name, body in declared.items()
    }
