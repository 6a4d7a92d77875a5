"""What runs made, by the artifacts' own numbers, and what a task of a run printed and put out.

A task of a run (a "node") is named by its id, its path, or its own name where only one task has it.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tuneline.actions.logs import LOG
from tuneline.errors import NotFoundError
from tuneline.plan.listing import Listing
from tuneline.record.record import Record
from tuneline.types import RunId

Row = Mapping[Any, Any]
WAYS = ("inputs", "outputs")
_TASKS = uuid.UUID("6f1d0a0c-6b8b-4f6e-9a63-7d5b1f1f3a52")
"""The namespace of task ids, so that one path of one run has one id for ever."""


def task_id(run: str, path: str) -> str:
    """The id of a task by its run and path."""
    return str(uuid.uuid5(_TASKS, f"{run}/{path}"))


def artifact_ids(task: Row, way: str) -> dict[str, list[str]]:
    """Ids of the artifacts in a task's `inputs` or `outputs`, by key. Records of old may lack them."""
    found: dict[str, list[str]] = {}
    for key, refs in ((task[way] or {}).get("artifacts") or {}).items():
        ids = [
            ref if isinstance(ref, str) else ref.get("id", "") for ref in refs if not isinstance(refs, dict)
        ]
        if any(ids):
            found[key] = [id for id in ids if id]
    return found


class Artifacts:
    """The artifacts and tasks of one home. Thread-safe."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def page(self, listing: Listing, run: str = "") -> tuple[Sequence[Row], str, int]:
        """A page of artifacts, the next page's token, how many fit. run: only of this one ("": all)."""
        if run:
            self._record.run_lists.get(run)
        return self._record.artifacts.page(listing, run)

    def get(self, id: str) -> Row:
        """An artifact by its number. Raises: NotFoundError."""
        return self._record.artifacts.get(id)

    def used(self, tasks: Iterable[Row]) -> Mapping[str, Row]:
        """The artifacts that tasks read or made, by id."""
        return self._record.runs.artifacts(
            id for task in tasks for way in WAYS for ids in artifact_ids(task, way).values() for id in ids
        )

    def tasks(self, run: str) -> Sequence[Row]:
        """The tasks of a run. Raises: NotFoundError."""
        self._record.run_lists.get(run)
        return self._record.runs.tasks(RunId(run))

    def task(self, run: str, node: str) -> Row:
        """One task of a run. Raises: NotFoundError, also if several have this name."""
        rows = self.tasks(run)
        for row in rows:
            if node in (row["name"], task_id(run, row["name"])):
                return row
        named = [row for row in rows if row["name"].rpartition("/")[2] == node]
        if len(named) == 1:
            return named[0]
        names = ", ".join(row["name"] for row in (named or rows)[:20])
        raise NotFoundError(
            f"Run {run} has {'several nodes' if named else 'no node'} {node}.", hint=f"Name one of: {names}."
        )

    def failed_attempts(self, run: str) -> Mapping[str, list[str]]:
        """Task -> ids of its executions that failed."""
        found: dict[str, list[str]] = {}
        for row in self._record.artifacts.failed_executions(run):
            found.setdefault(row["task"], []).append(row["id"])
        return found

    def output(self, run: str, node: str, name: str) -> Row:
        """The artifact that a task put out under this key. Raises: NotFoundError."""
        for id in artifact_ids(self.task(run, node), "outputs").get(name, ()):
            return self.get(id)
        raise NotFoundError(f"Node {node} of run {run} has no artifact {name}.")

    def log(self, run: str, node: str) -> Path:
        """The file with what a task's newest attempt printed. Raises: NotFoundError."""
        task = self.task(run, node)
        path = Path(task["folder"] or "") / LOG
        if not task["folder"] or not path.is_file():
            raise NotFoundError(f"Node {node} of run {run} has no log.", hint=f"It is {task['state']}.")
        return path
