"""Rows of the record as the API's JSON. Pure but for `report`, which reads the small JSON files that tasks
put out."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuneline.errors import UserError
from tuneline.plan.approval import Approval
from tuneline.plan.endpoints import Live
from tuneline.plan.events import Stored, to_json
from tuneline.plan.secrets import split
from tuneline.record.ledger import Entry

Row = Mapping[Any, Any]
"""A row of the record: SQLAlchemy's RowMapping, or a dict."""

Local = Callable[[Mapping[str, Any]], Path | None]
"""Where this machine has an artifact of the API; None if it has not."""

REPORTS: Mapping[str, tuple[str, str]] = {
    "metrics": ("evaluate", "report"),
    "verdict": ("gate", "verdict"),
    "proof": ("verify", "proof"),
    "data": ("prepare", "report"),
}
"""Part of a run's report -> the task and output it is read from."""

_NOTHING: Mapping[str, Any] = {"parameters": {}, "artifacts": {}}

MAX_REPORT_BYTES = 16 * 1024 * 1024
"""A larger file is no report, and is left out."""


def moment(at: float | None) -> str | None:
    """Unix seconds as RFC 3339 in UTC, to the millisecond."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_moment(text: str) -> float:
    """Unix seconds of an RFC 3339 time (`2026-11-21T12:00Z`; without a zone it is UTC). Raises UserError."""
    try:
        found = datetime.fromisoformat(text.strip().replace(" ", "T"))
    except ValueError as error:
        raise UserError(f"`{text}` is no time.", hint="Write it as 2026-11-21T12:00Z.") from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def run_summary(row: Row) -> dict[str, Any]:
    """A run without its tasks, as lists show it."""
    return {
        "id": row["id"],
        "name": row["name"],
        "display_name": row["display_name"],
        "experiment": row["experiment"],
        "archived": row["storage_state"] == "ARCHIVED",
        "project": row["project"],
        "project_digest": row["project_digest"],
        "state": row["state"],
        "created_at": moment(row["created_at"]),
        "started_at": moment(row["started_at"]),
        "finished_at": moment(row["finished_at"]),
        "parameters": row["parameters"] or {},
        "error": row["error"],
        "seq": row["last_seq"],
        "outputs": _outputs_of(row),
        "warnings": row["warnings"] or [],
        "runner": row["runner"],
    }


def artifacts_read(tasks: Sequence[Row]) -> Iterator[str]:
    """Ids of the artifacts that tasks were given."""
    for task in tasks:
        for ids in (task["inputs"] or _NOTHING)["artifacts"].values():
            yield from ids


def run_view(
    row: Row, tasks: Sequence[Row], artifacts: Mapping[str, Row], now: float, local: Local
) -> dict[str, Any]:
    """A run with its tasks and its report.

    artifacts: those of `artifacts_read`, by id. local: see `report`.
    """
    shown = [task_view(task, artifacts, now) for task in tasks]
    found = report({task["name"]: task for task in shown}, local)
    return run_summary(row) | {"tasks": shown, "report": found}


def task_view(row: Row, artifacts: Mapping[str, Row], now: float) -> dict[str, Any]:
    """One task; `name` is its path, `seconds` is up to now while it runs."""
    begin, end = row["started_at"], row["finished_at"]
    return {
        "name": row["name"],
        "state": row["state"],
        "attempts": row["attempts"],
        "started_at": moment(begin),
        "finished_at": moment(end),
        "seconds": None if begin is None else round(max(0.0, (end or now) - begin), 3),
        "cached": bool(row["cached"]),
        "error": row["error"],
        "reason": row["reason"],
        "retry_at": moment(row["retry_at"]),
        "parent": row["parent"],
        "kind": row["kind"] or "task",
        "iteration": row["iteration"],
        "display_name": row["display_name"] or row["name"],
        "inputs": _inputs(row, artifacts),
        "outputs": _outputs_of(row),
        "notes": row["notes"] or [],
        "progress": row["progress"],
    }


def artifact_view(row: Row) -> dict[str, Any]:
    """An artifact as outputs have it."""
    names = ("id", "name", "type", "uri", "digest", "size_bytes", "metadata")
    return {name: row[name] for name in names} | {"custom_path": row["custom_path"] or ""}


def _inputs(row: Row, artifacts: Mapping[str, Row]) -> dict[str, Any]:
    given = row["inputs"] or _NOTHING
    return {
        "parameters": given["parameters"],
        "artifacts": {
            key: [artifact_view(artifacts[id]) for id in ids if id in artifacts]
            for key, ids in given["artifacts"].items()
        },
    }


def _outputs_of(row: Row) -> dict[str, Any]:
    made = row["outputs"] or _NOTHING
    listed = {key: refs if isinstance(refs, list) else [refs] for key, refs in made["artifacts"].items()}
    return {"parameters": split(made["parameters"])[0], "artifacts": listed}


def report(tasks: Mapping[str, Mapping[str, Any]], local: Local) -> dict[str, Any]:
    """What a finished line found, by part; null where its task has not finished or its file is not here.

    local: finds an artifact's file without asking the network.
    """
    found: dict[str, Any] = {}
    for part, (task, output) in REPORTS.items():
        listed = _outputs(tasks, task)["artifacts"].get(output)
        path = local(listed[0]) if listed else None
        found[part] = _read(path) if path else None
    proposed = _outputs(tasks, "propose")["parameters"]
    found["release"] = dict(proposed) if proposed.get("release") else None
    return found


def event_view(stored: Stored) -> dict[str, Any]:
    """An event; `at` in Unix seconds."""
    body = to_json(stored.event)
    if "outputs" in body:
        body["outputs"]["parameters"] = split(body["outputs"]["parameters"])[0]
    return {"seq": stored.seq, "at": stored.at, **body}


def release_view(row: Row) -> dict[str, Any]:
    """A release."""
    names = ("model", "version", "state", "reason", "manifest", "verdict", "proof", "report", "deploy", "run")
    return {
        "release": f"{row['model']}@{row['version']}",
        **{name: row[name] for name in names},
        "project_digest": row["project_digest"],
        "package": {"uri": row["package_uri"], "digest": row["package_digest"]},
        "base": {"uri": row["base_uri"], "digest": row["base_digest"]},
        "created_at": moment(row["created_at"]),
        "compared_with": row["compared_with"],
        "approval": _approval(row),
        "ledger_head": row["ledger_head"],
    }


def _approval(row: Row) -> dict[str, Any] | None:
    """What people said of a release; null if nobody was asked."""
    if row["approval"] is None:
        return None
    found = Approval.from_json(row["approval"])
    return {
        "decision": found.decision or None,
        "by": found.by or None,
        "at": moment(found.at),
        "comment": found.comment,
        "run": found.run,
        "gated_again_by": found.again_run or None,
        "waits_for_gate": found.again,
        "note": found.note,
        "ledger_head": found.ledger or None,
    }


def endpoint_view(row: Row, live: Live | None) -> dict[str, Any]:
    """An endpoint: what is wanted, what is live, and what the controller last saw there."""
    seen = row["observed"] or {}
    # what was said of an earlier wish, a failure above all, is not said of this one
    told = seen.get("desired_generation", row["generation"]) == row["generation"]
    return {
        "name": row["name"],
        "url": seen.get("url"),
        "port": seen.get("port"),
        "desired": row["desired"],
        "live": live.release if live else None,
        "live_digest": live.digest if live else None,
        "runtime": (row["deploy"] or {}).get("runtime"),
        "phase": seen.get("phase", "pending") if told else "pending",
        "message": seen.get("message", "") if told else "",
        "revisions": seen.get("revisions", []),
    }


def interval_view(row: Row) -> dict[str, Any]:
    """One interval in which a release was live; `to` is null while it is."""
    return {
        "endpoint": row["endpoint"],
        "release": f"{row['model']}@{row['version']}",
        "digest": row["digest"],
        "from": moment(row["from_at"]),
        "to": moment(row["to_at"]),
        "why": row["why"],
        "by": row["by"],
        "ended_because": row["end_why"] or None,
    }


def entry_view(entry: Entry) -> dict[str, Any]:
    """An entry of the ledger; `time` is the exact number that its hash covers."""
    return {
        "seq": entry.seq,
        "at": moment(entry.at),
        "time": entry.at,
        "kind": entry.kind,
        "body": json.loads(entry.body),
        "prev": entry.prev,
        "hash": entry.hash,
    }


def _outputs(tasks: Mapping[str, Mapping[str, Any]], task: str) -> Mapping[str, Any]:
    found = tasks.get(task, {})
    return (found.get("outputs") or _NOTHING) if found.get("state") in ("SUCCEEDED", "CACHED") else _NOTHING


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_REPORT_BYTES:
            return None
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
