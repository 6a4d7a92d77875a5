"""What of an endpoint's segments was not ingested yet: the routers' side of `request_files`.

    segments/00000007.jsonl        a router appends to it
    segments/00000007.jsonl.read   put aside by the ingestion before it is deleted, see `put_aside`

A router opens its segment anew for each second's lines, so a file that was renamed gets at most the lines of
a write that was under way; after that the router begins a new file of the old name.
"""

import json
import mmap
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ASIDE = ".read"
MAX_SCANNED = 64 * 1024 * 1024
_ID = re.compile(rb'"id":"([^"\\]{1,200})"')


@dataclass(frozen=True)
class Unread:
    """A segment, and how much of it is not ingested."""

    path: Path
    offset: int
    """The bytes that were."""
    size: int
    written_at: float
    """Unix seconds."""
    waits: bool = False
    """Not to be ingested before the one that was put aside under its name is gone."""

    @property
    def left(self) -> int:
        """Bytes."""
        return self.size - self.offset


def segments(folder: Path, offsets: Mapping[str, int]) -> list[Unread]:
    """All segments in `folder`, those with nothing left too, by name. offsets: `State.segments`."""
    found = []
    aside = {path.name for path in folder.glob("*.jsonl" + ASIDE)}
    for path in sorted(folder.glob("*.jsonl*")):
        if path.suffix not in (".jsonl", ASIDE):
            continue
        waits = path.name + ASIDE in aside
        offset = 0 if waits else offsets.get(path.name, 0)  # what was put aside took its offset along
        try:
            status = path.stat()
        except FileNotFoundError:  # put aside, or deleted by the router, just now
            continue
        offset = offset if offset <= status.st_size else 0
        found.append(Unread(path, offset, status.st_size, status.st_mtime, waits))
    return found


def put_aside(path: Path) -> Path:
    """Rename a segment so that no router appends to it any more; its new path. The caller has committed the
    same offset for both names before."""
    return path.rename(path.with_name(path.name + ASIDE))


def unread_lines(folder: Path, offsets: Mapping[str, int], id: str) -> Iterator[bytes]:
    """Whole lines with that request id which are not ingested, or seem to hold it.

    Raises: FileNotFoundError if a segment went meanwhile; then ask again, from the state on.
    """
    mark = b'"id":' + json.dumps(id).encode()
    for each in segments(folder, offsets):
        if each.left > 0:
            yield from _lines_with(each, mark)


def unread_ids(folder: Path, offsets: Mapping[str, int]) -> set[str]:
    """Request ids of what is not ingested; none at all of a backlog beyond MAX_SCANNED bytes.

    Raises: FileNotFoundError if a segment went meanwhile.
    """
    found: set[str] = set()
    waiting = [each for each in segments(folder, offsets) if each.left > 0]
    if sum(each.left for each in waiting) > MAX_SCANNED:
        return found
    for each in waiting:
        with each.path.open("rb") as file:
            file.seek(each.offset)
            found.update(id.decode("utf-8", "replace") for id in _ID.findall(file.read(each.left)))
    return found


def _lines_with(segment: Unread, mark: bytes) -> Iterator[bytes]:
    with segment.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        place = data.find(mark, segment.offset)
        while place >= 0:
            begin, end = data.rfind(b"\n", 0, place) + 1, data.find(b"\n", place)
            if end < 0:  # still being written
                return
            yield data[begin:end]
            place = data.find(mark, end)
