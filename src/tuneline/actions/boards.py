"""A run's TensorBoard: finds the folders of a run that hold TensorBoard's logs, asks for a board over them.

They are: output artifacts with event files, those of running tasks included, and what an artifact
`mlpipeline-ui-metadata` names as `tensorboard`. Limits: folders on this machine; of an artifact with very
many files only the first are looked at.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from tuneline.errors import MissingPartError, NotFoundError
from tuneline.record.record import Record
from tuneline.types import RunId

UI_METADATA = ("mlpipeline-ui-metadata", "mlpipeline_ui_metadata")
MAX_FILES = 2000
"""Looked at for event files, in one artifact."""
MAX_BYTES = 1 << 20
"""Of a `mlpipeline-ui-metadata`."""


class Opener(Protocol):
    """What starts and finds TensorBoards; `control.boards.Boards` is one."""

    def open(self, run: str, logs: Mapping[str, Path]) -> str:
        """Where the one of a run answers. Raises: MissingPartError, ResourceError."""
        ...


class RunBoards:
    """The TensorBoards of one home's runs."""

    def __init__(self, record: Record, opener: Opener | None) -> None:
        self._record, self._opener = record, opener

    def open(self, run: str) -> dict[str, Any]:
        """`{"url", "logs", "skipped"}`: where it answers, the folders it shows, and those it cannot.

        Raises: NotFoundError if there is no such run, or it has no logs.
        """
        self._record.runs.get(RunId(run))
        found, skipped = logs_of(self._record.runs.tasks(RunId(run)))
        if not found:
            remote = f" Not on this machine: {', '.join(skipped)}." if skipped else ""
            raise NotFoundError(
                f"Run {run} has no TensorBoard logs.{remote}",
                hint="`tune` writes some; a task of yours does with an output folder of event files.",
            )
        if self._opener is None:
            raise MissingPartError("This server starts no TensorBoard.", hint="Use `tuneline up`.")
        shown = {name: str(folder) for name, folder in found.items()}
        return {"url": self._opener.open(run, found), "logs": shown, "skipped": skipped}


def logs_of(tasks: Sequence[Mapping[Any, Any]]) -> tuple[dict[str, Path], list[str]]:
    """Folders with event files by the name to show them under, and sources that are not here."""
    found: dict[str, Path] = {}
    skipped: list[str] = []
    for task in tasks:
        if task["kind"] != "task":  # a graph puts out what its tasks do
            continue
        for name, path in _outputs(task):
            shown = f"{task['name']}.{name}".replace("/", ".")
            if name in UI_METADATA:
                for series, source in _named(path):
                    if Path(source).is_dir():
                        found[f"{shown}.{series}" if series else shown] = Path(source)
                    else:
                        skipped.append(source)
            elif _has_events(path):
                found[shown] = path
    return found, skipped


def _outputs(task: Mapping[Any, Any]) -> Iterator[tuple[str, Path]]:
    """Output artifacts by key; of a task that has not ended, what it is writing."""
    artifacts = (task["outputs"] or {}).get("artifacts", {})
    for key, listed in artifacts.items():
        for number, artifact in enumerate(listed if isinstance(listed, list) else [listed]):
            path = Path(artifact.get("custom_path") or artifact["uri"])
            if path.is_absolute():  # else it has no content, or has it elsewhere
                yield (f"{key}.{number}" if number else key), path
    if not artifacts and task["folder"]:
        for path in sorted((Path(task["folder"]) / "outputs").glob("*")):
            yield path.name, path


def _named(path: Path) -> Iterator[tuple[str, str]]:
    """(series, source) of each tensorboard in a `mlpipeline-ui-metadata`. A source may be `a:/x,b:/y`."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    outputs = body.get("outputs") if isinstance(body, dict) else None
    for entry in outputs if isinstance(outputs, list) else []:
        if not isinstance(entry, dict) or entry.get("type") != "tensorboard":
            continue
        for part in str(entry.get("source", "")).split(","):
            series, colon, source = part.strip().partition(":")
            named = bool(colon) and not source.startswith("//")
            yield (series, source) if named else ("", part.strip())


def _has_events(path: Path) -> bool:
    files = (name for _, _, names in os.walk(path) for name in names)
    return any("tfevents" in name for name in islice(files, MAX_FILES))
