"""A rule's text cut into tokens: the part of CEL's lexis that rules use, and `=` for the tests' arguments."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tuneline.errors import SpecError

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<number>(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?u?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<sign>&&|\|\||[<>=!]=|[-+*/%!<>?:.,()\[\]{}=])""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Token:
    """`kind`: string, number, name or sign. `at`: its first character's place in the rule."""

    kind: str
    text: str
    at: int


def tokens_of(text: str) -> list[Token]:
    """The tokens without spaces and comments. Raises: SpecError for a character that no token starts with."""
    tokens, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise SpecError(f"character {at + 1}, {text[at]!r}, is not understood")
        if match.lastgroup != "space":
            tokens.append(Token(str(match.lastgroup), match.group(), at))
        at = match.end()
    if not tokens:
        raise SpecError("the rule is empty")
    return tokens


def text_at(tokens: Sequence[Token], at: int) -> str:
    """Of token `at`; empty after the end."""
    return tokens[at].text if at < len(tokens) else ""


def kind_at(tokens: Sequence[Token], at: int) -> str:
    """Of token `at`; empty after the end."""
    return tokens[at].kind if at < len(tokens) else ""
