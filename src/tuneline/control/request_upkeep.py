"""What keeps the requests of an endpoint few in files and bounded in bytes: merging and forgetting.

`groups` decides, purely. Merged files stand beside what they replace for GRACE_S, for readers that had begun.
"""

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import takewhile
from pathlib import Path

import polars as pl

from tuneline.record import request_files as stored
from tuneline.record.request_files import Part

LOG = logging.getLogger("tuneline.control")
FULL_BYTES = 64 * 1024 * 1024
"""Of lines as they were written: a file is merged up to this, which bounds the memory that takes."""
MANY = 8
"""So many files of a kind, the newest of today, are merged into one."""
GRACE_S = 300.0
_SMALLEST = 16 * 1024


def keep_up(folder: Path, now: float, keep_s: float, keep_bytes: int) -> bool:
    """Forget what is too old or too much, then merge once; whether there is more to merge.

    folder: an endpoint's `requests`. now: Unix seconds. Raises: OSError, ResourceError.
    """
    parts, merged = stored.look(folder)
    for into in [into for into in merged if _age_s(into, now) >= GRACE_S]:
        _delete(merged.pop(into))
    kept, old, much = split(parts, now - keep_s, keep_bytes)
    for part in (*old, *much):
        _delete([*merged.get(part.path, ()), part.path])  # what was merged into it must not count again
    if much:
        said = "%s: %d files of requests are deleted to stay under %d bytes (monitor.keep_bytes)"
        LOG.warning(said, folder.parent.name, len(much), keep_bytes)
    _drop_litter(folder)
    todo = groups(kept, stored.day_of(now))
    if todo:
        _merge(folder, todo[0])
    return len(todo) > 1


def split(parts: Sequence[Part], oldest: float, keep_bytes: int) -> tuple[list[Part], list[Part], list[Part]]:
    """What stays; what is all before `oldest`, in Unix seconds; and the oldest of what is beyond
    `keep_bytes`."""
    old = [part for part in parts if part.max_at < oldest]
    rest = sorted((part for part in parts if part.max_at >= oldest), key=lambda part: part.max_at)
    total = 0
    for place in range(len(rest) - 1, -1, -1):
        total += rest[place].size_bytes
        if total > keep_bytes:
            return rest[place + 1 :], old, rest[: place + 1]
    return rest, old, []


def groups(parts: Sequence[Part], today: str) -> list[list[Part]]:
    """Which files of one day, in the order of their numbers, become one file each."""
    days: dict[str, list[Part]] = {}
    for part in parts:
        days.setdefault(part.day, []).append(part)
    found = []
    for day, mine in sorted(days.items()):
        ordered = sorted(mine, key=lambda part: part.first)
        group = _newest(ordered) if day >= today else _next(ordered)
        if len(group) > 1:
            found.append(group)
    return found


def _next(ordered: Sequence[Part]) -> list[Part]:
    """The first neighbours of a day that is over which fit into one file."""
    for place in range(len(ordered)):
        group, size = [], 0
        for part in ordered[place:]:
            size += part.raw_bytes
            if size > FULL_BYTES:
                break
            group.append(part)
        if len(group) > 1:
            return group
    return []


def _newest(ordered: Sequence[Part]) -> list[Part]:
    """The newest files of a day that goes on, if many are about as large: each line is then merged only once
    for each size."""
    small = list(takewhile(lambda part: part.raw_bytes < FULL_BYTES // 2, reversed(ordered)))
    for tier in range(_tier(FULL_BYTES) + 1):
        same = list(takewhile(partial(_is_within, tier), small))
        if len(same) >= MANY:
            return _next(same[::-1])
    return []


def _is_within(tier: int, part: Part) -> bool:
    return _tier(part.raw_bytes) <= tier


def _tier(raw_bytes: int) -> int:
    """Which size a file is of: each is eight times the one before."""
    return ((raw_bytes // _SMALLEST).bit_length() + 2) // 3


def _merge(folder: Path, group: Sequence[Part]) -> None:
    paths = [part.path for part in group]
    frame = pl.concat([pl.read_parquet(path) for path in paths], how="diagonal").sort("at")
    numbers = (group[0].first, group[-1].last)
    stored.write_part(folder, group[0].day, numbers, frame, sum(part.raw_bytes for part in group))


def _age_s(path: Path, now: float) -> float:
    try:
        return now - path.stat().st_mtime
    except FileNotFoundError:
        return GRACE_S


def _drop_litter(folder: Path) -> None:
    """Indexes whose file is gone, and days without files."""
    for path in stored.files(folder):
        if path.suffix == ".ids" and not path.with_suffix(".parquet").exists():
            path.unlink(missing_ok=True)
    for day in stored.days(folder):
        if not any(day.iterdir()):
            day.rmdir()


def _delete(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
        stored.ids_path(path).unlink(missing_ok=True)
