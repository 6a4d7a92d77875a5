"""Which parameters are secrets, and how they are kept out of everything that is written down.

A parameter is a secret by its name. Its value is kept in a file of the run that only the user may read;
everywhere else stands `***`, also where another value holds it. Limits: a value under four characters is
masked where it is the whole value only; what a task itself prints or puts out is the task's own affair.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

MASK = "***"

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET = frozenset(
    ("password", "passwd", "passphrase", "pwd", "secret", "secrets", "credential", "credentials", "token",
     "bearer", "apikey")
)  # fmt: skip
_KEYS = frozenset(("api", "private", "access", "secret", "signing", "account", "encryption", "ssh"))
_SPECIAL = frozenset(
    ("eos", "bos", "pad", "unk", "sep", "cls", "mask", "stop", "per", "max", "min", "n", "num")
)
"""Words before `token` that make it a word of language models."""
_ABOUT = frozenset(("name", "names", "id", "path", "file", "ref", "url", "type", "count", "length", "limit"))
"""Last words of names that say where a secret is, or something about it."""
_SHORT = 4
_QUOTED = 80
"""Characters of a value that an error quotes at most."""


def is_secret(name: str) -> bool:
    """Whether a parameter of this name holds a secret: `github_token`, `API-KEY`, `dbPassword`.

    Not `max_tokens` or `pad_token`, which are words of language models, nor `secret_name`.
    """
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or words[-1] in _ABOUT:
        return False
    for before, word in zip(["", *words], words, strict=False):
        if word == "key" and before in _KEYS:
            return True
        if word in _SECRET and not (word == "token" and before in _SPECIAL):
            return True
    return False


def split(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters with secrets masked, and the secrets among them. An empty one is none."""
    hidden = {
        name: value for name, value in parameters.items() if is_secret(name) and value not in (None, "", MASK)
    }
    return {name: MASK if name in hidden else value for name, value in parameters.items()}, hidden


class Masker:
    """Masks known secrets wherever they stand in JSON values."""

    def __init__(self, secrets: Iterable[Any] = ()) -> None:
        self._whole = {value for value in _texts(secrets) if value}
        forms = {form for value in self._whole if len(value) >= _SHORT for form in _forms(value)}
        parts = sorted(forms, key=len, reverse=True)
        patterns = [*map(re.escape, parts), *map(_cut, parts)]
        self._parts = re.compile("|".join(patterns)) if parts else None

    def parameters(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values by parameter name: those of secret names, and every secret inside others."""
        masked, _ = split(values)
        return {name: self.value(value) for name, value in masked.items()}

    def among(self, parameters: Mapping[str, Any]) -> tuple[str, ...]:
        """The secrets among parameters: values of secret names, and known ones inside others. The longest
        first; those that are too short to be looked for are left out."""
        _, named = split(parameters)
        texts = list(_texts((parameters,)))
        found = {secret for secret in self._whole if any(secret in text for text in texts)}
        found.update(_texts(named.values()))
        kept = (secret for secret in found if len(secret) >= _SHORT)
        return tuple(sorted(kept, key=lambda secret: (-len(secret), secret)))

    def value(self, value: Any) -> Any:
        """One JSON value with every secret in it masked."""
        if not self._whole:
            return value
        if isinstance(value, str):
            if value in self._whole:
                return MASK
            return self._parts.sub(MASK, value) if self._parts else value
        if isinstance(value, Mapping):
            return {self.value(key): self.value(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(inner) for inner in value]
        return value


def _forms(secret: str) -> Iterable[str]:
    """The secret as it stands in a text, in JSON, and where an error quotes it."""
    yield secret
    yield json.dumps(secret)[1:-1]
    yield repr(secret)[1:-1]


def _cut(secret: str) -> str:
    """A pattern of what an error leaves of it when it quotes no more: its beginning, and `...`."""
    rest = ""
    for letter in reversed(secret[_SHORT:_QUOTED]):
        rest = f"(?:{re.escape(letter)}{rest})?"
    return rf"{re.escape(secret[:_SHORT])}{rest}(?=\.\.\.)"


def _texts(values: Iterable[Any]) -> Iterable[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            yield from _texts(value.values())
        elif isinstance(value, list | tuple):
            yield from _texts(value)
