"""What a container's image means on this machine. `tuneline` is this interpreter; others come later, here.

A runner is given images by name. A pipeline that names another is refused before anything of it runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tuneline.errors import SpecError
from tuneline.execute.closure import Closures
from tuneline_ir import Container


@dataclass(frozen=True)
class Program:
    """What the shim runs: a command, or a function in a fork of its own interpreter."""

    command: tuple[str, ...] = ()
    entry: str = ""
    """`module:function`, returning an exit code."""
    args: tuple[str, ...] = ()

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


def check_images(containers: Mapping[str, Container], images: Mapping[str, Image]) -> None:
    """Every container's image must be there. Raises: SpecError naming every task that cannot run, and why."""
    faults = []
    for task, container in containers.items():
        image = images.get(container.image)
        if image is None:
            faults.append(f"task `{task}` needs the image `{container.image}`")
        else:
            faults.extend(f"task `{task}`: {fault}" for fault in image.faults(container))
    if faults:
        raise SpecError(
            "The local runner cannot run this pipeline.",
            hint=f"It knows the images {', '.join(sorted(images))}.",
            details=faults,
        )
