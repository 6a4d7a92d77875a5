"""What a project's data section asks of every row, as polars expressions: is it fit, what is its text, what
its identity.

Two kinds of rows come out: prompt and completion, or messages. Nothing here reads files or decides between
rows.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from tuneline.spec.template import Template, fields_of, pieces
from tuneline.spec.where import columns_of, parse_where
from tuneline.steps.conversations import COLUMNS, Unfit, messages_of
from tuneline.steps.row_text import FIELD, PART, input_number, normalise, normalised, row_digest
from tuneline.steps.tables import INDEX, Table
from tuneline.steps.where_filter import filter_of

REASONS = (
    "kept",
    "where",
    "null",
    "blank",
    "unmapped",
    "oversize",
    "shape",
    "duplicate",
    "conflicting",
    "too_long",
    "limit",
    "type",
    "trained",
)
"""Why a row is not used, by number; 0 is none. The docs explain each."""
CODE = {reason: number for number, reason in enumerate(REASONS)}
FIELD_LIMIT_BYTES = 1 << 20
"""A longer field is no text for a model; its row is dropped as `oversize`."""


@dataclass(frozen=True)
class Recipe:
    """The parameters of `prepare` that say what a row becomes."""

    where: str = ""
    map: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    format: str = "prompt"
    prompt: str = ""
    completion: str = ""
    label: str = ""
    keep: tuple[str, ...] = ()
    task: str = "classify"

    @property
    def chat(self) -> bool:
        """Whether rows become messages."""
        return self.format in ("messages", "sharegpt") or (self.format == "alpaca" and not self.prompt)

    @property
    def template(self) -> Template:
        """The template rows are written with; blank for messages, which the model's own chat template
        writes."""
        return Template("", "", "messages") if self.chat else Template(self.prompt, self.completion, "prompt")

    @property
    def label_column(self) -> str:
        """The column with the class; "" for messages whose answer is the class."""
        if self.label or self.chat:
            return self.label
        fields = fields_of(self.completion)
        return fields[0] if len(fields) == 1 and self.task == "classify" else ""

    @property
    def optional(self) -> tuple[str, ...]:
        """Columns that may be empty, or not be there at all."""
        return COLUMNS[self.format][1] if self.format in COLUMNS else ()

    def wanted(self) -> dict[str, str]:
        """Every column that must be there, and the key that wants it."""
        found: dict[str, str] = {}
        if self.where.strip():
            found |= dict.fromkeys(columns_of(parse_where(self.where)), "data.where")
        found |= dict.fromkeys(self.map, "data.map")
        if self.chat:
            found |= dict.fromkeys(COLUMNS[self.format][0], f"data.format: {self.format}")
        else:
            template = self.template
            found |= dict.fromkeys(template.completion_fields, "data.completion")
            found |= dict.fromkeys(template.prompt_fields, "data.prompt")
        found |= {self.label: "data.label"} if self.label else {}
        found |= dict.fromkeys(self.keep, "data.keep")
        return {name: why for name, why in found.items() if name not in self.optional}


def surveyed(table: Table, recipe: Recipe) -> pl.LazyFrame:
    """For every row, in order: `reason` (UInt8), `input` (UInt64) and `row` (16 UInt8); see
    `row_text`."""
    taken, frame = _taken(recipe), table.frame
    if recipe.chat:
        parts = _conversation_parts(table, recipe)
        frame = frame.with_columns(__parts=parts)
        fit = pl.col("__parts").struct.field("reason")
        asked, said = pl.col("__parts").struct.field("input"), pl.col("__parts").struct.field("answer")
        frame = frame.select(
            __fit=fit, __taken=taken, __input=asked, __answer=said, __label=_label_code(table, recipe)
        )
        fit = pl.when(pl.col("__fit") > 0).then("__fit").otherwise("__label")
    else:
        frame = frame.select(__taken=taken, __raw=_raw_code(table, recipe), **_normal_fields(table, recipe))
        fit = pl.when(pl.col("__raw") > 0).then("__raw").when(_blank(recipe)).then(CODE["blank"]).otherwise(0)
        frame = frame.with_columns(
            __input=_joined(_input_fields(recipe)), __answer=_joined(_answer_fields(recipe))
        )
    reason = pl.when(~pl.col("__taken")).then(CODE["where"]).otherwise(fit).cast(pl.UInt8)
    whole = pl.concat_str("__input", pl.lit(PART), "__answer", ignore_nulls=True)
    asked = pl.col("__input").fill_null("")
    return frame.select(reason=reason, input=input_number(asked), row=row_digest(whole))


def written(table: Table, recipe: Recipe) -> pl.LazyFrame:
    """For every row, in order: `INDEX`, `prompt`, `completion`, `messages`, `label` and kept columns, as they
    are trained on. Rows that the survey found unfit have nulls in it."""
    text: dict[str, pl.Expr]
    if recipe.chat:
        parts = _conversation_parts(table, recipe)
        text = {
            "prompt": pl.lit(None, dtype=pl.String), "completion": pl.lit(None, dtype=pl.String),
            "messages": parts.struct.field("messages"),
        }  # fmt: skip
        answer = parts.struct.field("last") if recipe.task == "classify" else pl.lit(None, dtype=pl.String)
        label = _value(table, recipe, recipe.label) if recipe.label else answer
    else:
        text = {
            "prompt": _filled(table, recipe, recipe.prompt),
            "completion": _filled(table, recipe, recipe.completion),
            "messages": pl.lit(None, dtype=pl.String),
        }  # fmt: skip
        column = recipe.label_column
        label = _value(table, recipe, column) if column else pl.lit(None, dtype=pl.String)
    kept = {f"keep_{name}": _value(table, recipe, name) for name in recipe.keep}
    return table.frame.select(pl.col(INDEX), **text, label=label, **kept)


def _raw_code(table: Table, recipe: Recipe) -> pl.Expr:
    """What can be told of a prompt row before its text is normalised."""
    names = [name for name in _used(recipe) if name not in recipe.optional]
    nulls = pl.any_horizontal([pl.col(name).is_null() for name in names])
    unmapped = [
        _value(table, recipe, name).is_null() for name in (*names, *recipe.keep) if name in recipe.map
    ]
    texts = [_value(table, recipe, name) for name in _used(recipe) if name in table.schema]
    large = pl.any_horizontal([(text.str.len_bytes() > FIELD_LIMIT_BYTES).fill_null(False) for text in texts])
    bad_value = pl.any_horizontal(unmapped) if unmapped else pl.lit(False)
    code = pl.when(nulls).then(CODE["null"]).when(bad_value).then(CODE["unmapped"])
    return code.when(large).then(CODE["oversize"]).otherwise(0)


def _label_code(table: Table, recipe: Recipe) -> pl.Expr:
    """What is wrong with the label of a conversation."""
    code: pl.Expr = pl.lit(0)
    for name in (recipe.label, *recipe.keep):
        if name in recipe.map:
            code = pl.when(_value(table, recipe, name).is_null()).then(CODE["unmapped"]).otherwise(code)
    return (
        pl.when(pl.col(recipe.label).is_null()).then(CODE["null"]).otherwise(code) if recipe.label else code
    )


def _used(recipe: Recipe) -> tuple[str, ...]:
    label = (recipe.label_column,) if recipe.label_column else ()
    return tuple(dict.fromkeys((*recipe.template.fields, *label)))


def _input_fields(recipe: Recipe) -> tuple[str, ...]:
    return tuple(sorted(recipe.template.prompt_fields))


def _answer_fields(recipe: Recipe) -> tuple[str, ...]:
    return tuple(sorted(recipe.template.completion_fields))


def _normal_fields(table: Table, recipe: Recipe) -> dict[str, pl.Expr]:
    found = {}
    for name in _used(recipe):
        if name in recipe.map:  # a few values, normalised once each
            names = {old: normalise(new) for old, new in recipe.map[name].items()}
            found[f"__n_{name}"] = mapped(pl.col(name).cast(pl.String), names)
        else:
            found[f"__n_{name}"] = normalised(_small(table, recipe, name))
    return found


def _small(table: Table, recipe: Recipe, name: str) -> pl.Expr:
    """A field's value, or nothing where to normalise it is in vain: a row not taken, a field too large."""
    value = _value(table, recipe, name)
    return pl.when(_taken(recipe) & (value.str.len_bytes() <= FIELD_LIMIT_BYTES)).then(value)


def _taken(recipe: Recipe) -> pl.Expr:
    return filter_of(parse_where(recipe.where)) if recipe.where.strip() else pl.lit(True)


def _blank(recipe: Recipe) -> pl.Expr:
    return pl.any_horizontal(
        [pl.col(f"__n_{name}") == "" for name in _used(recipe) if name not in recipe.optional]
    )


def _joined(fields: tuple[str, ...]) -> pl.Expr:
    if len(fields) == 1:
        return pl.col(f"__n_{fields[0]}")
    return pl.concat_str([pl.col(f"__n_{name}").fill_null("") for name in fields], separator=FIELD)


def _value(table: Table, recipe: Recipe, name: str) -> pl.Expr:
    """A column as text, with `map` applied: null where a value is not in the map."""
    if name not in table.schema:
        return pl.lit("")  # an optional column that is not there
    text = pl.col(name).cast(pl.String)
    if name in recipe.optional:
        text = text.fill_null("")
    return mapped(text, recipe.map[name]) if name in recipe.map else text


def mapped(text: pl.Expr, names: Mapping[str, str]) -> pl.Expr:
    """`names` applied to a column; null for a value it does not have."""
    old, new = list(names), list(names.values())
    if len(old) <= 8:
        code = pl.when(text == old[0]).then(pl.lit(new[0]))
        for index in range(1, len(old)):
            code = code.when(text == old[index]).then(pl.lit(new[index]))  # type: ignore[assignment]
        return code.otherwise(None)
    # inside a batch: as a lazy expression, replace_strict would make polars hold the whole column
    return text.map_batches(
        lambda batch: batch.replace_strict(old, new, default=None, return_dtype=pl.String),
        return_dtype=pl.String,
        is_elementwise=True,
    )


def _filled(table: Table, recipe: Recipe, text: str) -> pl.Expr:
    parts: list[pl.Expr] = []
    for piece in pieces(text):
        parts += [pl.lit(piece.text)] if piece.text else []
        parts += [_value(table, recipe, piece.field)] if piece.field is not None else []
    return pl.concat_str(parts)


_PARTS = pl.Struct(
    {"reason": pl.UInt8, "input": pl.String, "answer": pl.String, "last": pl.String, "messages": pl.String}
)


def _conversation_parts(table: Table, recipe: Recipe) -> pl.Expr:
    needed, optional = COLUMNS[recipe.format]
    names = [*needed, *(name for name in optional if name in table.schema)]

    def parts(rows: pl.Series) -> pl.Series:
        return pl.Series([_conversation(row, recipe.format) for row in rows.to_list()], dtype=_PARTS)

    return pl.struct(names).map_batches(parts, return_dtype=_PARTS, is_elementwise=True)


def _conversation(row: Mapping[str, Any], format: str) -> dict[str, Any]:
    try:
        messages = messages_of(row, format)
    except Unfit as unfit:
        return {"reason": CODE[unfit.reason], "input": None, "answer": None, "last": None, "messages": None}
    if sum(len(message["content"]) for message in messages) > FIELD_LIMIT_BYTES:
        return {"reason": CODE["oversize"], "input": None, "answer": None, "last": None, "messages": None}
    asked = FIELD.join(
        text for message in messages[:-1] for text in (message["role"], normalise(message["content"]))
    )
    last = messages[-1]["content"]
    return {
        "reason": 0, "input": asked, "answer": normalise(last), "last": last.strip(),
        "messages": json.dumps(messages, ensure_ascii=False, separators=(",", ":")),
    }  # fmt: skip
