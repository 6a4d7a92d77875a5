"""Where a release came from: its run, code, parameters, data and verdict, by digest. Read only."""

from typing import Any

from tuneline.actions import views
from tuneline.errors import NotFoundError, UserError
from tuneline.plan.secrets import split
from tuneline.record.ancestry import Walk
from tuneline.record.record import Record
from tuneline.types import RunId

DEPTH, LIMIT = 30, 2000
"""How far its sources are looked for: tasks, and nodes."""


def provenance(record: Record, release: str) -> dict[str, Any]:
    """What is on record of `model@version`; `{"release", "missing"}` with the reason if nothing is.

    `code`: digests of the code that trained it; `data`: of the rows; `sources`: what its run was given from
    outside (files, base, the release that was live), each with its digest.
    """
    try:
        row = record.releases.get(release)
    except (NotFoundError, UserError) as error:
        return {"release": release, "missing": error.message}
    view, manifest = views.release_view(row), row["manifest"] or {}
    run = _run(record, row["run"])
    return {
        "release": release,
        "state": view["state"],
        "created_at": view["created_at"],
        "version_because": view["reason"],
        "package": view["package"],
        "base": view["base"],
        "run": run,
        "parameters": (run or {}).get("parameters") or manifest.get("recipe") or {},
        "code": {
            "project": row["project_digest"] or None,
            "pipeline": (run or {}).get("pipeline"),
            "own": manifest.get("code_digest"),
            "recipe": manifest.get("recipe_digest"),
        },
        "data": {"definition": row["data"], "rows": manifest.get("rows_digest")}
        | {"source": manifest.get("data_digest")},
        "sources": _sources(record.ancestry.of_release(release, ("up",), DEPTH, LIMIT)),
        "verdict": view["verdict"],
    }


def _run(record: Record, id: str) -> dict[str, Any] | None:
    """The run, if it is on record here: a package may have come from elsewhere."""
    try:
        row = record.runs.get(RunId(id)) if id else None
    except NotFoundError:
        row = None
    if row is None:
        return None
    times = {name: views.moment(row[name]) for name in ("created_at", "finished_at")}
    return {
        "id": row["id"],
        "name": row["name"],
        "project": row["project"],
        "state": row["state"],
        **times,
        "pipeline": row["pipeline"],
        "parameters": split(row["parameters"] or {})[0],
    }


def _sources(walk: Walk) -> list[dict[str, Any]]:
    """Artifacts of the walk that were made from none in it."""
    fed = {to for source, to, _ in walk.edges if source.startswith("artifact:")}
    made = {to for source, to, _ in walk.edges if source in fed} | fed  # by a task, or in another run
    names = ("id", "task", "name", "type", "uri", "digest")
    found = [row for id, row in walk.artifacts.items() if f"artifact:{id}" not in made]
    return [{name: row[name] for name in names} for row in sorted(found, key=lambda row: str(row["id"]))]
