"""Runs a step in a real child process, as the runner does, with artifacts in folders."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_OUTPUTS = {
    "base": ("base",),
    "tune": ("adapter", "metrics", "logs"),
    "score": ("scores", "report"),
    "evaluate": ("predictions", "metrics", "report"),
}


@dataclass(frozen=True)
class Stepped:
    """A step that was started."""

    process: subprocess.Popen[str]
    folder: Path

    def out(self, name: str) -> Path:
        """The path of an output."""
        return self.folder / name

    def error(self) -> dict[str, Any]:
        """Its error.json."""
        found: dict[str, Any] = json.loads((self.folder / "error.json").read_text())
        return found

    def events(self) -> list[dict[str, Any]]:
        """Its progress and notes."""
        path = self.folder / "events.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def executor_input(
    name: str, folder: Path, parameters: dict[str, Any], inputs: dict[str, Path]
) -> dict[str, Any]:
    """What Kubeflow's contract gives step `name`, which writes to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)

    def artifact(path: Path) -> dict[str, Any]:
        return {"artifacts": [{"name": path.name, "uri": str(path)}]}

    return {
        "inputs": {
            "parameterValues": parameters,
            "artifacts": {key: artifact(path) for key, path in inputs.items()},
        },
        "outputs": {
            "artifacts": {key: artifact(folder / key) for key in _OUTPUTS[name]},
            "outputFile": str(folder / "output.json"),
        },
    }


def start_step(
    name: str, folder: Path, parameters: dict[str, Any], inputs: dict[str, Path], state: Path | None = None
) -> Stepped:
    """Start step `name`; its outputs, events and errors go to `folder`, its checkpoints to `state`."""
    body = executor_input(name, folder, parameters, inputs)
    code = "import sys; from tuneline.steps.main import main; sys.exit(main(sys.argv[1], sys.argv[2]))"
    env = os.environ | {"TUNELINE_TASK_STATE": str(state or folder / "state"), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", code, name, json.dumps(body)],
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return Stepped(process, folder)


def run_step(
    name: str, folder: Path, parameters: dict[str, Any], inputs: dict[str, Path], state: Path | None = None
) -> Stepped:
    """The same, run to its end; fails with what it printed if it did not exit 0."""
    step = start_step(name, folder, parameters, inputs, state)
    said, _ = step.process.communicate(timeout=120)
    assert step.process.returncode == 0, said
    return step


def fail_step(name: str, folder: Path, parameters: dict[str, Any], inputs: dict[str, Path]) -> dict[str, Any]:
    """Its error.json, of a step that must fail."""
    step = start_step(name, folder, parameters, inputs)
    said, _ = step.process.communicate(timeout=120)
    assert step.process.returncode in (1, 2), said
    assert "Traceback" not in said
    return step.error()
