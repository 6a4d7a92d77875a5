"""Schedules as tuneline's own API has them: one a project, by name, and every other recurring run.

A project's schedule keeps the project as it was when it was set: IR, parameters, text. It runs without
overlap (a project has one run at a time), and what was missed while the server was down runs once.
"""

import uuid
from collections.abc import Mapping
from itertools import islice
from typing import Any

from tuneline.actions.kfp.parameters import checked as checked_parameters
from tuneline.actions.pipelines import project_name, readable
from tuneline.actions.recurring import RecurringRuns
from tuneline.actions.views import moment
from tuneline.errors import ConflictError, NotFoundError, SpecError
from tuneline.plan.recurrence import due, ticks
from tuneline.plan.recurring import trigger_of, zone_of
from tuneline.record.record import Record
from tuneline.record.recurring import NewRecurring
from tuneline.spec.notify import targets_in
from tuneline.types import Clock

Json = dict[str, Any]
Row = Mapping[Any, Any]
UPCOMING = 5
"""So many next times are shown."""


class Schedules:
    """The schedules of one home. Thread-safe."""

    def __init__(self, record: Record, recurring: RecurringRuns, clock: Clock) -> None:
        self._record = record
        self._recurring = recurring
        self._clock = clock

    def set(
        self,
        schedule: Mapping[str, Any],
        ir: Mapping[str, Any],
        parameters: Mapping[str, Any],
        project: Mapping[str, Any],
    ) -> Json:
        """Let a project run by itself, or change how; its schedule.

        `change` in it: created, updated or unchanged.
        schedule: `{"cron", "zone"}` or `{"every_s"}`. One that is paused stays so. Raises: SpecError.
        """
        name, now = project_name(ir, project), self._clock()
        readable(ir)
        targets_in(str(project.get("text", "")))  # it is kept, so no secret may stand in it
        checked_parameters(ir, parameters)
        trigger = {**schedule, **({} if "every_s" in schedule else {"crontab": True})}
        first = trigger_of(trigger).first_mark(int(now))
        if next(ticks(trigger_of(trigger), first, first), None) is None:
            raise SpecError(f"The schedule `{schedule.get('cron')}` never comes.")
        before = self._record.recurring.of_project(name)
        new = NewRecurring(
            id=before["id"] if before else str(uuid.uuid4()),
            display_name=name,
            trigger=trigger,
            first_mark=first,
            catch_up=False,
            parameters=parameters,
            spec=ir,
            project=name,
            project_text=str(project.get("text", "")),
            project_path=str(project.get("path", "")),
            project_digest=str(project.get("digest", "")),
            project_commit=str(project.get("commit") or "") or None,
        )
        kept = self._recurring.kept(new)
        if before is None:
            return self._view(self._record.recurring.create(kept, now)) | {"change": "created"}
        row, changed = self._record.recurring.change(kept, now)
        return self._view(row) | {"change": "updated" if changed else "unchanged"}

    def all(self) -> list[Json]:
        """All of them, by name."""
        return [self._view(row) for row in self._record.recurring.all()]

    def get(self, name: str) -> Json:
        """One, by name or id, with its next times. Raises: NotFoundError; ConflictError if several have that
        name."""
        return self._view(self._named(name))

    def pause(self, name: str) -> Json:
        """Start nothing more of it. Raises: as `get`."""
        return self._enable(name, False)

    def resume(self, name: str) -> Json:
        """Let it run again; what passed meanwhile is not run. Raises: as `get`."""
        return self._enable(name, True)

    def remove(self, name: str) -> Json:
        """Forget it, not its runs; what it was. Raises: as `get`."""
        row = self._named(name)
        gone = self._view(row)
        self._recurring.delete(row["id"])
        return gone

    def run_now(self, name: str) -> str:
        """Start a run of it; the run's id. Raises: as `get`; ConflictError, naming the run under way."""
        return self._recurring.run_now(self._named(name)["id"])

    def _enable(self, name: str, enabled: bool) -> Json:
        id = self._named(name)["id"]
        self._recurring.enable(id, enabled)
        return self._view(self._record.recurring.get(id))

    def _named(self, name: str) -> Row:
        """The one of this id; else of this project; else the only one of this display name."""
        rows = self._record.recurring.all()
        for key in ("id", "project", "display_name"):
            found = [row for row in rows if row[key] == name]
            if len(found) > 1:
                ids = ", ".join(row["id"] for row in found)
                raise ConflictError(
                    f"Several schedules are named {name}.", hint=f"Give the id of one: {ids}."
                )
            if found:
                return found[0]
        raise NotFoundError(
            f"There is no schedule {name}.", hint="`tuneline schedules list` shows all of them."
        )

    def _view(self, row: Row) -> Json:
        last = self._record.recurring.last_run(row["id"])
        return {
            "id": row["id"],
            "name": row["display_name"],
            "project": row["project"],
            "enabled": bool(row["enabled"]),
            "max_concurrency": row["max_concurrency"],
            "catch_up": not row["no_catchup"],
            "last_tick": moment(row["last_tick"]),
            "last_run": None if last is None else {"id": last["id"], "state": last["state"]},
            "runs_made": row["made"],
            "error": row["error"],
            "created_at": moment(row["created_at"]),
            "updated_at": moment(row["updated_at"]),
            "project_path": row["project_path"],
            "project_digest": row["project_digest"],
            **self._when(row),
        }

    def _when(self, row: Row) -> Json:
        """What of a schedule is time: as written, and as it comes."""
        body = row["trigger_body"]
        written = {"cron": body.get("cron"), "every_s": body.get("every_s")}
        bounds = {"start": moment(body.get("start")), "end": moment(body.get("end"))}
        try:
            trigger = trigger_of(body)
        except SpecError as error:  # its zone is no more, or it was written by hand
            times: Json = {"zone": "UTC", "next": None, "upcoming": [], "waiting": None}
            return {**written, **bounds, **times, "error": error.to_json()}
        upcoming: list[int] = []
        waiting = None
        if row["enabled"]:
            now = self._clock()
            waiting = due(trigger, row["mark"], now, row["origin"], catch_up=not row["no_catchup"])
            after = max(row["mark"], int(now))
            upcoming = list(islice(ticks(trigger, after, row["origin"]), UPCOMING))
        times = {
            "zone": zone_of(trigger),
            "next": moment(upcoming[0]) if upcoming else None,
            "upcoming": [moment(tick) for tick in upcoming],
            "waiting": moment(waiting),
        }
        return {**written, **bounds, **times}
