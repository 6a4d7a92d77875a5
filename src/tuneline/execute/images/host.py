"""Any image's command as a process of this machine, where the user allows that (`--images host`): what the
image holds is not there, so only programs that this machine has itself can run."""

import os
import shutil
from pathlib import Path

from tuneline.execute.images.contract import Call, Program
from tuneline.execute.images.lightweight import read
from tuneline.execute.images.mapping import PathMap
from tuneline.execute.images.python import PythonImage
from tuneline.execute.limits import unlimited
from tuneline_ir import Container

_PYTHON = ("python", "python3", "pip", "pip3")


class HostImage:
    """An image whose commands run on this machine. See Image."""

    def __init__(self, name: str, path: str, home: Path, python: PythonImage) -> None:
        """path: PATH of tasks. python: runs what is a Python component, or is written for Python."""
        self._name = name
        self._path = path
        self._home = home
        self._python = python

    def faults(self, container: Container) -> list[str]:
        """See Image."""
        words = [*container.command, *container.args]
        if not words:
            return [f"the image `{self._name}` runs what it holds itself, which is not on this machine"]
        if self._is_python(words):
            return self._python.faults(container)
        if "{{$" in words[0] or self._find(words[0]):
            return []
        return [f"`{words[0]}` of the image `{self._name}` is not on this machine"]

    def digest(self, container: Container) -> str:
        """See Image: the name."""
        return f"{container.image} on the host"

    def program(self, call: Call) -> Program:
        """See Image."""
        if self._is_python(call.words):
            return self._python.program(call)
        paths = PathMap(call.mounts, self._home)
        note = f"asks for the image {self._name}; ran as a process of this machine"
        return Program(
            command=paths.texts(call.words),
            env={**call.unset({"PYTHONPATH": ""}), **paths.env(call.env)},
            notes=(note, *paths.notes(), *unlimited(call.options)),
        )

    def _is_python(self, words: list[str]) -> bool:
        return read(words) is not None or words[0] in _PYTHON

    def _find(self, program: str) -> str | None:
        if os.sep in program:
            # An image has its shells in /bin and its tools in /usr/bin; here they may be elsewhere.
            return program if Path(program).exists() else None
        return shutil.which(program, path=self._path or None)
