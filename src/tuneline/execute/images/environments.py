"""Environments of packages that tasks run in: which one a task needs, and whether it is there.

The task environment holds Kubeflow's SDK, whose executor runs Python components. A component that asks for
more gets an environment over it, one for each set of requirements, index and interpreter, in
`<home>/environments`. Here is only looked; what is missing is made by `execute.layers` in the task's process.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneline.execute.images.interpreters import Interpreter, Interpreters, Wanted
from tuneline.execute.images.lightweight import Install
from tuneline.execute.layers import is_ready, packages_of, python_of
from tuneline.types import digest_json

if TYPE_CHECKING:
    from tuneline.execute.images.requirements import Installed

SDK = "kfp==2.17.0"
_PIP = (("--no-deps", SDK), ("typing-extensions>=4,<5",))
_LEAST = (3, 9)
"""What the SDK needs."""


@dataclass(frozen=True)
class Environment:
    """One that a task runs in."""

    python: str
    """Its interpreter, there or not."""
    version: str
    missing: Mapping[str, Any] | None = None
    """What is to be made first, as `execute.layers` reads it; None if it is there."""


class Environments:
    """The environments of a home."""

    def __init__(self, root: Path, task_env: Path | None = None, found: Interpreters | None = None) -> None:
        """root: where they are made. task_env: one with Kubeflow's SDK that somebody else made."""
        self._root = root
        self._given = task_env
        self._interpreters = found or Interpreters()
        self._installed: dict[tuple[Path, int], Installed] = {}
        self._known: tuple[int, Interpreter] | None = None

    def fault(self, wanted: Wanted) -> str | None:
        """Why nothing here can stand for a Python of that version."""
        if self._given is not None and self._given_python() is None:
            return f"TUNELINE_TASK_ENV is {self._given}, which is no Python environment with Kubeflow's SDK"
        if wanted[0] != 3:
            return f"it needs Python {wanted[0]}, and only Python 3 is supported"
        if self._interpreter(wanted) is None:
            newest = self._interpreters.newest()
            return f"it needs Python {wanted[0]}.{wanted[1]}, and the newest on this machine is {newest}"
        return None

    def version(self, wanted: Wanted) -> str:
        """The version that stands for the one wanted. Raises: ValueError if there is none."""
        return self._base(wanted)[1].text

    def of(self, wanted: Wanted, installs: Sequence[Install], pip: Mapping[str, str]) -> Environment:
        """The environment of a component that installs these packages. Raises: ValueError.

        pip: variables by which the component itself sets up pip.
        """
        path, python, base = self._base(wanted)
        missing = self._missing(path, python, installs)
        if not missing:
            return Environment(python_of(str(path)), python.text, base)
        told = {
            "below": str(path),
            "python": python.path,
            "version": python.text,
            "pip": [list(words) for words, _ in missing],
        }
        layer = self._root / digest_json([told, dict(pip)]).rpartition(":")[2][:24]
        if is_ready(str(layer)):
            return Environment(python_of(str(layer)), python.text)
        title = ", ".join(name for _, names in missing for name in names)
        whole: dict[str, Any] = {**told, "path": str(layer), "first": base, "title": title, "kept": True}
        return Environment(python_of(str(layer)), python.text, whole)

    def throwaway(self, wanted: Wanted, folder: Path) -> Environment:
        """One in `folder` for a command that may install what it likes. Raises: ValueError."""
        path, python, base = self._base(wanted)
        description: dict[str, Any] = {
            "path": str(folder), "python": python.path, "version": python.text, "below": str(path),
            "first": base, "pip": [], "title": "", "kept": False,
        }  # fmt: skip
        return Environment(python_of(str(folder)), python.text, description)

    def _base(self, wanted: Wanted) -> tuple[Path, Interpreter, Mapping[str, Any] | None]:
        """The task environment for a version: where, on what, and its description if it is to be made."""
        python = self._interpreter(wanted)
        if python is None:
            raise ValueError(self.fault(wanted) or "there is no Python for it")
        if self._given is not None and python == self._given_python():
            return self._given, python, None
        own = python == Interpreter.own()
        path = self._root / ("kfp" if own else f"kfp-{python.version[0]}.{python.version[1]}")
        if is_ready(str(path)):
            return path, Interpreter.of_environment(path) or python, None
        pip = [list(arguments) for arguments in _PIP]
        return path, python, {
            "path": str(path), "python": python.path, "version": python.text, "below": "", "first": None,
            "pip": pip, "title": f"Kubeflow's SDK ({SDK})", "kept": True,
        }  # fmt: skip

    def _interpreter(self, wanted: Wanted) -> Interpreter | None:
        wanted = max(wanted, _LEAST) if wanted[0] == 3 else wanted
        given = self._given_python() if self._given is not None else None
        if given is not None and wanted[0] == 3 and given.version[:2] >= wanted:
            return given
        return self._interpreters.at_least(wanted)

    def _given_python(self) -> Interpreter | None:
        """That of the environment somebody else made; looked at again only when it was changed."""
        assert self._given is not None
        try:
            changed = (self._given / "pyvenv.cfg").stat().st_mtime_ns
        except OSError:
            return None
        if self._known is None or self._known[0] != changed:
            python = Interpreter.of_environment(self._given)
            packages = Path(packages_of(str(self._given), python.text)) if python else None
            if python is None or packages is None or not (packages / "kfp" / "dsl").is_dir():
                return None
            self._known = changed, python
        return self._known[1]

    def _missing(
        self, path: Path, python: Interpreter, installs: Sequence[Install]
    ) -> list[tuple[list[str], list[str]]]:
        """Arguments of each `pip install` that is not met by the task environment, and what it brings."""
        have = self._packages(path, python)
        found = []
        for install in installs:
            wanted = [
                requirement
                for requirement in install.requirements
                if not install.plain or not have.satisfies(requirement, no_deps=install.no_deps)
            ]
            if wanted or not install.plain:
                flags = ["--no-deps"] if install.no_deps else []
                found.append(([*flags, *install.options, *wanted], wanted))
        return found

    def _packages(self, path: Path, python: Interpreter) -> "Installed":
        from tuneline.execute.images.requirements import Installed  # noqa: PLC0415 - 0.1 s that others need not pay

        folder = Path(packages_of(str(path), python.text))
        if path != self._given and not is_ready(str(path)):  # to be made, or half made now: it will have this
            return Installed({"kfp": SDK.partition("==")[2], "typing-extensions": "4.0"}, {}, python.text)
        key = (folder, folder.stat().st_mtime_ns)
        if key not in self._installed:
            self._installed[key] = Installed.of([folder], python.text)
        return self._installed[key]
