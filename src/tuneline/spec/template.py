"""The text around a row's fields: parsed once, hashed, rendered. What training, evaluation, proof and serving
all share.

`{name}` is a field, `{{` and `}}` are braces. There is nothing else: no format specs, attributes or indices,
so a template means the same in Python, in polars and in any other program.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from string import Formatter
from typing import Any, NamedTuple

from tuneline.errors import SpecError
from tuneline.types import Digest, digest_json


class Rendered(NamedTuple):
    """A row as text."""

    prompt: str
    completion: str


class Piece(NamedTuple):
    """Literal text, then a field; the last piece of a template has none."""

    text: str
    field: str | None


@dataclass(frozen=True)
class Template:
    """A prompt and a completion with fields in them. `format` says whether rows are `prompt` or chat
    `messages`."""

    prompt: str
    completion: str
    format: str = "prompt"

    @property
    def hash(self) -> Digest:
        """The template's identity: training and serving must have the same."""
        return digest_json({"prompt": self.prompt, "completion": self.completion, "format": self.format})

    @cached_property
    def prompt_fields(self) -> tuple[str, ...]:
        """Fields of the prompt, each once, in order."""
        return fields_of(self.prompt)

    @cached_property
    def completion_fields(self) -> tuple[str, ...]:
        """Fields of the completion, each once, in order."""
        return fields_of(self.completion)

    @property
    def fields(self) -> tuple[str, ...]:
        """All fields, each once."""
        return tuple(dict.fromkeys(self.prompt_fields + self.completion_fields))

    def render(self, row: Mapping[str, Any]) -> Rendered:
        """The row's prompt and completion. Raises KeyError, naming a field that the row does not have."""
        return Rendered(fill(self.prompt, row), fill(self.completion, row))

    def render_prompt(self, row: Mapping[str, Any]) -> str:
        """The prompt alone: what an endpoint is asked."""
        return fill(self.prompt, row)


def pieces(text: str) -> tuple[Piece, ...]:
    """The parts of a template text.

    Raises: SpecError, saying what is wrong with it, for a lone brace, an empty field, or a field with a
    format.
    """
    found: list[Piece] = []
    try:
        for literal, name, spec, conversion in Formatter().parse(text):
            if name is not None and (spec or conversion or not name.isidentifier()):
                raise _bad_field(text, name, spec, conversion)
            found.append(Piece(literal, name))
    except ValueError as error:
        raise SpecError(
            f"{error} in the template {text!r}", hint="Write `{{` or `}}` for a brace itself."
        ) from None
    return tuple(found)


def fields_of(text: str) -> tuple[str, ...]:
    """The fields of a template text, each once, in order. Raises SpecError as `pieces` does."""
    return tuple(dict.fromkeys(piece.field for piece in pieces(text) if piece.field is not None))


def fill(text: str, row: Mapping[str, Any]) -> str:
    """The template text with the row's values in it. Raises KeyError, naming a missing field."""
    return "".join(
        piece.text + ("" if piece.field is None else str(row[piece.field])) for piece in pieces(text)
    )


def _bad_field(text: str, name: str, spec: str | None, conversion: str | None) -> SpecError:
    shown = name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
    return SpecError(
        f"`{{{shown}}}` is not a field in the template {text!r}",
        hint="A field is a column's name in braces, e.g. `{text}`; rename other columns with `data.columns`.",
    )
