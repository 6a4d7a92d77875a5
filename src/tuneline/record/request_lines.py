"""Request lines as a table: what a router wrote of each request, one JSON object a line, with types.

Pure. A line is good if it is an object with an `id` and a time `at`, and no column has a value of another
kind; keys that are no column are left out, columns that a line has not are null. docs/requests.md says what
each column means.
"""

import io
import json
from collections.abc import Mapping
from typing import Any

import polars as pl

SCHEMA: Mapping[str, type[pl.DataType]] = {
    "at": pl.Float64, "id": pl.String, "release": pl.String, "revision": pl.String, "method": pl.String,
    "path": pl.String, "status": pl.Int32, "ms": pl.Float64, "bytes_in": pl.Int64, "bytes_out": pl.Int64,
    "sticky": pl.String, "retries": pl.Int32, "override": pl.Boolean, "shadow_of": pl.String,
    "agrees": pl.Boolean, "request": pl.String, "response": pl.String,
}  # fmt: skip
"""Columns, as docs/requests.md has them."""

LATEST = 1e11
"""No time of a request is later, in Unix seconds."""

_BITS: Mapping[type[pl.DataType], int] = {pl.Int32: 31, pl.Int64: 63}


def read_lines(data: bytes) -> tuple[pl.DataFrame, int]:
    """The good lines of `data` in their order, with the columns of SCHEMA, and how many were not good."""
    lines = data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
    if not lines:
        return pl.DataFrame(schema=SCHEMA), 0
    try:
        frame = pl.read_ndjson(io.BytesIO(data), schema=SCHEMA)
    except (pl.exceptions.PolarsError, ValueError):
        return _one_by_one(data)
    good = pl.col("at").is_between(0.0, LATEST) & (pl.col("id").str.len_bytes() > 0)
    if frame.height != lines or not frame.select(good.fill_null(False).all()).item():
        return _one_by_one(data)
    return frame, 0


def parse_line(line: bytes) -> dict[str, Any] | None:
    """One line by its columns, None where it has none; None if it is not good."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not found.get("id") or found.get("at") is None:
        return None
    row: dict[str, Any] = {name: found.get(name) for name in SCHEMA}
    if not all(value is None or _fits(value, SCHEMA[name]) for name, value in row.items()):
        return None
    if not 0.0 <= row["at"] <= LATEST:
        return None
    return {name: _whole(value) for name, value in row.items()}


def _one_by_one(data: bytes) -> tuple[pl.DataFrame, int]:
    lines = [line for line in data.split(b"\n") if line.strip()]
    rows = [row for line in lines if (row := parse_line(line)) is not None]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row"), len(lines) - len(rows)


def _fits(value: Any, kind: type[pl.DataType]) -> bool:
    if isinstance(value, bool) or kind is pl.Boolean:
        return isinstance(value, bool) and kind is pl.Boolean
    if kind is pl.String:
        return isinstance(value, str)
    if kind is pl.Float64:
        return isinstance(value, int | float) and -1e300 < value < 1e300
    limit = 1 << _BITS[kind]
    return isinstance(value, int) and -limit <= value < limit


def _whole(value: Any) -> Any:
    """Half of a surrogate pair, which no table holds, as a question mark."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
