"""`tuneline schedule` and `tuneline schedules ...`: projects that run by themselves.

The server does the starting; these commands only say what it shall do.
"""

from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from tuneline.cli.connect import server
from tuneline.cli.loading import compiled, load_project, overrides_option, project_argument
from tuneline.cli.output import json_option, print_json, print_table, say, short_time
from tuneline.errors import SpecError

View = dict[str, Any]
name_argument = click.argument("name")


@click.command()
@project_argument
@overrides_option
@json_option
def schedule(project: Path, params: tuple[str, ...], as_json: bool) -> None:
    """Let PROJECT run by itself, as its `schedule:` says; or change the schedule that it has.

    The project is kept as it is now: a later change of the file counts when this is called again.
    """
    loaded = load_project(project, params)
    wanted = loaded.project.schedule
    if not wanted.cron and not wanted.every_s:
        raise SpecError(
            f"The project {loaded.project.name} has no `schedule:`.",
            hint='Add one, e.g. `schedule: {cron: "0 6 * * *", timezone: Europe/Berlin}`; '
            f"`tuneline schedules remove {loaded.project.name}` ends one that it had.",
        )
    when = (
        {"every_s": int(wanted.every_s)} if wanted.every_s else {"cron": wanted.cron, "zone": wanted.timezone}
    )
    with server(start=True) as client:
        found = client.set_schedule(when, *compiled(loaded))
    if as_json:
        print_json(found)
        return
    click.echo(found["name"])
    said = {
        "created": "runs by itself now",
        "updated": "has another schedule now",
        "unchanged": "has it already",
    }
    say(f"{found['name']} {said[found['change']]}: {_when(found)}. {_next(found)}")
    if not found["enabled"]:
        say(f"It is paused; `tuneline schedules resume {found['name']}` lets it run.")


@click.group()
def schedules() -> None:
    """List, show, pause, resume, remove schedules, and run one now."""


@schedules.command(name="list")
@json_option
def list_(as_json: bool) -> None:
    """What runs by itself: projects, and recurring runs of Kubeflow Pipelines' API."""
    with server() as client:
        found = client.schedules()
    if as_json:
        print_json(found)
        return
    rows = [
        [row["name"], _when(row), _state(row), _local(row["next"], row), _last(row), row["id"]]
        for row in found
    ]
    print_table(["name", "when", "state", "next", "last run", "id"], rows, "Nothing is scheduled.")


@schedules.command()
@name_argument
@json_option
def show(name: str, as_json: bool) -> None:
    """One schedule, by NAME or id."""
    with server() as client:
        found = client.schedule(name)
    if as_json:
        print_json(found)
        return
    error = found["error"] or {}
    rows: list[tuple[str, object]] = [
        ("name", found["name"]),
        ("id", found["id"]),
        ("when", _when(found)),
        ("state", _state(found)),
        ("waiting", f"{_local(found['waiting'], found)}, for a run to end" if found["waiting"] else None),
        ("next", ", ".join(_local(moment, found) for moment in found["upcoming"]) or None),
        ("last tick", _local(found["last_tick"], found)),
        ("last run", _last(found)),
        ("runs", found["runs_made"]),
        ("at most", f"{found['max_concurrency']} at once"),
        ("missed", "all are caught up with" if found["catch_up"] else "the latest runs, once"),
        ("project", found["project_path"] or None),
        ("set", short_time(found["updated_at"])),
        ("problem", f"{error.get('message', '')} {error.get('hint', '')}".strip() or None),
    ]
    for key, value in rows:
        click.echo(f"{key:10} {value if value not in (None, '') else '-'}")


@schedules.command()
@name_argument
@json_option
def pause(name: str, as_json: bool) -> None:
    """Start nothing more of NAME until it is resumed. A run under way goes on."""
    with server(start=True) as client:
        found = client.pause_schedule(name)
    _said(found, as_json, f"{found['name']} is paused.")


@schedules.command()
@name_argument
@json_option
def resume(name: str, as_json: bool) -> None:
    """Let NAME run by itself again. What passed while it was paused is not run."""
    with server(start=True) as client:
        found = client.resume_schedule(name)
    _said(found, as_json, f"{found['name']} runs by itself again. {_next(found)}")


@schedules.command()
@name_argument
@json_option
def remove(name: str, as_json: bool) -> None:
    """End the schedule NAME. Its runs stay on record; one under way goes on."""
    with server(start=True) as client:
        found = client.remove_schedule(name)
    _said(found, as_json, f"{found['name']} runs by itself no more.")


@schedules.command(name="run-now")
@name_argument
@json_option
def run_now(name: str, as_json: bool) -> None:
    """Start a run of NAME now, as it would be at its time; print its id."""
    with server(start=True) as client:
        run = client.run_schedule(name)
    if as_json:
        print_json(run)
    else:
        click.echo(run["id"])
    say(f"Follow it with `tuneline runs show -f {run['id']}`.")


def _said(found: View, as_json: bool, text: str) -> None:
    if as_json:
        print_json(found)
    else:
        click.echo(found["name"])
    say(text)


def _when(row: View) -> str:
    if row["every_s"]:
        return f"every {_duration(row['every_s'])}"
    return f"{row['cron']} ({row['zone']})"


def _duration(seconds: int) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _state(row: View) -> str:
    if not row["enabled"]:
        return "paused"
    if row["error"]:
        return "failing"
    return "waiting" if row["waiting"] else "on" if row["next"] else "over"


def _next(row: View) -> str:
    return f"Next: {_local(row['next'], row)}." if row["next"] else "There is no next time."


def _last(row: View) -> str:
    last = row["last_run"]
    return f"{last['id']} {last['state'].lower()}" if last else ""


def _local(moment: str | None, row: View) -> str:
    """An RFC 3339 time of the API in the schedule's own zone: `2026-03-29 06:00:00 +0200`."""
    if not moment:
        return ""
    return f"{datetime.fromisoformat(moment).astimezone(ZoneInfo(row['zone'])):%Y-%m-%d %H:%M:%S %z}"
