"""The images by which pipelines make and delete volumes on Kubernetes: here a volume is a folder by its name.

Nothing of it is cached: a volume that was deleted must be made anew.
"""

import sys
import uuid
from pathlib import Path

from tuneline.execute import claims
from tuneline.execute.images.contract import Call, Program
from tuneline_ir import Container

CREATE, DELETE = "argostub/createpvc", "argostub/deletepvc"


class VolumeImage:
    """Makes or deletes a volume. See Image."""

    def __init__(self, name: str, volumes: Path) -> None:
        """volumes: the folder of all volumes."""
        self._create = name.partition(":")[0] == CREATE
        self._volumes = volumes

    def faults(self, container: Container) -> list[str]:
        """See Image."""
        return []

    def digest(self, container: Container) -> str:
        """See Image: another one each time."""
        return uuid.uuid4().hex

    def program(self, call: Call) -> Program:
        """See Image. Raises: ValueError if the volume has two names."""
        given = call.executor_input["inputs"]["parameterValues"]
        python = (sys.executable, "-I", "-S", claims.__file__)
        name = str(given.get("pvc_name") or "")
        if not self._create:
            return Program(command=(*python, "delete", str(self._volumes), name))
        suffix = str(given.get("pvc_name_suffix") or "")
        if name and suffix:
            raise ValueError("a volume has a `pvc_name` or a `pvc_name_suffix`, not both")
        name = name or f"{call.name}{suffix}"
        output = call.executor_input["outputs"]["parameters"]["name"]["outputFile"]
        owner = call.name.rpartition("-")[0]  # the next attempt of the same task may find it made already
        note = f"the volume `{name}` is the folder {self._volumes / name}; its size is not limited"
        return Program(command=(*python, "create", str(self._volumes), name, owner, output), notes=(note,))
