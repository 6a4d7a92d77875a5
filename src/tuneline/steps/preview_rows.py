"""What a preview shows: rows and tokens as values, and the rows that are not used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from tuneline.steps.tables import INDEX, Table

SHOWN_CHARACTERS = 300
"""Of a dropped row."""


@dataclass(frozen=True)
class Token:
    """One token of a row."""

    id: int
    text: str
    """The part of the row's text it stands for; a special token's name; "" for the further bytes of one
    character.
    """
    trained: bool
    """Whether the model learns it, or only reads it."""


@dataclass(frozen=True)
class PreviewRow:
    """One row as it is trained on, or held out."""

    number: int
    """From 1, over all files; a header is not counted."""
    side: str
    """`train` or `test`."""
    label: str | None
    tokens: tuple[Token, ...]
    """None where code of the project's own reads the row."""
    line: str = ""
    """The row as that code gets it, as JSON."""

    @property
    def text(self) -> str:
        """The whole row, special tokens by name."""
        return self.line or "".join(token.text for token in self.tokens)


@dataclass(frozen=True)
class DroppedRow:
    """One row that is not used."""

    number: int
    reason: str
    fields: Mapping[str, str | None]
    """The columns the project reads, cut at `SHOWN_CHARACTERS`."""


def dropped_rows(
    table: Table, examples: Mapping[str, Sequence[int]], columns: Sequence[str]
) -> tuple[DroppedRow, ...]:
    """The rows of `examples` (reason to numbers) with those of `columns` that are there."""
    reasons = {number: reason for reason, found in examples.items() for number in found}
    names = [name for name in columns if name in table.schema]
    if not reasons or not names:
        return ()
    cut = [_cut(name, table.schema[name]) for name in names]
    rows = table.frame.filter((pl.col(INDEX) + 1).is_in(sorted(reasons))).select(INDEX, *cut)
    return tuple(
        DroppedRow(row[INDEX] + 1, reasons[row[INDEX] + 1], {name: row[name] for name in names})
        for row in rows.collect(engine="streaming").iter_rows(named=True)
    )


def _cut(name: str, kind: pl.DataType) -> pl.Expr:
    if kind.is_nested():
        return pl.when(pl.col(name).is_not_null()).then(pl.lit("...")).alias(name)
    return pl.col(name).cast(pl.String, strict=False).str.slice(0, SHOWN_CHARACTERS)
