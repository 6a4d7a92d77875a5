"""Python interpreters of this machine, and which of them stands for an image's."""

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Wanted = tuple[int, int]
"""Major and minor version, at least."""

_TAG = re.compile(r"v?(\d+)(?:\.(\d+))?(?=[.\-_a-z]|$)")
_NAME = re.compile(r"(?:^|-)python-?(\d)\.?(\d{1,2})?(?:-minimal)?$")
_NEWEST = 20
"""Minor versions looked for on PATH."""
_PROBE = "import os, sys; print(os.path.realpath(sys._base_executable), *sys.version_info[:3])"


@dataclass(frozen=True)
class Interpreter:
    """An interpreter that is no virtual environment's."""

    path: str
    version: tuple[int, int, int]

    @property
    def text(self) -> str:
        """The version as written."""
        return ".".join(map(str, self.version))

    @classmethod
    def own(cls) -> "Interpreter":
        """The one that tuneline runs on."""
        path = getattr(sys, "_base_executable", "") or sys.executable
        return cls(os.path.realpath(path), sys.version_info[:3])

    @classmethod
    def of_environment(cls, folder: Path) -> "Interpreter | None":
        """The one that a virtual environment was made with; None if there is no environment."""
        try:
            config = (folder / "pyvenv.cfg").read_text(encoding="utf-8")
        except OSError:
            return None
        found = re.search(r"^version(?:_info)?\s*=\s*(\d+)\.(\d+)\.(\d+)", config, re.MULTILINE)
        python = folder / "bin" / "python"
        if found is None or not python.exists():
            return None
        major, minor, micro = map(int, found.groups())
        return cls(os.path.realpath(python), (major, minor, micro))


def wanted_by(image: str) -> Wanted | None:
    """The Python version that an image has by its name; None if it is no image of Python.

    `python`, `python:3.11-slim`, `docker.io/library/python:3.12@sha256:...`, `ubi9/python-311:latest`.
    A name without a version wants any of Python 3.
    """
    name = image.partition("@")[0]
    repository, _, tag = name.rpartition(":") if ":" in name.rpartition("/")[2] else (name, "", "")
    last = repository.rpartition("/")[2]
    if last == "python":
        found = _TAG.match(tag)
        if found is None:
            return (3, 0)
        return int(found.group(1)), int(found.group(2) or 0)
    found = _NAME.search(last)
    return None if found is None else (int(found.group(1)), int(found.group(2) or 0))


class Interpreters:
    """Finds interpreters, each version once. `probe`: asks a program what it is."""

    def __init__(self, probe: Callable[[str], Interpreter | None] | None = None) -> None:
        self._probe = functools.cache(probe or _ask)
        self._found: dict[Wanted, Interpreter | None] = {}

    def at_least(self, wanted: Wanted) -> Interpreter | None:
        """The lowest version of Python 3 on PATH that is at least `wanted`; None if there is none."""
        if wanted not in self._found:
            self._found[wanted] = self._search(wanted)
        return self._found[wanted]

    def newest(self) -> str:
        """The newest version that is here, for messages."""
        found = [self._probe(program) for program in _programs(0)]
        versions = [each.version for each in (*found, Interpreter.own()) if each is not None]
        return ".".join(map(str, max(versions)))

    def _search(self, wanted: Wanted) -> Interpreter | None:
        own = Interpreter.own()
        if wanted[0] != 3:
            return None
        if own.version[:2] >= wanted:
            return own
        for program in _programs(wanted[1]):
            found = self._probe(program)
            if found is not None and found.version[:2] >= wanted:
                return found
        return None


def _programs(minor: int) -> list[str]:
    names = [f"python3.{number}" for number in range(minor, _NEWEST)]
    found: list[str] = []
    for name in (*names, "python3"):
        path = shutil.which(name)
        if path is None:
            continue
        # pyenv puts a script on PATH that may refuse to run what it has.
        versions = Path(path).parent.parent / "versions"
        real = sorted(versions.glob(f"*/bin/{name}")) if Path(path).parent.name == "shims" else []
        found += map(str, real) if real else [path]
    return found


def _ask(program: str) -> Interpreter | None:
    try:
        done = subprocess.run(
            [program, "-I", "-c", _PROBE], capture_output=True, text=True, timeout=20, check=True
        )
        path, *numbers = done.stdout.rsplit(maxsplit=3)
        major, minor, micro = map(int, numbers)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return Interpreter(path, (major, minor, micro))
