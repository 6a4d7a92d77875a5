"""Runs the pipeline of a project with own code task by task, without a server: steps of ours in this process,
Python components by their real command, in an interpreter that has what the code requires."""

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.kubeflow import TASK_ENV

from tuneline.plan.compile import compile_project
from tuneline.spec.project import load
from tuneline.steps.main import main

KFP = next(TASK_ENV.glob("lib/python*/site-packages"), TASK_ENV)
"""Where kfp is: nothing else is there."""


@dataclass
class Line:
    """One run: its tasks' folders and outputs."""

    ir: dict[str, Any]
    folder: Path
    interpreter: Path
    live: Path | None = None
    done: dict[str, dict[str, Any]] = field(default_factory=dict)

    def run(self, *, until: str = "package") -> "Line":
        """Run tasks in order, up to one; fails the test with what a task printed if it fails."""
        for name in self.ir["root"]["dag"]["tasks"]:
            if name == "live":
                self.done[name] = self._live()
            elif (said := self.run_task(name)) is not None:
                pytest.fail(f"{name} failed: {said}")
            if name == until:
                break
        return self

    def run_task(self, name: str) -> str | None:
        """Run one task; None, or what it printed if it failed."""
        given = self._executor_input(name)
        container = self.ir["deploymentSpec"]["executors"][f"exec-{name}"]["container"]
        if container["image"] == "tuneline":
            code = main(container["command"][2], json.dumps(given))
            said = "" if code == 0 else json.dumps(self.error(name))
        else:
            ended = self._python(container, given)
            code, said = ended.returncode, ended.stdout
        if code:
            return said or str(code)
        self.done[name] = json.loads((self.folder / name / "output.json").read_text())
        return None

    def out(self, task: str, output: str) -> Path:
        """The path of an output."""
        return Path(self.done[task]["artifacts"][output]["artifacts"][0]["uri"])

    def json(self, task: str, output: str) -> Any:
        """A JSON output."""
        return json.loads(self.out(task, output).read_text())

    def error(self, task: str) -> dict[str, Any]:
        """Its error.json."""
        found: dict[str, Any] = json.loads((self.folder / task / "error.json").read_text())
        return found

    def _python(self, container: dict[str, Any], given: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        """The component without its installation: the shell, the program, the source, as they are."""
        assert TASK_ENV.is_dir(), "make .venv-task/.ready makes the environment that Python components run in"
        assert container["command"][:2] == ["sh", "-c"]
        words = [*container["command"][3:], *container["args"]]
        words = [json.dumps(given) if word == "{{$}}" else word for word in words]
        path = f"{self.interpreter.parent}:{os.environ['PATH']}"
        env = {"PATH": path, "HOME": str(self.folder), "PYTHONHASHSEED": "0", "PYTHONPATH": str(KFP)}
        return subprocess.run(
            words,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )

    def _executor_input(self, name: str) -> dict[str, Any]:
        task = self.ir["root"]["dag"]["tasks"][name]
        component = self.ir["components"][f"comp-{name}"]
        defaults = self.ir["root"]["inputDefinitions"]["parameters"]
        values = {}
        for key, source in task["inputs"].get("parameters", {}).items():
            if "componentInputParameter" in source:
                values[key] = defaults[source["componentInputParameter"]]["defaultValue"]
            else:
                made = source["taskOutputParameter"]
                values[key] = self.done[made["producerTask"]]["parameterValues"][made["outputParameterKey"]]
        given = {}
        for key, source in task["inputs"].get("artifacts", {}).items():
            made = source["taskOutputArtifact"]
            given[key] = self.done[made["producerTask"]]["artifacts"][made["outputArtifactKey"]]
        folder = self.folder / name
        made = component.get("outputDefinitions", {}).get("artifacts", {})
        outputs = {
            key: {
                "artifacts": [
                    {"name": key, "uri": str(folder / "outputs" / key), "type": kind["artifactType"]}
                ]
            }
            for key, kind in made.items()
        }
        return {
            "inputs": {"parameterValues": values, "artifacts": given},
            "outputs": {"artifacts": outputs, "outputFile": str(folder / "output.json")},
        }

    def _live(self) -> dict[str, Any]:
        package = self.live or self.folder / "live" / "nothing"
        package.mkdir(parents=True, exist_ok=True)
        release = "threats@1.0.0" if self.live else ""
        values = {"release": release, "digest": "sha256:1" if self.live else "", "base": ""}
        artifact = {"name": "package", "uri": str(package), "type": {"schemaTitle": "system.Model"}}
        return {"parameterValues": values, "artifacts": {"package": {"artifacts": [artifact]}}}


def line_of(project: Path, folder: Path, interpreter: Path, live: Path | None = None) -> Line:
    """The line of a project's folder, ready to run below `folder`."""
    return Line(compile_project(load(project).project), folder, interpreter, live)
