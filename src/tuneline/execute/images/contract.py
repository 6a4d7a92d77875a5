"""What an image is to the runner: it says what it cannot run, by what the cache knows it, and what to start.

A runner is given images by name. A pipeline that names another is refused before anything of it runs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tuneline.errors import SpecError
from tuneline_ir import Container, Pipeline


@dataclass(frozen=True)
class Mount:
    """A folder or file of this machine that a container finds under `inside`."""

    here: Path
    inside: str
    read_only: bool = False


@dataclass(frozen=True)
class Call:
    """What an attempt asks of an image."""

    command: Sequence[str]
    """Placeholders resolved."""
    args: Sequence[str]
    executor_input: Mapping[str, Any]
    folder: Path
    """The attempt's, which the task writes to."""
    name: str = "task"
    """Of the attempt, unlike that of any other: letters, digits and hyphens."""
    env: Mapping[str, str] = field(default_factory=dict)
    """What the pipeline and its platform document set. May hold secrets."""
    mounts: Sequence[Mount] = ()
    """Beside the folder itself and the inputs."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What else is asked for: `cpus`, `memory_bytes`, `pull`, `user`, `shm_bytes`."""

    def unset(self, env: Mapping[str, str]) -> dict[str, str]:
        """Those variables that the call does not set itself."""
        return {name: value for name, value in env.items() if name not in self.env}

    @property
    def words(self) -> list[str]:
        """Command and arguments."""
        return [*self.command, *self.args]


@dataclass(frozen=True)
class Program:
    """What the shim runs: a command, a function in a fork of its own interpreter, or a module in a fork of
    another one."""

    command: tuple[str, ...] = ()
    entry: str = ""
    """`module:function`, returning an exit code."""
    module: str = ""
    """Run as `python -m` runs it, by `python`."""
    args: tuple[str, ...] = ()
    """Of the function or the module."""
    python: str = ""
    """The interpreter of `module`. Empty with `environment`: that environment's, once it is made."""
    environment: Mapping[str, Any] | None = None
    """Packages that must be there first: what `execute.layers` makes in the task's own process."""
    constants: Mapping[str, str] = field(default_factory=dict)
    """`module:NAME` of the SDK to set before the module runs."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Texts to put into the attempt's folder, by relative path."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Set beside, or in place of, what the call asks for."""
    notes: tuple[str, ...] = ()
    """What is otherwise here than the container asks for."""
    inside: tuple[str, ...] = ()
    """Variables of the call that are in the command already: its own process keeps the machine's."""
    logins: bool = False
    """Whether it gets the logins to hubs and buckets of the server's user: our own programs alone."""
    cleanup: tuple[str, ...] = ()
    """A command that ends what may be left of it elsewhere, run once it has ended."""

    def to_json(self) -> dict[str, Any]:
        """What the shim reads of it."""
        return {
            "command": list(self.command),
            "entry": self.entry,
            "module": self.module,
            "args": list(self.args),
            "environment": self.environment,
            "constants": dict(self.constants),
            "cleanup": list(self.cleanup),
        }


class Image(Protocol):
    """One image."""

    def faults(self, container: Container) -> list[str]:
        """Why this container cannot run; asked before the run starts."""
        ...

    def digest(self, container: Container) -> str:
        """What the cache knows the container's code by."""
        ...

    def program(self, call: Call) -> Program:
        """What runs a command whose placeholders are resolved."""
        ...


class Images(Protocol):
    """The images of this machine."""

    def get(self, name: str, /) -> Image | None:
        """The image of that name; None if it cannot be had."""
        ...

    def __iter__(self) -> Iterator[str]:
        """Names, for messages."""
        ...


def check_images(pipeline: Pipeline, images: Images) -> None:
    """Every container's image must be there, but for names that a task makes at run time.

    Raises: SpecError naming every component that cannot run, and why.
    """
    faults = []
    for component in pipeline.components.values():
        container = pipeline.executors.get(component.executor)
        if not isinstance(container, Container) or "{{$" in container.image:
            continue
        image = images.get(container.image)
        if image is None:
            faults.append(f"component `{component.name}` needs the image `{container.image}`")
        else:
            faults.extend(f"component `{component.name}`: {fault}" for fault in image.faults(container))
    if faults:
        raise SpecError(
            "The local runner cannot run this pipeline.",
            hint=f"It knows the images {', '.join(sorted(images))}.",
            details=faults,
        )
