"""Files of rows as one lazy table, and, when they cannot be read, where exactly they are broken.

Reading streams. CSV is all text, as it stands in the file; typed formats keep their types. Why a file broke
is looked for only after it broke, slowly and exactly: a fast reader knows that something is wrong, not where.
"""

import csv
import errno
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import polars as pl

from tuneline.errors import DataError, ResourceError

INDEX = "__row"
"""The column with the row's number, from 0, over all files in order of their names."""
for _format in (
    "CSV",
    "NDJSON",
):  # by default polars reads up to 100 MB ahead; it looks here at its first read
    os.environ.setdefault(f"POLARS_{_format}_CHUNK_SIZE", str(4 << 20))
    os.environ.setdefault(f"POLARS_{_format}_CHUNK_PREFETCH_LIMIT", "4")
_ONE_LIST = "It must be one list of objects."
_FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".parquet": "parquet"}


@dataclass(frozen=True)
class Table:
    """Rows of one or several files of one format."""

    frame: pl.LazyFrame
    """With `INDEX`."""
    schema: Mapping[str, pl.DataType]
    """Without `INDEX`."""
    files: tuple[Path, ...]
    format: str

    def require(self, columns: Mapping[str, str]) -> None:
        """Raises DataError, naming what there is and the nearest, if a column is not there.

        Args:
            columns: name to what wants it, e.g. `data.prompt`.
        """
        lacking = {name: why for name, why in columns.items() if name not in self.schema}
        if not lacking:
            return
        there = ", ".join(f"`{name}`" for name in self.schema)
        details = []
        for name, why in lacking.items():
            close = get_close_matches(name, list(self.schema), n=1, cutoff=0.5)
            details.append(
                f"no column `{name}`, which `{why}` names" + (f"; nearest: `{close[0]}`" if close else "")
            )
        raise DataError(
            f"{self.files[0].name} has {details[0]}. It has: {there}.",
            hint="Correct the name, or rename the column with `data.columns: {name here: name in the file}`.",
            details=details,
        )


def open_table(files: Sequence[Path], columns: Mapping[str, str]) -> Table:
    """The rows of `files`, with columns renamed: `columns` is new name to the name in the file.

    Raises: DataError if formats or columns differ, a file is empty or broken, or a column to rename is not
    there.
    """
    paths = sorted(files, key=lambda path: path.name)
    formats = {_FORMATS.get(path.suffix.lower(), "") for path in paths}
    if "" in formats:
        unknown = next(path for path in paths if path.suffix.lower() not in _FORMATS)
        raise DataError(f"{unknown.name} is of no format we read.", hint=f"We read {', '.join(_FORMATS)}.")
    if len(formats) > 1:
        raise DataError(
            f"The files are of several formats: {', '.join(sorted(formats))}.", hint="Give files of one."
        )
    kind = formats.pop()
    with explained(paths, kind):
        schema = _common_schema(paths, kind)
        frame = _scan(paths, kind)
    table = Table(frame, schema, tuple(paths), kind)
    return _renamed(table, columns) if columns else _indexed(table)


class explained:
    """Turns polars' errors into a DataError that says where the file is broken, or a ResourceError for a
    full disk.
    """

    def __init__(self, files: Sequence[Path], kind: str) -> None:
        self.files, self.kind = files, kind

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, pl.exceptions.PolarsError):
            return
        if any(f"os error {number}" in str(error) for number in (errno.ENOSPC, errno.EDQUOT)):
            raise ResourceError(
                "The disk is full: the rows could not be written.",
                hint="Free some space, then `tuneline runs retry`: what is finished stays finished.",
            ) from error
        for path in self.files:
            if (fault := find_fault(path, self.kind)) is not None:
                raise fault from error
        if isinstance(
            error, pl.exceptions.ComputeError | pl.exceptions.NoDataError
        ):  # any other is our own fault
            first = str(error).strip().splitlines()[0]
            raise DataError(
                f"{self.files[0].name} cannot be read as {self.kind}: {first}",
                hint="See what is wrong with the file.",
            ) from error


def find_fault(path: Path, kind: str) -> DataError | None:
    """The first place where a file is not what its name says; None if none is found. Slow: it reads line by
    line."""
    if kind == "parquet":
        return None
    if path.stat().st_size == 0:
        return DataError(f"{path.name} is empty.", hint="Give a file with rows in it.")
    fault = _not_utf8(path)
    if fault is not None:
        return fault
    return {"csv": _bad_csv, "jsonl": _bad_jsonl, "json": _bad_json}[kind](path)


def _scan(paths: Sequence[Path], kind: str) -> pl.LazyFrame:
    if kind == "csv":
        return pl.scan_csv(list(paths), infer_schema=False, glob=False)
    if kind == "jsonl":
        return pl.scan_ndjson(list(paths), infer_schema_length=None)
    if kind == "parquet":
        return pl.scan_parquet(list(paths), glob=False)
    return pl.concat([_read_json(path) for path in paths], how="diagonal_relaxed").lazy()


def _read_json(path: Path) -> pl.DataFrame:
    """One JSON value cannot be streamed; and polars would take a lone object for a row."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        listed = file.read(1000).lstrip().startswith("[")
    if not listed and path.stat().st_size:
        raise _bad_json(path) or DataError(f"{path.name}: not a list of objects.", hint=_ONE_LIST)
    return pl.read_json(path, infer_schema_length=None)


def _common_schema(paths: Sequence[Path], kind: str) -> Mapping[str, pl.DataType]:
    first = _scan(paths[:1], kind).collect_schema()
    if kind != "json":
        for path in paths[1:]:
            other = list(_scan([path], kind).collect_schema())
            if other != list(first) and kind != "jsonl":
                raise DataError(
                    f"{path.name} has columns {', '.join(other)}; {paths[0].name} has {', '.join(first)}.",
                    hint="Files of one glob must have the same columns, in one order.",
                )
        return dict(first) if kind != "jsonl" else dict(_scan(paths, kind).collect_schema())
    return dict(_scan(paths, kind).collect_schema())


def _indexed(table: Table) -> Table:
    return Table(table.frame.with_row_index(INDEX), table.schema, table.files, table.format)


def _renamed(table: Table, columns: Mapping[str, str]) -> Table:
    table.require({name: "data.columns" for name in columns.values()})
    olds = {old: new for new, old in columns.items()}
    clash = [new for new in columns if new in table.schema and new not in olds]
    if clash:
        raise DataError(
            f"`data.columns` gives a column the name `{clash[0]}`, which the file already has.",
            hint="Choose another name, or rename that one too.",
        )
    schema = {olds.get(name, name): kind for name, kind in table.schema.items()}
    return _indexed(Table(table.frame.rename(olds), schema, table.files, table.format))


def _not_utf8(path: Path) -> DataError | None:
    offset, line = 0, 0
    with path.open("rb") as file:
        for line, raw in enumerate(file, 1):
            try:
                raw.decode("utf-8")
            except UnicodeDecodeError as error:
                at = offset + error.start
                return DataError(
                    f"{path.name} is not UTF-8: line {line}, byte {at} is 0x{raw[error.start]:02x}.",
                    hint=f"Save it as UTF-8, e.g. `iconv -f WINDOWS-1252 -t UTF-8 {path.name}`.",
                )
            offset += len(raw)
    return None


def _bad_csv(path: Path) -> DataError | None:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        start = 1
        try:
            header = next(reader)
            start = reader.line_num + 1
            for fields in reader:
                if len(fields) > len(header):
                    return DataError(
                        f"{path.name}:{start}: a row has {len(fields)} fields, the header {len(header)}.",
                        hint="Put a field with a comma in it into double quotes.",
                    )
                start = reader.line_num + 1
        except csv.Error as error:
            what = "a quote that never closes" if "end of data" in str(error) else str(error)
            return DataError(
                f"{path.name}:{start}: the row that begins here has {what}.", hint="Correct the row."
            )
    return None


def _bad_jsonl(path: Path) -> DataError | None:
    with path.open(encoding="utf-8-sig") as file:
        for line, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                found = json.loads(text)
            except ValueError as error:
                return DataError(
                    f"{path.name}:{line}: not JSON: {error}.", hint="Every line must be one JSON object."
                )
            if not isinstance(found, dict):
                return DataError(
                    f"{path.name}:{line}: not a JSON object.", hint="Every line must be one JSON object."
                )
    return None


def _bad_json(path: Path) -> DataError | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        return DataError(f"{path.name}: not JSON: {error}.", hint=_ONE_LIST)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        return DataError(f"{path.name}: not a list of objects.", hint=_ONE_LIST)
    return None
