"""Requests of an endpoint as they lie in Parquet files: which there are, and the bodies of some. Read only.

`record.request_files` says which files count, so that a request in a file and in what it was merged into is
one. File by file: ids, times and sessions of at most `MAX_LINES` are held; bodies are read for those asked
for. polars is imported with this module, so import it late.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path
from typing import Any

import polars as pl

from tuneline.plan.drift_watch import id_hash
from tuneline.record.request_files import parts

LOG = logging.getLogger("tuneline.control")
FOLDER = "requests"
MAX_LINES = 100_000
"""Of which so many are held at most, and as many as one file has."""
_LIGHT = ("id", "at", "sticky", "release", "method", "override", "shadow_of")
_WHOLE = ("id", "at", "path", "status", "request", "response")


@dataclass(frozen=True)
class Line:
    """One request that counts: a POST that traffic sent to the release, no copy and no override."""

    at: float
    """Unix seconds when it began."""
    id: str
    session: str
    """A digest of its sticky key; empty if it had none."""


@dataclass(frozen=True)
class Lines:
    """Requests of a time."""

    lines: list[Line]
    """In time order; at most `MAX_LINES`."""
    total: int
    """How many there were."""


def lines(endpoint: Path, release: str, after: float, until: float, *, first: bool = False) -> Lines:
    """Requests of `release` that began in (after, until]. endpoint: its folder.

    Of too many, those with the smallest hash of their id are kept, which says nothing about them; with
    `first`, the earliest.
    """
    found: list[Line] = []
    total = 0
    order: Callable[[Line], Any] = _by_time if first else _by_hash
    for file in _files(endpoint / FOLDER, after, until):
        frame = _read(file, _LIGHT, (pl.col("at") > after) & (pl.col("at") <= until))
        if frame is None:
            continue
        for row in frame.iter_rows(named=True):
            counts = row["release"] == release and row["method"] == "POST"
            if counts and not row.get("override") and not row.get("shadow_of"):
                found.append(Line(float(row["at"]), str(row["id"]), str(row.get("sticky") or "")))
                total += 1
        if len(found) > MAX_LINES:
            found = nsmallest(MAX_LINES, found, key=order)
    return Lines(sorted(found, key=_by_time), total)


def _by_time(line: Line) -> tuple[float, str]:
    return line.at, line.id


def _by_hash(line: Line) -> bytes:
    return id_hash(line.id)


def rows(endpoint: Path, wanted: Collection[Line]) -> list[dict[str, Any]]:
    """Path, status and bodies of the requests `wanted`, in time order."""
    if not wanted:
        return []
    ids = {line.id for line in wanted}
    first, last = min(line.at for line in wanted), max(line.at for line in wanted)
    found: dict[str, dict[str, Any]] = {}
    between = (pl.col("at") >= first) & (pl.col("at") <= last)
    for file in _files(endpoint / FOLDER, first, last):
        frame = _read(file, (*_WHOLE, "shadow_of"), between, ids)
        for row in [] if frame is None else frame.iter_rows(named=True):
            if not row.get("shadow_of"):  # a copy has its request's id
                found[str(row["id"])] = row
    return sorted(found.values(), key=lambda row: (row["at"], row["id"]))


def _files(folder: Path, after: float, until: float) -> list[Path]:
    """The files that count, with requests of that time."""
    return [part.path for part in parts(folder) if part.min_at <= until and part.max_at >= after]


def _read(
    file: Path, columns: Collection[str], where: pl.Expr, ids: Collection[str] | None = None
) -> pl.DataFrame | None:
    """The rows of one file, of these ids if given.

    None for one that cannot be read: it may be deleted or replaced just now.
    """
    try:
        lazy = pl.scan_parquet(file)
        there = lazy.collect_schema().names()
        wanted = [name for name in columns if name in there]
        lazy = lazy.filter(where)
        if ids is not None:  # `is_in` would look through all ids for every row
            lazy = lazy.join(pl.LazyFrame({"id": list(ids)}, {"id": pl.String}), on="id", how="semi")
        return lazy.select(wanted).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        LOG.warning("%s cannot be read and is left out: %s", file, error)
        return None
