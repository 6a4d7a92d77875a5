"""What a step sees of the world: its parameters, its files, and how to report.

The wire is KFP's executor contract: `--executor-input JSON` in, an ExecutorOutput file out, so a step runs
under any engine that executes KFP IR. Beside the outputs file a step writes `events.jsonl` (progress, one
JSON object a line) and, when it fails, `error.json` (`TunelineError.to_json()`), which whoever ran it reads.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneline.errors import InternalError
from tuneline.types import Clock


@dataclass
class Step:
    """One run of one step. Build it with `Step.parse`; write its outputs with `finish`."""

    parameters: Mapping[str, Any]
    inputs: Mapping[str, Path]
    """Local path of every input artifact."""
    input_metadata: Mapping[str, Mapping[str, Any]]
    outputs: Mapping[str, Path]
    """Local path of every output artifact: a file or folder to create. Its parent exists; it does not."""
    state: Path
    """A folder that survives a crash of this task and is given to its next attempt: checkpoints go here."""
    output_file: Path
    clock: Clock = time.time
    _parameters_out: dict[str, Any] = field(default_factory=dict)
    _metadata_out: dict[str, dict[str, Any]] = field(default_factory=dict)
    _uris_out: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, executor_input: str, env: Mapping[str, str], clock: Clock = time.time) -> "Step":
        """The step of an ExecutorInput JSON text. `TUNELINE_TASK_STATE` in `env` names the state folder."""
        body = json.loads(executor_input)
        inputs, outputs = body.get("inputs", {}), body.get("outputs", {})
        paths, metadata = {}, {}
        for key, listed in inputs.get("artifacts", {}).items():
            if listed.get("artifacts"):
                paths[key] = Path(listed["artifacts"][0]["uri"])
                metadata[key] = listed["artifacts"][0].get("metadata", {})
        wanted = {
            key: Path(listed["artifacts"][0]["uri"]) for key, listed in outputs.get("artifacts", {}).items()
        }
        for path in wanted.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        output_file = Path(outputs["outputFile"])
        output_file.parent.mkdir(parents=True, exist_ok=True)
        state = Path(env.get("TUNELINE_TASK_STATE") or output_file.parent / "state")
        state.mkdir(parents=True, exist_ok=True)
        return cls(inputs.get("parameterValues", {}), paths, metadata, wanted, state, output_file, clock)

    def set(self, parameter: str, value: Any) -> None:
        """Put out a parameter."""
        self._parameters_out[parameter] = value

    def describe(self, output: str, metadata: Mapping[str, Any]) -> None:
        """Add metadata to an output artifact."""
        self._metadata_out.setdefault(output, {}).update(metadata)

    def point_to(self, output: str, place: Path | str) -> None:
        """Put out an artifact that already exists elsewhere, instead of writing `outputs[output]`."""
        self._uris_out[output] = str(place)

    def progress(self, done: int, total: int | None, unit: str, **numbers: float) -> None:
        """Say how far it is. `numbers` (loss, tokens_per_s, learning_rate, ...) become points of curves."""
        self._event({"type": "progress", "done": done, "total": total, "unit": unit, **numbers})

    def note(self, message: str) -> None:
        """Say one thing a user should know (a fallback taken, rows dropped, a cached copy used)."""
        self._event({"type": "note", "message": message})

    @contextmanager
    def model_at_work(self) -> Iterator[None]:
        """Say that a model works inside the block: what takes time there is not the line's own."""
        began = self.clock()
        yield
        self._event({"type": "worked", "from": began, "to": self.clock()})

    def finish(self) -> None:
        """Write the ExecutorOutput file, atomically. Raises InternalError if an artifact was not made."""
        artifacts = {}
        for key, path in self.outputs.items():
            uri = self._uris_out.get(key, str(path))
            if "://" not in uri and not Path(uri).exists():
                raise InternalError(f"The step ended without its output `{key}` ({uri}).")
            artifacts[key] = {
                "artifacts": [{"name": key, "uri": uri, "metadata": self._metadata_out.get(key, {})}]
            }
        body = {"parameterValues": self._parameters_out, "artifacts": artifacts}
        scratch = self.output_file.with_suffix(".tmp")
        with scratch.open("w", encoding="utf-8") as file:
            json.dump(body, file)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(self.output_file)

    def _event(self, body: dict[str, Any]) -> None:
        with (self.output_file.parent / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"at": self.clock(), **body}) + "\n")
