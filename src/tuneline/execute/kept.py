"""The local copies of artifacts that lie elsewhere, by digest.

    <folder>/<2 digits>/<62 digits>/<name>   a file or folder; whole.json beside it has sizes and times
    <folder>/seen/<uri's digest>.json        what a URI held when it was last read
    <folder>/partial/                        what is under way; nothing reads it

What is complete is moved to its place in one step, and is known as changed if somebody wrote to it. All of it
is safe to delete while nothing runs. Safe between threads and processes.
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneline.execute.digests import files_below
from tuneline.types import Digest, digest_json


@dataclass(frozen=True)
class Fetched:
    """What a URI holds, as local files."""

    path: Path
    digest: Digest
    size_bytes: int


class Kept:
    """One folder of copies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, uri: str, digest: Digest) -> Path:
        """Where what `uri` holds is, or would be. It keeps the URI's last name."""
        digits = digest.rpartition(":")[2]
        name = Path(uri.rstrip("/").rpartition("://")[2].partition("?")[0]).name or "artifact"
        return self.folder / digits[:2] / digits[2:] / name

    def whole(self, place: Path) -> bool:
        """Whether this is there, as it was when it was checked."""
        seen = _json(place.parent / "whole.json")
        try:
            return bool(seen) and seen["name"] == place.name and seen["files"] == state_of(place)
        except OSError:
            return False

    @contextmanager
    def locked(self, place: Path) -> Iterator[None]:
        """Alone with a place: whoever else wants it waits."""
        place.parent.mkdir(parents=True, exist_ok=True)
        with (place.parent / ".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def partial(self) -> Iterator[Path]:
        """A path where nothing is, on the same disk, for what is under way."""
        folder = self.folder / "partial"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as made:
            yield Path(made) / "it"

    def settle(self, scratch: Path, place: Path) -> None:
        """Give what is complete its name. The caller has the place locked."""
        if self.whole(place):
            return
        if place.is_dir():
            shutil.rmtree(place)
        scratch.replace(place)
        _write(place.parent / "whole.json", {"name": place.name, "files": state_of(place)})

    def seed(self, path: Path, place: Path) -> None:
        """Put in the place what this machine has anyway. Raises: OSError if it is on another disk."""
        with self.locked(place), self.partial() as scratch:
            if self.whole(place):
                return
            if path.is_dir():
                shutil.copytree(path, scratch, copy_function=os.link)
            else:
                os.link(path, scratch)
            self.settle(scratch, place)

    def seen(self, uri: str) -> tuple[Any, Fetched] | None:
        """The state that `uri` had when it was read last, and its copy, if that is still whole."""
        body = _json(self._seen(uri))
        if not body:
            return None
        place = self.place(uri, body["digest"])
        if not self.whole(place):
            return None
        return body["state"], Fetched(place, body["digest"], body["size_bytes"])

    def see(self, uri: str, state: Any, fetched: Fetched) -> None:
        """Remember what `uri` held, and by what it will be known to have changed."""
        body = {"uri": uri, "state": state, "digest": fetched.digest, "size_bytes": fetched.size_bytes}
        _write(self._seen(uri), body)

    def _seen(self, uri: str) -> Path:
        return self.folder / "seen" / f"{digest_json(uri).rpartition(':')[2]}.json"


def state_of(path: Path) -> list[list[Any]]:
    """Name, size and time of every file: what changes when somebody writes to one."""
    names = files_below(path) if path.is_dir() else [""]
    stats = [(name, (path / name if name else path).stat()) for name in names]
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]


def _write(path: Path, body: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(json.dumps(body), encoding="utf-8")
    scratch.replace(path)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
