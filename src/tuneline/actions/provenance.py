"""What a release is made of, as one answer: the run, the code of every task on the way, parameters, sources.

It walks from the release's package up (`record.ancestry`), so a task that was taken from the cache is told as
the one that ran, whatever run that was in. What was not recorded (a release of an earlier version, a run that
was deleted) is null.
"""

from collections.abc import Mapping
from typing import Any

from tuneline.actions.forced import with_forced
from tuneline.actions.views import Row, moment
from tuneline.errors import NotFoundError
from tuneline.plan.secrets import split
from tuneline.record.ancestry import Walk
from tuneline.record.record import Record
from tuneline.types import RunId
from tuneline_ir import IRError, documents

DEPTH, NODES = 100, 5000

Json = dict[str, Any]


def provenance(record: Record, release: str) -> Json:
    """`{"release", "state", "created_at", "package", "base", "data", "run", "parameters", "code", "source",
    "forced"}`.

    run: `{"id", "name", "project", "project_digest", "commit", "created_at"}`. parameters: all that the
    pipeline declares, as they were. code: `[{"task", "run", "execution", "digest", "finished_at"}]`, the
    earliest first. source: `[{"artifact", "source", "digest", "size_bytes", "read_at", "about"}]`, what was
    read from outside. Raises: NotFoundError, UserError.
    """
    row = record.releases.get(release)
    walk = record.ancestry.of_release(release, ("up",), DEPTH, NODES)
    run = _run(record, row["run"])
    manifest = row["manifest"] or {}
    found = {
        "release": release,
        "state": row["state"],
        "created_at": moment(row["created_at"]),
        "package": {"uri": row["package_uri"], "digest": row["package_digest"]},
        "base": {"uri": row["base_uri"], "digest": row["base_digest"]} if row["base_digest"] else None,
        "data": {name: manifest.get(name) for name in ("data_digest", "rows_digest")},
        "compared_with": row["compared_with"],
        "run": None if run is None else _run_view(run),
        "parameters": None if run is None else _parameters(record, run),
        "code": _code(walk),
        "source": _sources(walk),
        "complete": not walk.truncated,
    }
    return with_forced(record, [found])[0]


def _run(record: Record, id: str) -> Row | None:
    try:
        return record.runs.get(RunId(id))
    except NotFoundError:
        return None


def _run_view(run: Row) -> Json:
    names = ("id", "name", "project", "project_path", "project_digest")
    return {
        **{name: run[name] for name in names},
        "commit": run["project_commit"] or None,
        "created_at": moment(run["created_at"]),
    }


def _parameters(record: Record, run: Row) -> Json:
    """Secrets masked, by their names."""
    try:
        spec, _ = documents(record.runs.ir(RunId(run["id"])))
    except (NotFoundError, IRError):
        return dict(run["parameters"] or {})
    declared: Mapping[str, Any] = spec.get("root", {}).get("inputDefinitions", {}).get("parameters", {})
    defaults = {name: body["defaultValue"] for name, body in declared.items() if "defaultValue" in body}
    return split({**defaults, **(run["parameters"] or {})})[0]


def _code(walk: Walk) -> list[Json]:
    rows = sorted(walk.executions.values(), key=lambda row: (row["finished_at"] or 0.0, row["id"]))
    return [
        {
            "task": row["task"],
            "run": row["run"],
            "execution": row["id"],
            "digest": row["code"],
            "finished_at": moment(row["finished_at"]),
        }
        for row in rows
    ]


def _sources(walk: Walk) -> list[Json]:
    """Artifacts that say where outside they are from."""
    found = [row for row in walk.artifacts.values() if (row["metadata"] or {}).get("source")]
    return [
        {
            "artifact": row["id"],
            "source": row["metadata"]["source"],
            "digest": row["digest"],
            "size_bytes": row["size_bytes"],
            "read_at": moment(row["created_at"]),
            "about": {key: value for key, value in row["metadata"].items() if key != "source"},
        }
        for row in sorted(found, key=lambda row: (row["created_at"], row["id"]))
    ]
