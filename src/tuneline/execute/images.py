"""What a container's image means on this machine. `tuneline` is this interpreter; others come later, here.

A runner is given images by name. A pipeline that names another is refused before anything of it runs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tuneline.errors import SpecError
from tuneline.execute.closure import Closures
from tuneline_ir import Container, Pipeline


@dataclass(frozen=True)
class Program:
    """What the shim runs: a command, or a function in a fork of its own interpreter."""

    command: tuple[str, ...] = ()
    entry: str = ""
    """`module:function`, returning an exit code."""
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    """Set beside what the container itself sets."""
    notes: tuple[str, ...] = ()
    """What is otherwise here than the container asks for."""

    def to_json(self) -> dict[str, Any]:
        """What the shim reads of it."""
        return {"command": list(self.command), "entry": self.entry, "args": list(self.args)}


class Image(Protocol):
    """One image."""

    def faults(self, container: Container) -> list[str]:
        """Why this container cannot run; asked before the run starts."""
        ...

    def digest(self, container: Container) -> str:
        """What the cache knows the container's code by."""
        ...

    def program(self, command: Sequence[str]) -> Program:
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


class OwnImage:
    """The image `tuneline`: steps, run by this interpreter."""

    def __init__(self, closures: Closures | None = None) -> None:
        self._closures = closures or Closures()

    def faults(self, container: Container) -> list[str]:
        """See Image."""
        words = [*container.command, *container.args]
        if (
            words[:2] == ["tuneline", "step"]
            and len(words) == 5
            and words[3:] == ["--executor-input", "{{$}}"]
        ):
            return []
        return ["the image `tuneline` runs only `tuneline step NAME --executor-input {{$}}`"]

    def digest(self, container: Container) -> str:
        """See Image: the digest of the step's import closure."""
        return self._closures.digest([*container.command, *container.args][2])

    def program(self, command: Sequence[str]) -> Program:
        """See Image."""
        return Program(entry="tuneline.steps.main:main", args=(command[2], command[4]))


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
