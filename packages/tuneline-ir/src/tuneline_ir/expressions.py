"""The subset of CEL that KFP's compilers write, from text to a frozen tree: conditions and selectors.

Limits: `inputs.parameter_values['name']`, `int(...)`, `double(...)`, `parseJson(...)` with keys and indexes,
comparisons, `&&`, `||`, `!`, parentheses, numbers, `true`, `false` and quoted texts. Everything else is
refused by name. Nothing is evaluated here.

The compilers put texts between quotes as they are, so `'it's "q"'` is what they write for `it's "q"`. A text
ends at its first quote, as in CEL, if a condition can go on behind it; otherwise at the first quote behind
which one can. Escapes are CEL's; a text that is no valid CEL is taken as it stands. A number that is compared
with a text is written as `'int(inputs.parameter_values['n'])'`, quotes and all: that is read as the text of
the value, which is what the compiler says it means.
"""

import re
from collections.abc import Callable
from typing import Never

from tuneline_ir.syntax import (
    Cast,
    Comparison,
    ConditionError,
    Expression,
    Json,
    Literal,
    Logic,
    Not,
    Parameter,
    short,
)

_Term = Callable[[], Expression]

VALUE_FIELDS = ("string_value", "number_value", "bool_value", "struct_value", "list_value")
"""The fields of protobuf's Value that a selector may start from."""

_DEPTH = 64
_SPACE = re.compile(r"\s*")
_OPERATOR = re.compile(r"==|!=|<=|>=|<|>")
_NUMBER = re.compile(r"-?(?:\d*\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\d+)(?![\w.])")
_NOT_FINITE = re.compile(r"-?inf\b|nan\b")
_NAME = re.compile(r"[A-Za-z_]\w*")
_PARAMETERS = re.compile(r"inputs\s*\.\s*parameter_values\s*\[\s*")
_INDEX = re.compile(r"\d+(?=\s*\])")
_STRICT = {quote: re.compile(rf"{quote}(?:[^{quote}\\\r\n]|\\.)*{quote}") for quote in "'\""}
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\?\"'`])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2}))"
)
_ESCAPED = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))
_QUOTED_READ = re.compile(r"(int\()?inputs\.parameter_values\['[^']*'\](?(1)\))")
_START = r"""(?:[!('"]|-?[\d.]|-?inf\b|nan\b|true\b|false\b|inputs\b|(?:int|double|parseJson)\s*\()"""
_JOINED = rf"(?:&&|\|\|)\s*{_START}"
_COMPARED = rf"(?:==|!=|<=|>=|<|>)\s*{_START}"
_AFTER_RIGHT = re.compile(rf"\s*(?:\Z|{_JOINED}|\)[\s)]*(?:\Z|{_JOINED}|{_COMPARED}))")
_AFTER_LEFT = re.compile(rf"\s*(?:\Z|{_JOINED}|{_COMPARED}|\)[\s)]*(?:\Z|{_JOINED}|{_COMPARED}))")
_REFUSED = {
    "+": "arithmetic (`+`)",
    "-": "arithmetic (`-`)",
    "*": "arithmetic (`*`)",
    "/": "arithmetic (`/`)",
    "%": "arithmetic (`%`)",
    "?": "a choice (`? :`)",
    ".": "a field (`.`) of this",
    "[": "an index (`[`) of this",
    "=": "`=` (equality is `==`)",
    "&": "`&` (both is `&&`)",
    "|": "`|` (either is `||`)",
}


def parse_expression(text: str) -> Expression:
    """The tree of a condition. Raises: ConditionError."""
    reader = _Reader(text, "condition")
    tree = reader.either()
    reader.end()
    return tree


def parse_path(text: str) -> tuple[str, bool, tuple[str | int, ...]]:
    """A selector as (field of Value, whether it is parsed as JSON, keys). Raises: ConditionError."""
    reader = _Reader(text, "selector")
    parsed = reader.take("parseJson")
    if parsed:
        reader.expect("(")
    field = reader.name()
    if field not in VALUE_FIELDS or (parsed and field != "string_value"):
        reader.refuse(f"`{field}`" if field else f"`{reader.rest()}`")
    if parsed:
        reader.expect(")")
    path = reader.path(dots=True)
    reader.end()
    return field, parsed, path


class _Reader:
    """Reads one text from left to right; `at` is the next character."""

    def __init__(self, text: str, what: str) -> None:
        self.text, self.what, self.at, self.depth = text, what, 0, 0

    def either(self) -> Expression:
        return self._joined("||", True, lambda: self._joined("&&", False, self._compared))

    def _joined(self, sign: str, decided_by: bool, term: _Term) -> Expression:
        terms = [term()]
        while self.take(sign):
            terms.append(term())
        return terms[0] if len(terms) == 1 else Logic(decided_by, tuple(terms))

    def _compared(self) -> Expression:
        left = self._unary(_AFTER_LEFT)
        operator = self._match(_OPERATOR)
        if operator is None:
            return left
        right = self._unary(_AFTER_RIGHT)
        if self._match(_OPERATOR) is not None:
            self.refuse("a chain of comparisons")
        return Comparison(operator, left, right)

    def _unary(self, after: re.Pattern[str]) -> Expression:
        if self.peek() != "!" or self.text.startswith("!=", self.at):
            return self._operand(after)
        self.at += 1
        return Not(self._nested(lambda: self._unary(after)))

    def _operand(self, after: re.Pattern[str]) -> Expression:
        character = self.peek()
        if character in ("'", '"'):
            return self._text(after)
        if self.take("("):
            return self._closed(self.either)
        number = self._match(_NUMBER)
        if number is not None:
            return Literal(self._number(number))
        if self._match(_PARAMETERS) is not None:
            name = self._strict_text()
            self.expect("]")
            return Parameter(name)
        return self._named()

    def _named(self) -> Expression:
        start = self.at
        infinite = self._match(_NOT_FINITE)
        if infinite is not None:
            return Literal(float(infinite))
        name = self.name()
        if name in ("true", "false"):
            return Literal(name == "true")
        if name in ("int", "double", "parseJson") and self.take("("):
            of = self._closed(lambda: self._operand(_AFTER_LEFT))
            return Json(of, self.path()) if name == "parseJson" else Cast(name, of)
        called = self.peek() == "("
        self.at = start
        if not name:
            character = self.peek()
            if not character or character in ")]&|=<>":
                self.fault("a value is missing")
            self.refuse(_REFUSED.get(character, f"`{self.rest()}`"))
        self.refuse(f"the function `{name}`" if called else f"`{name}`")

    def path(self, *, dots: bool = False) -> tuple[str | int, ...]:
        """`["key"]`, `[0]` and, with `dots`, `.key`, as often as they come."""
        keys: list[str | int] = []
        while True:
            if self.take("["):
                self.peek()
                index = self._match(_INDEX)
                keys.append(self._strict_text() if index is None else int(index[:18]))
                self.expect("]")
            elif dots and self.take("."):
                key = self.name()
                keys.append(key if key else self.fault("a name is missing behind `.`"))
            else:
                return tuple(keys)

    def _text(self, after: re.Pattern[str]) -> Expression:
        start, quote = self.at, self.text[self.at]
        strict = _STRICT[quote].match(self.text, start)
        if strict is not None and after.match(self.text, strict.end()):
            self.at = strict.end()
            return Literal(_unescaped(strict.group()[1:-1]))
        end = self.text.find(quote, start + 1)
        while end >= 0 and not after.match(self.text, end + 1):
            end = self.text.find(quote, end + 1)
        if end < 0:
            self.fault("a text has no closing quote behind which the condition goes on")
        self.at = end + 1
        body = self.text[start + 1 : end]
        if _QUOTED_READ.fullmatch(body):
            return Cast("text", parse_expression(body))
        return Literal(body)

    def _strict_text(self) -> str:
        found = _STRICT[self.peek()].match(self.text, self.at) if self.peek() in ("'", '"') else None
        if found is None:
            self.fault("a quoted name is missing")
        self.at = found.end()
        return _unescaped(found.group()[1:-1])

    def _number(self, digits: str) -> int | float:
        try:
            return int(digits) if digits.lstrip("-").isdigit() else float(digits)
        except ValueError:  # Python reads no integer of more than 4,300 digits
            self.fault("a number is too long")

    def _closed(self, inner: _Term) -> Expression:
        found = self._nested(inner)
        self.expect(")")
        return found

    def _nested(self, inner: _Term) -> Expression:
        self.depth += 1
        if self.depth > _DEPTH:
            self.fault(f"it is nested more than {_DEPTH} deep")
        found = inner()
        self.depth -= 1
        return found

    def peek(self) -> str:
        """The next character that is no space; "" at the end."""
        space = _SPACE.match(self.text, self.at)
        self.at = space.end() if space else self.at
        return self.text[self.at : self.at + 1]

    def take(self, sign: str) -> bool:
        """Whether `sign` comes next; then it is read."""
        self.peek()
        if not self.text.startswith(sign, self.at):
            return False
        self.at += len(sign)
        return True

    def expect(self, sign: str) -> None:
        """Read `sign`, or raise."""
        if not self.take(sign):
            if self.peek() in _REFUSED and not _OPERATOR.match(self.text, self.at):
                self.refuse(_REFUSED[self.peek()])
            self.fault(f"`{sign}` is missing")

    def name(self) -> str:
        """The next name; "" if there is none."""
        self.peek()
        return self._match(_NAME) or ""

    def end(self) -> None:
        """Raise if anything is left."""
        character = self.peek()
        if character:
            word = _NAME.match(self.text, self.at) or _OPERATOR.match(self.text, self.at)
            self.refuse(f"`{word.group()}`" if word else _REFUSED.get(character, f"`{self.rest()}`"))

    def rest(self) -> str:
        """What is left, cut short."""
        return short(self.text[self.at :], 20)

    def refuse(self, what: str) -> Never:
        """Raise: `what` is none of the things a condition or selector may have."""
        self.fault(f"{what} is not supported")

    def fault(self, why: str) -> Never:
        """Raise with the place."""
        raise ConditionError(f"the {self.what} {short(self.text)}, character {self.at + 1}: {why}")

    def _match(self, pattern: re.Pattern[str]) -> str | None:
        self.peek()
        found = pattern.match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        return found.group()


def _unescaped(body: str) -> str:
    """A text's body with CEL's escapes resolved; as it stands if one of them is none of CEL's."""
    left = _ESCAPE.sub("", body)
    if "\\" not in body or "\\" in left:
        return body
    try:
        return _ESCAPE.sub(_character, body)
    except (ValueError, OverflowError):
        return body


def _character(found: re.Match[str]) -> str:
    plain, byte, short_code, long_code, octal = found.groups()
    if plain is not None:
        return _ESCAPED.get(plain, plain)
    code = int(octal, 8) if octal else int(byte or short_code or long_code, 16)
    if 0xD800 <= code <= 0xDFFF:
        raise ValueError("a surrogate is no character")
    return chr(code)
