"""Paths that a container would find mounted, in a process that has no container: the folder that stands for
each of them takes the place of its name in commands, sources and variables.

Limits: a path that a program puts together from parts is not seen.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tuneline.execute.images.contract import Mount

_BEFORE = r"(?<![\w.\-/})])"
_AFTER = r"(?![\w.\-])"


class PathMap:
    """Replaces the mounts' names. `home`: paths below it are real ones, and stay."""

    def __init__(self, mounts: Sequence[Mount], home: Path) -> None:
        self._to = {mount.inside.rstrip("/"): str(mount.here) for mount in mounts}
        names = "|".join(re.escape(name) for name in sorted(self._to, key=len, reverse=True) if name)
        own = "|".join(re.escape(str(path)) for path in (home, home.resolve()))
        stay = rf"(?!(?:{own})(?:/|\b))"
        self._names = re.compile(rf"{_BEFORE}{stay}({names}){_AFTER}") if names else None

    def text(self, text: str) -> str:
        """A text with every mount's name replaced."""
        if self._names is None:
            return text
        return self._names.sub(lambda found: self._to[found.group(1)], text)

    def texts(self, texts: Sequence[str]) -> tuple[str, ...]:
        """See `text`."""
        return tuple(map(self.text, texts))

    def env(self, env: Mapping[str, str]) -> dict[str, str]:
        """Variables whose values change."""
        return {name: self.text(value) for name, value in env.items() if self.text(value) != value}

    def notes(self) -> tuple[str, ...]:
        """What is where."""
        return tuple(f"{name} is the folder {here} here" for name, here in self._to.items())
