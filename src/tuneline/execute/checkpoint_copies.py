"""Checkpoints of a task in a bucket: copied there while it trains, brought back for its next attempt.

A checkpoint is a folder `<number>` or `<word>-<number>`. Ours appear under that name when they are whole;
others are taken once nothing in them has changed between two looks. In the bucket each is `<name>@<who>`,
with a receipt written last (`carrying.py`), so a copy that was cut off is never taken, nor one that a pod
thought lost still writes. Limits: two are kept; a training that saves faster than it can copy has only some
of them copied.
"""

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from tuneline.errors import DataError, NotFoundError
from tuneline.execute import carrying, objects

KEPT = 2
_NAME = re.compile(r"(?:[A-Za-z][\w.]*-)?(\d+)")
_OURS = re.compile(r"\d+")


@dataclass
class Copies:
    """The checkpoints below one URI, and those in one folder."""

    uri: str
    folder: Path
    who: str = ""
    """Which pod this is: attempt and loss, e.g. `1-0`."""
    _copied: set[str] = field(default_factory=set)
    _seen: dict[str, object] = field(default_factory=dict)

    def save(self, *, last: bool = False) -> str | None:
        """Copy the newest whole checkpoint, unless it is there. last: the task has ended, nothing changes
        now.

        Returns: its name if it was copied. Raises: as `carrying.put`.
        """
        for path in self._here():
            if path.name in self._copied:
                return None
            if (last or self._whole(path)) and self._copy(path):
                self._copied.add(path.name)
                self._prune()
                return path.name
        return None

    def restore(self) -> str | None:
        """Bring the newest checkpoint that is whole back; older ones are tried if it is not.

        Returns: its name; None if there is none. Raises: as `objects.find`.
        """
        for there in self._there():
            name = there.rpartition("@")[0]
            scratch = self.folder / f"{name}.part"
            shutil.rmtree(scratch, ignore_errors=True)
            try:
                carrying.get(self._place(there), scratch)
            except (DataError, NotFoundError):
                shutil.rmtree(scratch, ignore_errors=True)
                continue
            shutil.rmtree(self.folder / name, ignore_errors=True)
            scratch.rename(self.folder / name)
            self._copied.add(name)
            return name
        return None

    def _copy(self, path: Path) -> bool:
        """Whether it was copied, rather than deleted by the training meanwhile."""
        uri = self._place(f"{path.name}@{self.who}")
        try:
            receipt = carrying.receipt_of(path)
            if receipt.files:
                carrying.put(path, uri, receipt)
        except (NotFoundError, DataError):
            if path.exists():
                raise
        if path.exists():
            return bool(receipt.files)
        carrying.drop(uri)
        return False

    def _here(self) -> list[Path]:
        """Newest first."""
        if not self.folder.is_dir():
            return []
        found = [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name) and path.is_dir()]
        return sorted(found, key=lambda path: _number(path.name), reverse=True)

    def _there(self) -> list[str]:
        """`name@who` of those with a receipt, newest first."""
        suffix = carrying.SUFFIX
        names = [each.relative for each in objects.find(self.uri)]
        whole = [name.removesuffix(suffix) for name in names if name.endswith(suffix) and "/" not in name]
        known = [name for name in whole if _NAME.fullmatch(name.rpartition("@")[0])]
        return sorted(known, key=lambda name: (_number(name.rpartition("@")[0]), name), reverse=True)

    def _whole(self, path: Path) -> bool:
        if _OURS.fullmatch(path.name):
            return True
        try:
            state = sorted(
                (str(each), each.stat().st_size, each.stat().st_mtime_ns) for each in path.rglob("*")
            )
        except FileNotFoundError:
            return False
        same = self._seen.get(path.name) == state
        self._seen[path.name] = state
        return same and bool(state)

    def _prune(self) -> None:
        """Delete all but the newest; the receipt of each goes first."""
        kept = self._there()[:KEPT]
        stale = [
            each.relative
            for each in objects.find(self.uri)
            if each.relative.removesuffix(carrying.SUFFIX).partition("/")[0] not in kept
        ]
        objects.remove([name for name in stale if name.endswith(carrying.SUFFIX)], self.uri)
        objects.remove([name for name in stale if not name.endswith(carrying.SUFFIX)], self.uri)

    def _place(self, name: str) -> str:
        return f"{self.uri}/{name}"


def _number(name: str) -> int:
    found = _NAME.fullmatch(name)
    return int(found.group(1)) if found else -1
