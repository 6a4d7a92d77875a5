"""`Looks`: a run as people look at it: an outline, one graph, one task, an artifact. Changes nothing.

Beside `Platform`, whose views have everything: a run with thousands of tasks is looked at twice a second.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from tuneline.actions import levels, views
from tuneline.actions.outline import Light, Tree, outline
from tuneline.errors import NotFoundError
from tuneline.record.record import Record
from tuneline.types import Clock, RunId
from tuneline_ir import documents

Json = dict[str, Any]


class Looks:
    """The looks at one record's runs."""

    def __init__(self, record: Record, local: views.Local, clock: Clock = time.time) -> None:
        """local: finds an artifact's file without asking the network."""
        self._record = record
        self._local = local
        self._clock = clock
        self._spec = lru_cache(maxsize=4)(self._read_spec)  # a page is looked at again and again

    def summary(self, id: str) -> Json:
        """A run without its tasks. Raises NotFoundError."""
        return views.run_summary(self._record.runs.get(RunId(id)))

    def outline(self, id: str) -> Json:
        """A run as `Platform.run` gives it, but with the tasks alone that a person is shown.

        A task has `under` (the shown task above it), `depth`, `closed`, `urgent` and `inside` (counts by
        state) beside the usual; the run has `rest`, counts of the tasks that are not shown.
        Raises NotFoundError.
        """
        run = RunId(id)
        row = self._record.runs.get(run)
        tree = self._tree(run)
        found = outline(tree)
        whole = self._record.tasks.named(run, [item.path for item in found.shown])
        reports = self._record.tasks.named(run, [task for task, _ in views.REPORTS.values()] + ["propose"])
        read = self._record.runs.artifacts(views.artifacts_read(list(whole.values())))
        shown = [
            views.task_view(whole[item.path], read, self._clock())
            | {"under": item.under, "depth": item.depth, "closed": item.closed, "urgent": item.urgent}
            | {"inside": asdict(tree.inside[item.path]) if item.path in tree.inside else None}
            for item in found.shown
            if item.path in whole
        ]
        parts = {name: views.task_view(task, {}, self._clock()) for name, task in reports.items()}
        return views.run_summary(row) | {
            "tasks": shown,
            "rest": dict(found.rest),
            "report": views.report(parts, self._local),
        }

    def level(self, id: str, path: str) -> levels.Level:
        """One graph of a run. Raises NotFoundError."""
        found = levels.level(self.spec(id), self._tree(RunId(id)), path)
        if found is None:
            raise NotFoundError(
                f"Run {id} has no task `{path}`.", hint=f"`tuneline runs show {id} --all` lists them."
            )
        return found

    def task(self, id: str, path: str) -> Json:
        """One task of a run, with its inputs and outputs. Raises NotFoundError."""
        run = RunId(id)
        self._record.runs.get(run)
        row = self._record.tasks.named(run, [path]).get(path)
        if row is None:
            near = get_close_matches(path, [light["name"] for light in self._record.tasks.light(run)], 3)
            hint = (
                f"Nearest: {', '.join(near)}."
                if near
                else f"`tuneline runs show {id} --all` lists its tasks."
            )
            raise NotFoundError(f"Run {id} has no task `{path}`.", hint=hint)
        return views.task_view(row, self._record.runs.artifacts(views.artifacts_read([row])), self._clock())

    def inputs(self, id: str) -> Json:
        """The parameters that the pipeline of a run declares, by name. Raises NotFoundError."""
        return levels.inputs_of(self.spec(id))

    def spec(self, id: str) -> Mapping[str, Any]:
        """The pipeline spec of a run, as the IR has it. Raises NotFoundError."""
        return self._spec(id, self._record.runs.get(RunId(id))["pipeline"])

    def _read_spec(self, id: str, pipeline: str) -> Mapping[str, Any]:
        return documents(self._record.runs.ir(RunId(id)))[0]

    def _tree(self, run: RunId) -> Tree:
        return Tree(_light(self._record.tasks.light(run)))


def _light(rows: Sequence[views.Row]) -> list[Light]:
    return [Light(row["name"], row["parent"] or "", row["kind"] or "task", row["state"]) for row in rows]
