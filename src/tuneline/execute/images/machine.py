"""The images of this machine: what each name stands for."""

import copy
import time
from collections.abc import Iterator, Mapping
from typing import Literal

from tuneline.execute.images.contract import Call, Image, Images, Program
from tuneline.execute.images.engine import EngineImage, Engines
from tuneline.execute.images.environments import Environments
from tuneline.execute.images.host import HostImage
from tuneline.execute.images.interpreters import wanted_by
from tuneline.execute.images.own import OwnImage
from tuneline.execute.images.python import PythonImage
from tuneline.execute.images.volumes import CREATE, DELETE, VolumeImage
from tuneline.settings import Settings
from tuneline_ir import Container
from tuneline_ir.wire import OWN_IMAGE

Mode = Literal["", "host", "containers"]
_ANY_PYTHON = (3, 0)


class MachineImages:
    """See Images."""

    def __init__(self, settings: Settings, env: Mapping[str, str], engines: Engines | None = None) -> None:
        """env: that of tasks."""
        self._settings = settings
        self._mode: Mode = settings.images
        self._own = OwnImage()
        self._environments = Environments(settings.environments, settings.task_env)
        self._path = env.get("PATH", "")
        self._engines = engines or Engines(self._path, time.monotonic)

    def get(self, name: str, /) -> Image | None:
        """See Images. Never None: an image that cannot be had says so itself."""
        if name == OWN_IMAGE:
            return self._own
        if name.partition(":")[0] in (CREATE, DELETE):
            return VolumeImage(name, self._settings.volumes)
        mode, wanted = self._mode, wanted_by(name)
        if wanted is not None and mode != "containers":
            return self._python(name, wanted)
        if mode == "host":
            python = self._python(name, _ANY_PYTHON)
            return HostImage(name, self._path, self._settings.home, python)
        engine = self._engines.get()
        return RefusedImage(name, mode) if engine is None else EngineImage(name, engine)

    def __iter__(self) -> Iterator[str]:
        """See Images."""
        if self._mode != "containers":
            yield "python:3.x"
        yield OWN_IMAGE
        if self._mode == "host":
            yield "any whose command is on this machine"
        elif self._engines.get() is not None:
            yield "any that the container engine has"
        else:
            yield "others if podman or docker is there, or with `--images host` if their command is here"

    def under(self, mode: Mode) -> "MachineImages":
        """The same under another setting."""
        found = copy.copy(self)
        found._mode = mode
        return found

    def _python(self, name: str, wanted: tuple[int, int]) -> PythonImage:
        return PythonImage(name, wanted, self._environments, self._path, self._settings.home)


def allowed(images: Images, mode: str) -> Images:
    """What images mean to a run whose user chose `mode`; empty: what they mean anyway."""
    if isinstance(images, MachineImages) and mode in ("host", "containers"):
        return images.under("host" if mode == "host" else "containers")
    return images


class RefusedImage:
    """An image that nothing here can run. See Image."""

    def __init__(self, name: str, mode: Mode) -> None:
        self._name = name
        self._mode = mode

    def faults(self, container: Container) -> list[str]:
        """See Image."""
        asked = " (only containers are allowed)" if self._mode == "containers" else ""
        return [f"needs the image `{self._name}`, and neither podman nor docker answers here{asked}"]

    def digest(self, container: Container) -> str:
        """See Image."""
        return container.image

    def program(self, call: Call) -> Program:
        """See Image. Raises: ValueError always."""
        raise ValueError(f"nothing here can run the image `{self._name}`")
