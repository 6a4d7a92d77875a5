"""The image `tuneline`: our own steps, run by the interpreter that tuneline runs on."""

from tuneline.execute.closure import Closures
from tuneline.execute.images.contract import Call, Program
from tuneline_ir import Container


class OwnImage:
    """See Image."""

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

    def program(self, call: Call) -> Program:
        """See Image."""
        return Program(entry="tuneline.steps.main:main", args=(call.words[2], call.words[4]), logins=True)
