"""The report of a pipeline that is no project's line: its tasks, why some were skipped, its outputs. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tuneline.cli.progress import doing, duration, label, rest_of, title
from tuneline.cli.report import made_of_tasks, total_seconds

View = Mapping[str, Any]
"""An object of the API."""

MOST = 200
"""Longest value of an output that is shown whole, in characters."""


def is_line(run: View) -> bool:
    """Whether a run is that of a project, which has a report of its own."""
    return bool(run["project"])


def lines(run: View) -> list[str]:
    """The report of an ended run, by line. run: with an outline of its tasks."""
    took = duration(total_seconds(run))
    said = f" in {took}" if took else ""
    found = [f"{title(run)}: run {run['id']} {run['state'].lower()}{said}", ""]
    found += table(run)
    found += _outputs(run.get("outputs"))
    return found + [f"  note: {text}" for text in run.get("warnings") or ()]


def table(run: View) -> list[str]:
    """One line a task that is shown: name, state, time, what there is to say."""
    rows = [
        (
            label(task),
            task["state"].lower(),
            duration(task["seconds"]) if task["state"] != "CACHED" else "",
            _said(task),
        )
        for task in run["tasks"]
    ]
    widths = [max((len(row[place]) for row in rows), default=0) for place in range(3)]
    found = [
        f"  {name:{widths[0]}}  {state:{widths[1]}}  {took:>{widths[2]}}  {said}".rstrip()
        for name, state, took, said in rows
    ]
    rest = rest_of(run)
    return [*found, f"  {rest}"] if rest else found


def failures(tasks: Sequence[View]) -> list[View]:
    """The failed tasks that something executed: a nested pipeline only has the error of what failed in it."""
    return [task for task in tasks if task["state"] == "FAILED" and not made_of_tasks(task)]


def json_object(run: View) -> dict[str, Any]:
    """What `tuneline run --json` prints of a pipeline. run: with all its tasks."""
    keys = ("name", "parent", "kind", "state", "seconds", "cached", "attempts", "reason", "error")
    return {
        "run": run["id"],
        "name": title(run),
        "state": run["state"],
        "seconds": total_seconds(run),
        "exit_code": 0 if run["state"] == "SUCCEEDED" else 1,
        "parameters": run["parameters"],
        "outputs": run.get("outputs") or {"parameters": {}, "artifacts": {}},
        "error": run["error"],
        "warnings": run.get("warnings") or [],
        "tasks": [{key: task.get(key) for key in keys} for task in run["tasks"]],
    }


def _outputs(outputs: View | None) -> list[str]:
    found = []
    for key, value in ((outputs or {}).get("parameters") or {}).items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        found.append(f"  {key} = {text if len(text) <= MOST else text[:MOST] + ' ...'}")
    for key, refs in ((outputs or {}).get("artifacts") or {}).items():
        for place, ref in enumerate(refs):
            name = key if len(refs) == 1 else f"{key}[{place}]"
            found.append(f"  {name}: {ref['type']} {ref['uri']}")
    return ["", "It put out:", *found] if found else []


def _said(task: View) -> str:
    if task["state"] == "FAILED" and not made_of_tasks(task):
        return str((task["error"] or {}).get("message", ""))
    return " ".join(doing(task).split()) or str(task.get("reason") or "")
