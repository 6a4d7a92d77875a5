"""The requests of one endpoint on the disk: Parquet files by day, each with an index of its ids.

    requests/state.json                      how far every segment was read, and which files count
    requests/2026-11-26/00000012-00000040.parquet   what was ingested under the numbers 12 to 40
    requests/2026-11-26/00000012-00000040.ids       where in it which id is

A file counts once its numbers are below `next` in `state.json`: replacing that one small file is how an
ingestion is committed, lines and offsets at once. A file whose numbers lie within those of another one of the
same day was merged into that one, and does not count any more. So a reader needs no lock: it looks at the
state, then at the names. One writer (`control.ingesting`), any number of readers.

An index is a head (`_HEAD`), the ids' 64-bit hashes in order, and their rows: a lookup is a binary search in
a mapped file, and one row group read.
"""

import json
import os
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from polars_hash import NonCryptographicHashingNameSpace

from tuneline.errors import ResourceError
from tuneline.record.request_lines import SCHEMA

STATE = "state.json"
SCRATCH = (".tmp", ".idstmp")
"""Endings of files that are being written."""
GROUP_BYTES = 4 * 1024 * 1024
"""Of lines as they were written, in a row group: what a lookup reads."""
MAX_FOUND = 20
"""How many rows of one file a lookup gives; ids may be the client's own, and all the same."""
_NAME = re.compile(r"(\d{8,})-(\d{8,})\.parquet")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_HEAD = struct.Struct("<8sQQdd")
_MAGIC = b"tlids\x00\x00\x01"


@dataclass(frozen=True)
class State:
    """What was committed last."""

    next: int = 1
    """The next file's number."""
    segments: Mapping[str, int] = field(default_factory=dict)
    """How many bytes of each segment were read, by its file's name."""
    lines: int = 0
    """Good lines since the beginning."""
    malformed: int = 0
    """Lines that were not good, since the beginning."""


@dataclass(frozen=True)
class Part:
    """One Parquet file."""

    path: Path
    first: int
    last: int
    rows: int
    raw_bytes: int
    """Of the lines it was made of, about."""
    min_at: float
    max_at: float

    @property
    def day(self) -> str:
        """Its folder's name."""
        return self.path.parent.name

    @property
    def size_bytes(self) -> int:
        """On the disk, with its index; 0 if it is gone."""
        return sum(_size(path) for path in (self.path, ids_path(self.path)))


def read_state(folder: Path) -> State:
    """What was committed in `folder` (an endpoint's `requests`). Raises: ResourceError if it is no state."""
    path = folder / STATE
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        segments = {str(name): int(offset) for name, offset in body["segments"].items()}
        return State(int(body["next"]), segments, int(body["lines"]), int(body["malformed"]))
    except FileNotFoundError:
        return State()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResourceError(
            f"{path} cannot be read: {type(error).__name__}. No more requests of this endpoint are ingested.",
            hint=f"Move the folder {folder} away: what segments still have is then read anew.",
        ) from error


def write_state(folder: Path, state: State) -> None:
    """Commit. Raises OSError, and then nothing was."""
    folder.mkdir(parents=True, exist_ok=True)
    body = {"version": 1, **vars(state), "segments": dict(state.segments)}
    scratch = folder / f"{STATE}.tmp"
    with scratch.open("w", encoding="utf-8") as file:
        json.dump(body, file)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(folder / STATE)
    _sync_folder(folder)


def write_part(folder: Path, day: str, numbers: tuple[int, int], frame: pl.DataFrame, raw_bytes: int) -> Path:
    """Write rows as the file of these numbers (first, last), its index first; its path. Raises OSError."""
    into = folder / day
    into.mkdir(parents=True, exist_ok=True)
    path = into / f"{numbers[0]:08d}-{numbers[1]:08d}.parquet"
    write_ids(path, frame, raw_bytes)
    group = max(1, frame.height * GROUP_BYTES // max(raw_bytes, GROUP_BYTES))
    scratch = path.with_suffix(".tmp")
    frame.write_parquet(scratch, compression="zstd", row_group_size=group, statistics=True)
    _sync(scratch)
    scratch.replace(path)
    _sync_folder(into)
    return path


def write_ids(path: Path, frame: pl.DataFrame, raw_bytes: int) -> None:
    """Write the index of the Parquet file `path` with these rows. Raises OSError."""
    hashes = _hashes(frame["id"])
    order = np.argsort(hashes, kind="stable").astype("<u4")
    low, high = frame.select(low=pl.col("at").min(), high=pl.col("at").max()).row(0)
    scratch = ids_path(path).with_suffix(".idstmp")
    with scratch.open("wb") as file:
        file.write(_HEAD.pack(_MAGIC, frame.height, raw_bytes, low or 0.0, high or 0.0))
        file.write(hashes[order].astype("<u8").tobytes())
        file.write(order.tobytes())
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(ids_path(path))


def ids_path(path: Path) -> Path:
    """The index of a Parquet file."""
    return path.with_suffix(".ids")


def numbers_of(path: Path) -> tuple[int, int] | None:
    """The numbers in a Parquet file's name; None if it is none of ours."""
    found = _NAME.fullmatch(path.name)
    return (int(found[1]), int(found[2])) if found else None


def days(folder: Path) -> list[Path]:
    """The folders of days, the earliest first."""
    return sorted(day for day in folder.iterdir() if _DAY.fullmatch(day.name)) if folder.is_dir() else []


def files(folder: Path) -> Iterator[Path]:
    """Every file in the days of `folder`, whether it counts or not."""
    for day in days(folder):
        yield from sorted(day.iterdir())


def parts(folder: Path) -> list[Part]:
    """The files that count, by day and number. Raises: ResourceError if the state cannot be read."""
    return look(folder)[0]


def look(folder: Path) -> tuple[list[Part], dict[Path, list[Path]]]:
    """The files that count, and for some of them the files that were merged into them.

    Raises: ResourceError if the state cannot be read.
    """
    state = read_state(folder)  # before the names: what is committed later is left for the next look
    by_day: dict[str, list[tuple[int, int, Path]]] = {}
    for path in files(folder):
        numbers = numbers_of(path)
        if numbers is not None and numbers[1] < state.next:
            by_day.setdefault(path.parent.name, []).append((*numbers, path))
    found: list[Part] = []
    merged: dict[Path, list[Path]] = {}
    for each in by_day.values():
        reach, into = -1, Path()
        for first, last, path in sorted(each, key=lambda one: (one[0], -one[1])):
            if last <= reach:
                merged.setdefault(into, []).append(path)
                continue
            reach, into = last, path
            part = _part(path, first, last)
            if part is not None:
                found.append(part)
    return found, merged


def _part(path: Path, first: int, last: int) -> Part | None:
    """None if the file is gone: merged or too old, since its name was read."""
    for _ in range(2):
        try:
            with ids_path(path).open("rb") as file:
                magic, rows, raw_bytes, low, high = _HEAD.unpack(file.read(_HEAD.size))
            if magic == _MAGIC:
                return Part(path, first, last, rows, raw_bytes, low, high)
        except (FileNotFoundError, struct.error):
            pass
        try:
            frame = pl.read_parquet(path, columns=["id", "at"])
        except FileNotFoundError:
            return None
        write_ids(path, frame, frame.height * 200)
    return None


def between(folder: Path, since: float, until: float) -> pl.LazyFrame:
    """Rows with `since <= at < until` (Unix seconds), in no order, with the columns of SCHEMA.

    Collect it within minutes: files are merged, and deleted some time after that.
    """
    paths = [part.path for part in parts(folder) if part.min_at < until and part.max_at >= since]
    if not paths:
        return pl.LazyFrame(schema=SCHEMA)
    frame = pl.scan_parquet(paths, schema=dict(SCHEMA), missing_columns="insert", extra_columns="ignore")
    return frame.filter((pl.col("at") >= since) & (pl.col("at") < until))


def requests_of(endpoints: Path, endpoint: str, since: float, until: float) -> pl.LazyFrame:
    """`between` of an endpoint by its name. endpoints: the folder of all of them (`Settings.endpoints`)."""
    return between(endpoints / endpoint / "requests", since, until)


def find(folder: Path, id: str) -> list[dict[str, Any]]:
    """The rows of a request id, the latest first.

    Raises: FileNotFoundError if a file went while it was read; then ask again.
    """
    wanted = _hashes(pl.Series([id]))[0]
    found: list[dict[str, Any]] = []
    for part in parts(folder):
        rows = _rows_of(part, wanted)
        for row in rows[:MAX_FOUND]:
            frame = pl.scan_parquet(part.path, missing_columns="insert", schema=dict(SCHEMA))
            found += [each for each in frame.slice(int(row), 1).collect().to_dicts() if each["id"] == id]
    return sorted(found, key=lambda row: row["at"], reverse=True)


def having(folder: Path, ids: Sequence[str]) -> set[str]:
    """Those of `ids` that have a row, by their hashes: one in 10^18 is said to have one and has none.

    Raises: FileNotFoundError if a file went while it was read; then ask again.
    """
    missing = np.ones(len(ids), bool)
    wanted = _hashes(pl.Series(list(ids), dtype=pl.String))
    for part in parts(folder):
        if not missing.any():
            break
        hashes = _hashes_of(part)
        places = np.searchsorted(hashes, wanted[missing])
        missing[missing] = hashes[np.minimum(places, part.rows - 1)] != wanted[missing]
    return {id for id, left_out in zip(ids, missing, strict=True) if not left_out}


def _hashes_of(part: Part) -> "np.ndarray[Any, np.dtype[np.uint64]]":
    return np.memmap(ids_path(part.path), "<u8", "r", _HEAD.size, (part.rows,))


def _rows_of(part: Part, wanted: np.uint64) -> "np.ndarray[Any, np.dtype[np.uint32]]":
    hashes = _hashes_of(part)
    low, high = np.searchsorted(hashes, wanted, "left"), np.searchsorted(hashes, wanted, "right")
    if low == high:
        return np.empty(0, "<u4")
    return np.memmap(ids_path(part.path), "<u4", "r", _HEAD.size + 8 * part.rows, (part.rows,))[low:high]


def day_of(at: float) -> str:
    """The UTC day of a time, as folders are called."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


def _hashes(ids: pl.Series) -> "np.ndarray[Any, np.dtype[np.uint64]]":
    """XXH3 of each id: the same in every version of every program that has it."""
    hashed = NonCryptographicHashingNameSpace(pl.col("id")).xxh3_64()
    return pl.DataFrame({"id": ids}).select(hashed).to_series().to_numpy().astype(np.uint64)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


_sync_folder = _sync
