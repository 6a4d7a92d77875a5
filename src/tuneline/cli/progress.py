"""How far a run's tasks are, in words: what the live picture and the plain lines have in common. Pure.

A look at the API's run gives one point of progress a task; `tracked` keeps those of the looks so far, and
from them comes the time left: model loading and a resumed training must not count as speed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

Run = Mapping[str, Any]
"""The API's run."""
Task = Mapping[str, Any]
"""A task of the API's run."""

POINTS = 40
"""How many points of a task are kept: about the last half minute of looks."""
WORDS = {
    "PENDING": "waiting", "RUNNING": "running", "SUCCEEDED": "done", "CACHED": "cached",
    "SKIPPED": "skipped", "FAILED": "FAILED", "CANCELED": "canceled",
}  # fmt: skip
BARS = "▁▂▃▄▅▆▇█"
GOOD = ("SUCCEEDED", "CACHED", "SKIPPED")


@dataclass(frozen=True)
class Track:
    """What was seen of one attempt of a task: times in Unix seconds, amounts in the task's unit."""

    attempt: int
    points: tuple[tuple[float, float], ...] = ()
    losses: tuple[float, ...] = ()


Tracks = Mapping[str, Track]


def tracked(tracks: Tracks, run: Run, now: float) -> Tracks:
    """The tracks after one more look at a run, at `now` (Unix seconds). Ended tasks keep theirs."""
    found = {}
    for task in run["tasks"]:
        track = tracks.get(task["name"])
        if task["state"] == "RUNNING":
            found[task["name"]] = _longer(track, task, now)
        elif track is not None and track.attempt == task["attempts"]:
            found[task["name"]] = track
    return found


def _longer(track: Track | None, task: Task, now: float) -> Track:
    if track is None or track.attempt != task["attempts"]:
        track = Track(int(task["attempts"]))
    point = _point(task)
    if point is None or (track.points and track.points[-1][1] == point["done"]):
        return track
    longer = replace(track, points=(*track.points, (now, float(point["done"])))[-POINTS:])
    if isinstance(point.get("loss"), int | float):
        longer = replace(longer, losses=(*track.losses, float(point["loss"])))
    return longer


def changes(before: Run | None, run: Run) -> list[str]:
    """Plain lines for what changed between two looks at a run: one for each start and end of a task.

    Of tasks in loops, and of others that there is no room for, only failures: there may be thousands.
    """
    old = {task["name"]: _step(task) for task in before["tasks"]} if before else {}
    found = []
    for task in run["tasks"]:
        was, now = old.get(task["name"], ("PENDING", 0)), _step(task)
        if was != now and not (task.get("urgent") and task["state"] != "FAILED"):
            found.append(_change(task))
    return found


def _step(task: Mapping[str, Any]) -> tuple[str, int]:
    return task["state"], int(task["attempts"])


def _change(task: Mapping[str, Any]) -> str:
    name, state = task["name"], task["state"]
    if state == "RUNNING":
        again = f" (attempt {task['attempts']})" if int(task["attempts"]) > 1 else ""
        return f"{name}: started{again}"
    took = f" in {duration(task['seconds'])}" if task["seconds"] is not None and state != "CACHED" else ""
    said = doing(task)
    return f"{name}: {WORDS.get(state, state)}{took}" + (f": {said}" if said else "")


def time_left(track: Track | None, task: Task) -> float | None:
    """Seconds until a running task is done, going on as in its last points; None while that is unknown."""
    point = _point(task)
    if track is None or point is None or not point.get("total") or len(track.points) < 2:
        return None
    (begin, before), (end, done) = track.points[0], track.points[-1]
    if end <= begin or done <= before:
        return None
    return max(0.0, (float(point["total"]) - done) * (end - begin) / (done - before))


def doing(task: Task, track: Track | None = None) -> str:
    """How far a running task is, or why another one is not, in one line; empty: nothing to say."""
    if inside := inside_of(task):
        return inside
    if task["state"] == "FAILED":
        return str((task["error"] or {}).get("message", ""))
    if task["state"] == "PENDING" and task.get("retry_at"):
        why = (task["error"] or {}).get("message", "")
        return f"attempt {task['attempts'] + 1} at {clock_time(task['retry_at'])}; the last one: {why}"
    if task["state"] in ("SKIPPED", "CACHED"):
        return str(task.get("reason") or "")
    point = _point(task)
    if task["state"] not in ("RUNNING", "SUCCEEDED") or point is None:
        return ""
    parts = [amount(point)]
    if "loss" in point:
        parts.append(f"loss {point['loss']:.3f}")
    if "tokens_per_s" in point:
        parts.append(f"{point['tokens_per_s']:.0f} tokens/s")
    left = time_left(track, task) if task["state"] == "RUNNING" else None
    if left is not None:
        parts.append(f"{duration(left)} left")
    return "  ".join(parts)


def inside_of(task: Task) -> str:
    """What a nested pipeline that is shown closed, or a loop, holds: `34 of 100 iterations, 2 running`."""
    inside = task.get("inside") or {}
    counts, unit = inside.get("iterations"), "iterations"
    if not counts and task.get("closed"):
        counts, unit = inside.get("tasks"), "tasks"
    if not counts:
        return ""
    done = sum(counts.get(state, 0) for state in GOOD)
    said = f"{done:,} of {sum(counts.values()):,} {unit}"
    more = [
        f"{counts[state]:,} {WORDS[state]}"
        for state in ("RUNNING", "FAILED", "CANCELED")
        if counts.get(state)
    ]
    return ", ".join([said, *more])


def title(run: Run) -> str:
    """What a run is called: its project's name, or its own."""
    return str(run["project"] or run.get("display_name") or run["name"])


def label(task: Task) -> str:
    """A task's name where it is shown: moved in below the one it stands in, without that one's path."""
    under = str(task.get("under") or "")
    name = str(task["name"]).removeprefix(f"{under}/" if under else "")
    return "  " * int(task.get("depth") or 0) + name


def rest_of(run: Run) -> str:
    """Which tasks beside the ones shown there are; empty if none."""
    rest = run.get("rest") or {}
    said = ", ".join(f"{count:,} {WORDS.get(state, state)}" for state, count in rest.items())
    return f"and {sum(rest.values()):,} more tasks: {said}" if rest else ""


def amount(point: Mapping[str, Any]) -> str:
    """`12 of 48 steps`, `1.2 of 3.4 MB`, `1,200 rows`."""
    done, total, unit = point["done"], point.get("total"), str(point.get("unit", ""))
    if unit == "bytes":
        scale, unit = (1e6, "MB") if max(done, total or 0) >= 1e6 else (1e3, "kB")
        shown, all_ = f"{done / scale:.1f}", f"{(total or 0) / scale:.1f}"
    else:
        shown, all_ = f"{done:,}", f"{total or 0:,}"
    return f"{shown} of {all_} {unit}" if total else f"{shown} {unit}"


def share_done(task: Task) -> float | None:
    """From 0 to 1; None if the task does not run or does not say how much there is."""
    point = _point(task)
    if task["state"] != "RUNNING" or point is None or not point.get("total"):
        return None
    return min(1.0, float(point["done"]) / float(point["total"]))


def sparkline(values: tuple[float, ...], width: int) -> str:
    """The values as bars of eight heights between their lowest and highest, thinned to `width` characters."""
    if len(values) < 2:
        return ""
    step = max(1.0, len(values) / width)
    chosen = [values[int(place * step)] for place in range(min(width, len(values)))]
    low, high = min(chosen), max(chosen)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((value - low) * scale)] for value in chosen)


def duration(seconds: float | None) -> str:
    """`0.4 s`, `42 s`, `3:07`, `1:02:07`; empty for None."""
    if seconds is None:
        return ""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def clock_time(moment: str) -> str:
    """The local time of day of an RFC 3339 time."""
    return f"{datetime.fromisoformat(moment).astimezone():%H:%M:%S}"


def seconds_between(begin: str | None, end: str | None, now: float) -> float | None:
    """Seconds between two RFC 3339 times; without an end up to `now` (Unix seconds); None without a begin."""
    if begin is None:
        return None
    last = datetime.fromisoformat(end).timestamp() if end else now
    return max(0.0, last - datetime.fromisoformat(begin).timestamp())


def _point(task: Task) -> Mapping[str, Any] | None:
    point = task.get("progress")
    if not isinstance(point, Mapping) or not isinstance(point.get("done"), int | float):
        return None
    return point
