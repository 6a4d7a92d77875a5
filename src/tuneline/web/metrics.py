"""What an artifact shows: scalars, confusion matrices, ROC curves, tables, Markdown, HTML. Pure.

Artifacts are a user's: nothing of them is trusted to be what its type says. What does not fit is left out of
the picture and stays in the artifact. Limits: an artifact named `mlpipeline-ui-metadata` is read as KFP's
first version wrote it; of curves and tables the first MOST points and rows are drawn.
"""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup

MOST = 2000
LARGEST = 10**300
SIDE = 240
"""Of a curve's drawing, in its own units."""
HEATS = 9
"""Shades of a confusion matrix: class `heat0` to `heat9`."""
UI_METADATA = "mlpipeline-ui-metadata"
MAX_TEXT_BYTES = 1 << 20

Read = Callable[[], bytes | None]
"""The beginning of an artifact's content, up to MAX_TEXT_BYTES; None if it cannot be read."""

_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
"""HTML in Markdown is shown as text; links to scripts are none."""


@dataclass(frozen=True)
class Block:
    """One thing to show. kind: which of the template's forms."""

    kind: str
    title: str


@dataclass(frozen=True)
class Table(Block):
    """Rows of text; `head` may be empty."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Matrix(Block):
    """A confusion matrix: a row a true class, a cell (text, shade from 0 to HEATS)."""

    labels: tuple[str, ...]
    rows: tuple[tuple[tuple[str, int], ...], ...]


@dataclass(frozen=True)
class Curve(Block):
    """A ROC curve in a square of SIDE: points as SVG takes them, the area under it as text."""

    points: str
    area: str


@dataclass(frozen=True)
class Text(Block):
    """HTML that is safe to put into a page."""

    html: Markup


@dataclass(frozen=True)
class Frame(Block):
    """HTML of a user, to be shown in a frame that may do nothing to the page. html: None if it is the
    artifact's own file."""

    html: str | None


@dataclass(frozen=True)
class Board(Block):
    """Where TensorBoard finds its files."""

    folder: str


def blocks(artifact: Mapping[str, Any], read: Read) -> list[Block]:
    """What one artifact of a task's outputs shows; nothing for those that are only files."""
    name, metadata = str(artifact.get("name") or ""), artifact.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    kind = str(artifact.get("type") or "")
    if name == UI_METADATA:
        return list(_ui_metadata(_json(read())))
    if kind == "system.Metrics":
        return _scalars(name, metadata)
    if kind == "system.ClassificationMetrics":
        return list(_classification(name, metadata))
    if kind == "system.SlicedClassificationMetrics":
        return [
            block for title, part in _slices(metadata) for block in _classification(f"{name}: {title}", part)
        ]
    if kind == "system.Markdown":
        return [Text("text", name, markdown(_decoded(read())))]
    if kind == "system.HTML":
        return [Frame("frame", name, None)]
    return []


def scalars(metadata: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a metrics artifact's metadata."""
    return {str(key): value for key, value in metadata.items() if _number(value)}


def number(value: float) -> str:
    """A number for people: six digits; whole numbers as they are."""
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def markdown(text: str) -> Markup:
    """Markdown as safe HTML."""
    return Markup(_MARKDOWN.render(text))


def _scalars(name: str, metadata: Mapping[str, Any]) -> list[Block]:
    found = scalars(metadata)
    rows = tuple((key, number(value)) for key, value in found.items())
    return [Table("table", name, ("metric", "value"), rows)] if rows else []


def _classification(name: str, metadata: Mapping[str, Any]) -> Iterator[Block]:
    matrix, curve = metadata.get("confusionMatrix"), metadata.get("confidenceMetrics")
    if isinstance(matrix, Mapping):
        specs = _list(matrix.get("annotationSpecs"))
        labels = [str(spec.get("displayName", "")) for spec in specs if isinstance(spec, Mapping)]
        rows = [row.get("row") if isinstance(row, Mapping) else row for row in _list(matrix.get("rows"))]
        yield from _matrix(name, labels, rows)
    found = [point for point in _list(curve) if isinstance(point, Mapping)]
    yield from _curve(name, [(point.get("falsePositiveRate"), point.get("recall")) for point in found])


def _slices(metadata: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for part in _list(metadata.get("evaluationSlices")):
        found = part.get("sliceClassificationMetrics") if isinstance(part, Mapping) else None
        if isinstance(found, Mapping):
            yield str(part.get("slice", "")), found


def _matrix(name: str, labels: Sequence[str], rows: Iterable[Any]) -> Iterator[Matrix]:
    cells = [
        [value if _number(value) else 0.0 for value in islice(row, 100)]
        for row in islice(rows, 100)
        if isinstance(row, list)
    ]
    most = max((abs(value) for row in cells for value in row), default=0.0)
    if not cells or not math.isfinite(most):
        return
    titles = tuple(
        labels[place] if place < len(labels) else str(place) for place in range(max(map(len, cells)))
    )
    shaded = tuple(
        tuple((number(value), round(HEATS * abs(value) / (most or 1))) for value in row) for row in cells
    )
    yield Matrix("matrix", name, titles, shaded)


def _curve(name: str, points: Iterable[tuple[Any, Any]]) -> Iterator[Curve]:
    known = sorted((float(x), float(y)) for x, y in points if _rate(x) and _rate(y))[:MOST]
    if len(known) < 2:
        return
    area = sum((x2 - x1) * (y1 + y2) / 2 for (x1, y1), (x2, y2) in pairwise(known))
    drawn = " ".join(f"{SIDE * x:.1f},{SIDE * (1 - y):.1f}" for x, y in known)
    yield Curve("curve", name, drawn, f"{area:.4f}")


def _ui_metadata(body: Any) -> Iterator[Block]:
    for output in _list(body.get("outputs")) if isinstance(body, Mapping) else ():
        if isinstance(output, Mapping):
            yield from _v1_output(output)


def _v1_output(output: Mapping[str, Any]) -> Iterator[Block]:
    kind, source = str(output.get("type") or ""), str(output.get("source") or "")
    inline = output.get("storage") == "inline"
    rows = _rows(source) if inline and kind in ("table", "roc", "confusion_matrix") else ()
    if kind == "tensorboard":
        yield Board("board", "TensorBoard", source)
    elif not inline:
        yield Table("table", kind, ("source",), ((source,),))
    elif kind == "markdown":
        yield Text("text", kind, markdown(source))
    elif kind == "web-app":
        yield Frame("frame", kind, source)
    elif kind == "table":
        yield Table("table", kind, tuple(map(str, _list(output.get("header")))), rows)
    elif kind == "roc":
        yield from _curve(kind, [(_float(row[0]), _float(row[1])) for row in rows if len(row) > 1])
    elif kind == "confusion_matrix":
        yield from _v1_matrix([str(label) for label in _list(output.get("labels"))], rows)


def _rows(source: str) -> tuple[tuple[str, ...], ...]:
    try:
        return tuple(tuple(row) for row in islice(csv.reader(io.StringIO(source)), MOST))
    except csv.Error:  # a field longer than a table's may be
        return ()


def _v1_matrix(labels: list[str], rows: Iterable[Sequence[str]]) -> Iterator[Matrix]:
    """Rows are (true class, predicted class, count)."""
    counts = {(row[0], row[1]): _float(row[2]) for row in rows if len(row) > 2}
    names = labels or list(dict.fromkeys(name for pair in counts for name in pair))
    grid = [[_whole(counts.get((actual, guess))) for guess in names] for actual in names]
    yield from _matrix("confusion_matrix", names, grid)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: Any) -> bool:
    """Whether it is one that a float holds: a JSON integer may have any number of digits."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return isinstance(value, float) or abs(value) < LARGEST


def _rate(value: Any) -> bool:
    return _number(value) and math.isfinite(value) and -0.001 <= value <= 1.001


def _whole(value: float | None) -> float:
    return 0 if value is None else int(value) if value.is_integer() else value


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _json(data: bytes | None) -> Any:
    try:
        return json.loads(data or b"null")
    except (ValueError, RecursionError):
        return None


def _decoded(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "replace")
