"""Podman or Docker: what runs an image as it is, where one of them is there and its engine answers.

The attempt's folder and the paths of its inputs are the same inside. Limits: a device of the machine (a GPU)
is not passed on.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneline.execute.images.contract import Call, Mount, Program
from tuneline.types import Clock
from tuneline_ir import Container

_ENGINES = ("podman", "docker")
_ASK_S = 15.0
"""How long an engine may take to say that it is there."""
_AGAIN_S = 20.0
"""How soon one that was not there is asked for again."""
_CLIENTS = frozenset(
    (
        *("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "LD_PRELOAD"),
        *("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"),
        *("CONTAINER_HOST", "CONTAINER_CONNECTION", "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF"),
        *("STORAGE_DRIVER", "STORAGE_OPTS"),
    )
)
_CLIENTS_PREFIXES = ("XDG_",)
"""What the engine's client finds its programs, storage and engine by: places, never secrets, as their values
stand in the command."""
Answers = Callable[[Sequence[str]], bool]


@dataclass(frozen=True)
class Engine:
    """A container engine."""

    program: str

    @property
    def name(self) -> str:
        """`podman` or `docker`."""
        return Path(self.program).name

    def run(self, image: str, call: Call) -> tuple[str, ...]:
        """The command that runs a container to its end. Values of variables are not in it, but for those that
        the engine's own client would take for its own, such as PATH and HOME."""
        command = [self.program, "run", "--rm", "--init", "--name", call.name, "--network", "host"]
        for mount in _mounts(call):
            command += ["--volume", f"{mount.here}:{mount.inside}{':ro' if mount.read_only else ''}"]
        for name, value in call.env.items():
            command += ["--env", f"{name}={value}" if _is_clients(name) else name]
        command += self._options(call.options)
        if call.command:
            command += ["--entrypoint", call.command[0]]
        return (*command, image, *call.command[1:], *call.args)

    def end(self, name: str) -> tuple[str, ...]:
        """The command that ends a container, if it is there."""
        return (self.program, "rm", "--force", name)

    def _options(self, options: dict[str, Any] | Any) -> list[str]:
        found: list[str] = []
        if options.get("cpus"):
            found += ["--cpus", f"{options['cpus']:g}"]
        if options.get("memory_bytes"):
            found += ["--memory", str(options["memory_bytes"])]
        if options.get("shm_bytes"):
            found += ["--shm-size", str(options["shm_bytes"])]
        if options.get("pull"):
            found += ["--pull", options["pull"]]
        user = options.get("user") or (_user() if self.name == "docker" else "")
        return [*found, "--user", user] if user else found


class Engines:
    """The engine of this machine, asked once; while there is none, now and then."""

    def __init__(self, path: str, clock: Clock, answers: Answers | None = None) -> None:
        """path: where it is looked for."""
        self._path = path
        self._clock = clock
        self._answers = answers or _answers
        self._found: Engine | None = None
        self._asked = float("-inf")

    def get(self) -> Engine | None:
        """The engine that answers, Podman before Docker; None if none does."""
        if self._found is None and self._clock() - self._asked > _AGAIN_S:
            programs = (shutil.which(name, path=self._path or None) for name in _ENGINES)
            answering = (each for each in programs if each is not None and self._answers([each, "info"]))
            program = next(answering, None)
            self._found = Engine(program) if program else None
            self._asked = self._clock()
        return self._found


class EngineImage:
    """An image that an engine runs. See Image."""

    def __init__(self, name: str, engine: Engine) -> None:
        self._name = name
        self._engine = engine

    def faults(self, container: Container) -> list[str]:
        """See Image: the engine will say what is wrong."""
        return []

    def digest(self, container: Container) -> str:
        """See Image: the name, as for Kubeflow."""
        return container.image

    def program(self, call: Call) -> Program:
        """See Image."""
        return Program(
            command=self._engine.run(self._name, call),
            cleanup=self._engine.end(call.name),
            notes=(f"ran with {self._engine.name}",),
            inside=tuple(filter(_is_clients, call.env)),
            logins=True,  # for a registry, by the client's helpers; the container gets what `--env` names
        )


def _is_clients(name: str) -> bool:
    return name in _CLIENTS or name.startswith(_CLIENTS_PREFIXES)


def _mounts(call: Call) -> list[Mount]:
    """The attempt's folder, what outlives it, inputs that are files here, and what else is asked for."""
    found = {str(path): Mount(path, str(path)) for path in (call.folder, call.folder.parent / "state")}
    for listed in call.executor_input.get("inputs", {}).get("artifacts", {}).values():
        for body in listed["artifacts"]:
            path = Path(body.get("customPath") or body["uri"])
            if path.is_absolute() and path.exists():
                found.setdefault(str(path), Mount(path, str(path), read_only=True))
    return [*found.values(), *call.mounts]


def _user() -> str:
    """Docker's engine is root's: what a task writes would be, too."""
    return "" if os.getuid() == 0 else f"{os.getuid()}:{os.getgid()}"


def _answers(command: Sequence[str]) -> bool:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_ASK_S)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
