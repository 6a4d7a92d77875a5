"""A task's files on this machine: the folder of an attempt, the executor's input and output, its end, its
progress.

`runs/<run>/<task>/<attempt>/` holds task.json (for the shim), log.txt, exit.json, executor_output.json,
error.json, events.jsonl, parameters/<name> and outputs/<name>; `runs/<run>/<task>/state/` outlives attempts.
Outputs count only when the task's success is on record, with their digests.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneline.errors import InternalError
from tuneline.execute.digests import digest_path, files_below, size_of
from tuneline.plan.events import ArtifactRef, Artifacts, Outputs
from tuneline.types import digest_json
from tuneline_ir import ArtifactSpec, Component
from tuneline_ir.wire import OUTPUT_FILE, artifact, executor_input, parameter, said

__all__ = ["MISSING", "AttemptFolder", "Ending", "Tail", "digest_path", "files_below", "size_of"]

MISSING = digest_json(None)
"""The digest of an artifact that has no file: some carry metadata alone."""
_LOG_TAIL = 2000
"""Bytes of a log that an error quotes at most."""


@dataclass(frozen=True)
class Ending:
    """What the shim wrote about a task's end."""

    exit_code: int
    """Negative: the signal that killed it."""
    stopped: bool
    timed_out: bool
    out_of_memory: bool


@dataclass(frozen=True)
class AttemptFolder:
    """The files of one attempt."""

    path: Path

    @property
    def log(self) -> Path:
        """What the task printed."""
        return self.path / "log.txt"

    @property
    def state(self) -> Path:
        """The folder that outlives attempts."""
        return self.path.parent / "state"

    @property
    def progress(self) -> Path:
        """What the task said about itself, a JSON object a line."""
        return self.path / "events.jsonl"

    def make(self, task: Mapping[str, Any], files: Mapping[str, str] | None = None) -> None:
        """Make the folder, its state folder, `task.json`, and `files` by relative path. Raises: OSError.

        A task's command may hold secrets among its parameters: only the user may read it.
        """
        for folder in (self.path / "outputs", self.path / "parameters", self.state):
            folder.mkdir(parents=True, exist_ok=True)
        body = self.path / "task.json"
        with open(os.open(body, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(task, file)
        for name, text in (files or {}).items():
            (self.path / name).parent.mkdir(exist_ok=True)
            (self.path / name).write_text(text, encoding="utf-8")

    def executor_input(
        self, component: Component, parameters: Mapping[str, Any], inputs: Artifacts
    ) -> dict[str, Any]:
        """KFP's ExecutorInput for this attempt."""
        given = {name: [_given(ref) for ref in refs] for name, refs in inputs.items()}
        folder = str(self.path)
        return executor_input(component, parameters, given, lambda name: f"{folder}/outputs/{name}", folder)

    def cleanup(self) -> list[str]:
        """The command that ends what may be left of the task elsewhere; none if there is nothing."""
        body = _json(self.path / "task.json")
        return list(body.get("cleanup") or ()) if isinstance(body, dict) else []

    def ending(self) -> Ending | None:
        """How the task ended; None if the shim left no word of it."""
        body = _json(self.path / "exit.json")
        if body is None:
            return None
        flags = (bool(body.get(key)) for key in ("stopped", "timed_out", "out_of_memory"))
        return Ending(int(body["exit_code"]), *flags)

    def error(self) -> dict[str, Any] | None:
        """The error the task left, as `TunelineError.to_json()`; None if it left none."""
        body = _json(self.path / "error.json")
        return body if isinstance(body, dict) and body.get("message") else None

    def log_tail(self) -> str:
        """The last lines of the log."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - _LOG_TAIL))
                return file.read().decode("utf-8", "replace").strip()
        except OSError:
            return ""

    def outputs(self, component: Component, attempt: str) -> Outputs:
        """What the task put out, digested. Reads every byte of it.

        attempt: the execution's name in the record, which the artifacts' own begin with.
        Raises: InternalError if a declared parameter is missing or of another type, or a file is unreadable.
        """
        values, made = self._said()
        artifacts = {
            name: self._listed(name, spec, made.get(name, []), f"{attempt}/{name}")
            for name, spec in component.outputs.artifacts.items()
        }
        parameters = {
            name: self._parameter(name, spec.type, values)
            for name, spec in component.outputs.parameters.items()
        }
        return Outputs(parameters, artifacts)

    def _said(self) -> tuple[Mapping[str, Any], dict[str, list[Any]]]:
        """What KFP's ExecutorOutput says, if the task wrote one: parameters, and artifacts by output.

        Raises: InternalError if it is there and no ExecutorOutput.
        """
        file = self.path / OUTPUT_FILE
        try:
            return said(file.read_bytes())
        except FileNotFoundError:
            return {}, {}
        except ValueError as error:
            raise InternalError(f"The task's {file.name}: {error}.", hint=f"See {file}.") from error

    def _listed(
        self, name: str, spec: ArtifactSpec, described: Sequence[Mapping[str, Any]], id: str
    ) -> tuple[ArtifactRef, ...]:
        """One artifact, whether the task described it or not; of a list those that it made."""
        if not spec.is_list:
            return (self._artifact(name, spec, described[0] if described else {}, id),)
        return tuple(
            self._artifact(name, spec, body, f"{id}/{place}" if place else id)
            for place, body in enumerate(described)
        )

    def _artifact(self, name: str, spec: ArtifactSpec, made: Mapping[str, Any], id: str) -> ArtifactRef:
        uri = str(made.get("uri") or self.path / "outputs" / name)
        custom = str(made.get("custom_path") or made.get("customPath") or "")
        path = Path(custom or uri)
        if custom and "://" not in uri:
            _bring(path, Path(uri))
        if path.exists():
            digest, size_bytes = digest_path(path)
        else:
            digest, size_bytes = (digest_json({"uri": uri}) if "://" in uri else MISSING), 0
        metadata = {**spec.metadata, **(made.get("metadata") or {})}
        kind = (made.get("type") or {}).get("schemaTitle") or spec.type
        return ArtifactRef(name, kind, uri, digest, size_bytes, metadata, id, custom, version=spec.version)

    def _parameter(self, name: str, type: str, values: Mapping[str, Any]) -> Any:
        file = self.path / "parameters" / name
        try:
            return parameter(name, type, values, lambda: file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InternalError(f"The task ended without its output parameter `{name}`.") from None
        except ValueError as error:
            raise InternalError(f"The task's output parameter `{name}`: {error}.") from error


class Tail:
    """Reads whole new lines of an attempt's `events.jsonl`, and remembers across restarts how far it was."""

    def __init__(self, folder: AttemptFolder) -> None:
        self._file = folder.progress
        self._mark = folder.path / "events.read"
        try:
            self._offset = int(self._mark.read_text())
        except (OSError, ValueError):
            self._offset = 0
        self._next = self._offset

    def read(self) -> list[dict[str, Any]]:
        """The objects in the lines that are new since the last `done`. A line that is no object is passed
        over."""
        try:
            if self._file.stat().st_size <= self._offset:
                return []
            with self._file.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._next = self._offset + len(whole)
        return [body for body in map(_line, whole.splitlines()) if body is not None]

    def done(self) -> None:
        """What was read is stored."""
        self._offset = self._next
        try:
            self._mark.write_text(str(self._offset))
        except OSError:
            return  # a full disk: at worst some points are stored twice after a restart


def _bring(made: Path, uri: Path) -> None:
    """What a task put at a path of its own is found at its URI too: KFP's SDK reads it there."""
    if not made.exists() or uri.exists():
        return
    uri.parent.mkdir(parents=True, exist_ok=True)
    if made.is_dir():
        shutil.copytree(made, uri)
    else:
        shutil.copyfile(made, uri)


def _given(ref: ArtifactRef) -> dict[str, Any]:
    body = artifact(ref.name, ref.type, ref.version, ref.uri, ref.metadata)
    return {**body, "customPath": ref.custom_path} if ref.custom_path else body


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):  # a task may have written what it likes
        return None


def _line(data: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None
