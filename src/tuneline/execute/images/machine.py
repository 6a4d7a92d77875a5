"""The images of this machine: what each name stands for."""

from collections.abc import Iterator, Mapping

from tuneline.execute.images.contract import Image
from tuneline.execute.images.environments import Environments
from tuneline.execute.images.interpreters import wanted_by
from tuneline.execute.images.own import OwnImage
from tuneline.execute.images.python import PythonImage
from tuneline.plan.compile import IMAGE
from tuneline.settings import Settings


class MachineImages:
    """See Images."""

    def __init__(self, settings: Settings, env: Mapping[str, str]) -> None:
        """env: that of tasks."""
        self._own = OwnImage()
        self._environments = Environments(settings.environments, settings.task_env)
        self._path = env.get("PATH", "")

    def get(self, name: str, /) -> Image | None:
        """See Images."""
        if name == IMAGE:
            return self._own
        wanted = wanted_by(name)
        if wanted is not None:
            return PythonImage(name, wanted, self._environments, self._path)
        return None

    def __iter__(self) -> Iterator[str]:
        """See Images."""
        yield from (IMAGE, "python:3.x")
