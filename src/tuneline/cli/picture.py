"""The live picture of a run. Pure: from the API's run and its events to what stands on the screen."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

MARKS = {
    "PENDING": ("·", "dim"), "RUNNING": ("▶", "cyan"), "SUCCEEDED": ("✓", "green"), "CACHED": ("✓", "green"),
    "SKIPPED": ("-", "dim"), "FAILED": ("✗", "red"), "CANCELED": ("■", "yellow"),
}  # fmt: skip
"""The state also stands there as a word: nothing depends on the mark or its colour."""

BAR = 24
"""Width of a progress bar, in characters."""


def picture(run: Mapping[str, Any]) -> RenderableType:
    """One line a task: mark, name, state, seconds, and how far the running ones are."""
    table = Table(box=None, show_header=False, padding=(0, 1))
    for task in run["tasks"]:
        mark, style = MARKS.get(task["state"], ("?", ""))
        seconds = "" if task["seconds"] is None else f"{task['seconds']:7.1f} s"
        shown = Text(f"{mark} {task['name']}", style=style)
        table.add_row(
            shown, task["state"].lower(), seconds, Text(doing(task), no_wrap=True, overflow="ellipsis")
        )
    head = Text(f"{run['project']}  run {run['id']}  {run['state'].lower()}", style="bold")
    return Group(head, table)


def doing(task: Mapping[str, Any]) -> str:
    """How far a task is, or why it is not: for the picture and for plain lines."""
    if task["state"] == "FAILED":
        return str((task["error"] or {}).get("message", ""))
    if task["state"] == "PENDING" and task.get("retry_at"):
        return f"tries again at {task['retry_at']}: {(task['error'] or {}).get('message', '')}"
    point = task.get("progress")
    if not point or point.get("type") != "progress" or task["state"] != "RUNNING":
        return ""
    done, total = point.get("done") or 0, point.get("total")
    parts = [f"{done:,}/{total:,} {point.get('unit', '')}" if total else f"{done:,} {point.get('unit', '')}"]
    if total:
        filled = min(BAR, int(BAR * done / total))
        parts.insert(0, "━" * filled + "╌" * (BAR - filled))
    if "loss" in point:
        parts.append(f"loss {point['loss']:.3f}")
    if "tokens_per_s" in point:
        parts.append(f"{point['tokens_per_s']:.0f} tokens/s")
    left = time_left(task)
    if left is not None:
        parts.append(f"{left:.0f} s left")
    return "  ".join(parts)


def time_left(task: Mapping[str, Any]) -> float | None:
    """Seconds until a running task ends, if it goes on as it went so far; None before a tenth is done."""
    point = task.get("progress") or {}
    done, total, seconds = point.get("done") or 0, point.get("total"), task["seconds"]
    if not total or not seconds or done * 10 < total:
        return None
    return float(seconds) * float(total - done) / float(done)


def changes(before: Mapping[str, Any] | None, run: Mapping[str, Any]) -> list[str]:
    """Plain lines for what changed between two looks at a run: one a task's start and end."""
    old = {task["name"]: task["state"] for task in before["tasks"]} if before else {}
    found = []
    for task in run["tasks"]:
        state = task["state"]
        if old.get(task["name"], "PENDING") == state:
            continue
        seconds = f" in {task['seconds']:.1f} s" if task["seconds"] is not None and state != "RUNNING" else ""
        said = f": {task['error']['message']}" if state == "FAILED" and task["error"] else ""
        found.append(f"{task['name']}: {state.lower()}{seconds if state != 'CACHED' else ''}{said}")
    return found
