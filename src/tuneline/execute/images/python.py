"""Images of Python: `python:3.x` and those named like it run on an interpreter of this machine.

A component as Kubeflow's SDK compiles it runs in the task environment, or in one over it that has its
packages; its preamble is not run. Any other command runs in an environment that ends with the attempt, so
what it installs disturbs nobody.
"""

import os
from dataclasses import replace
from pathlib import Path

from tuneline.execute.images.contract import Call, Program
from tuneline.execute.images.environments import Environment, Environments
from tuneline.execute.images.interpreters import Wanted
from tuneline.execute.images.lightweight import EXECUTOR, Lightweight, is_containerized, read
from tuneline.execute.images.mapping import PathMap
from tuneline.execute.limits import unlimited
from tuneline_ir import WORKSPACE, Container

_CONSTANTS = tuple(
    f"kfp.dsl.{module}:WORKSPACE_MOUNT_PATH" for module in ("constants", "types.artifact_types")
)
SOURCE = "program/ephemeral_component.py"
_THROWAWAY = "python"


class PythonImage:
    """An image of Python. See Image."""

    def __init__(self, name: str, wanted: Wanted, environments: Environments, path: str, home: Path) -> None:
        """path: PATH of tasks."""
        self._name = name
        self._wanted = wanted
        self._environments = environments
        self._path = path
        self._home = home

    def faults(self, container: Container) -> list[str]:
        """See Image."""
        if is_containerized([*container.command, *container.args]):
            return [f"the source of its Python component is in the image `{self._name}`, which is not here"]
        fault = self._environments.fault(self._wanted)
        return [f"the image `{self._name}`: {fault}"] if fault else []

    def digest(self, container: Container) -> str:
        """See Image: the name and the interpreter's minor version."""
        version = self._environments.version(self._wanted)
        return f"{container.image} on Python {'.'.join(version.split('.')[:2])}"

    def program(self, call: Call) -> Program:
        """See Image."""
        paths = PathMap(call.mounts, self._home)
        found = read(call.words)
        if found is not None:
            pip = {name: value for name, value in call.env.items() if name.startswith("PIP_")}
            environment = self._environments.of(self._wanted, found.installs, pip)
            return self._component(call, found, environment, paths)
        environment = self._environments.throwaway(self._wanted, call.folder / _THROWAWAY)
        return Program(
            command=paths.texts(call.words) or ("python3",),
            environment=environment.missing,
            env={**call.unset(self._env(environment)), **paths.env(call.env)},
            notes=(*self._notes(environment), *paths.notes(), *unlimited(call.options)),
        )

    def _component(self, call: Call, found: Lightweight, environment: Environment, paths: PathMap) -> Program:
        file, args = str(call.folder / SOURCE), paths.texts(found.args)
        program = Program(
            environment=environment.missing,
            files={SOURCE: paths.text(found.source)},
            env={**call.unset(self._env(environment)), **paths.env(call.env)},
            notes=(*self._notes(environment), *paths.notes(), *unlimited(call.options)),
        )
        if found.script:
            return replace(program, command=(environment.python, "-u", file, *args))
        workspace = next((str(mount.here) for mount in call.mounts if mount.inside == WORKSPACE), "")
        return replace(
            program,
            module=EXECUTOR,
            args=("--component_module_path", file, *args),
            python=environment.python,
            constants=dict.fromkeys(_CONSTANTS, workspace) if workspace else {},
            env={**program.env, "_KFP_RUNTIME": "true"},
        )

    def _env(self, environment: Environment) -> dict[str, str]:
        """As in an activated environment; what the server's own sets for Python does not count."""
        folder = Path(environment.python).parent
        path = os.pathsep.join([str(folder), self._path]) if self._path else str(folder)
        return {"PATH": path, "VIRTUAL_ENV": str(folder.parent), "PYTHONPATH": ""}

    def _notes(self, environment: Environment) -> tuple[str, ...]:
        asked, has = self._wanted, tuple(map(int, environment.version.split(".")[:2]))
        if asked in (has, (3, 0)):
            return ()
        return (f"asks for the image {self._name}; ran on Python {environment.version} of this machine",)
