"""Reading untrusted nested mappings: each accessor gives a value of the right kind and notes what was wrong.

A wrong value becomes a fault that names its place, and an empty value of the wanted kind, so reading goes on
and all faults are reported at once.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tuneline_ir.placeholders import used


@dataclass(frozen=True)
class Node:
    """A mapping at a place in a document. `faults` is shared by all nodes of one document."""

    place: str
    body: Mapping[str, Any]
    faults: list[str]

    def fault(self, text: str) -> None:
        """Note that something is wrong here."""
        self.faults.append(f"{self.place}: {text}")

    def node(self, key: str) -> "Node":
        """The mapping under `key`; an empty one if it is missing."""
        return Node(f"{self.place}.{key}" if self.place else key, self._get(key, Mapping, {}), self.faults)

    def nodes(self, key: str) -> Iterable[tuple[str, "Node"]]:
        """The mappings under the mapping `key`, by name."""
        inner = self.node(key)
        return [(name, inner.node(name)) for name in inner.body]

    def listed(self, key: str) -> list["Node"]:
        """The mappings in the list under `key`."""
        found = []
        for place, item in enumerate(self._get(key, list, [])):
            if isinstance(item, Mapping):
                found.append(Node(f"{self.place}.{key}[{place}]", item, self.faults))
            else:
                self.fault(f"`{key}[{place}]` must be a mapping, not {_kind(item)}")
        return found

    def text(self, key: str, default: str = "", *, required: bool = False) -> str:
        """The text under `key`."""
        value = str(self._get(key, str, default))
        if required and not value:
            self.fault(f"`{key}` is missing")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """The list of texts under `key`."""
        listed = self._get(key, list, [])
        for place, item in enumerate(listed):
            if not isinstance(item, str):
                self.fault(f"`{key}[{place}]` must be a text, not {_kind(item)}")
        return tuple(item for item in listed if isinstance(item, str))

    def flag(self, key: str) -> bool:
        """The boolean under `key`; false if it is missing."""
        return bool(self._get(key, bool, False))

    def number(self, key: str, default: float) -> float:
        """The number under `key`; protobuf's JSON may write it as a text."""
        value = self.body.get(key, default)
        return self._finite(key, value, default)

    def seconds(self, key: str, default: float) -> float:
        """A protobuf duration such as `30s` under `key`, in seconds."""
        value = self.body.get(key, default)
        return self._finite(key, value.removesuffix("s") if isinstance(value, str) else value, default)

    def placeholders(self, text: str) -> None:
        """Every placeholder in a text must be known."""
        try:
            used(text)
        except ValueError as error:
            self.fault(str(error))

    def only(self, known: Iterable[str], unsupported: Mapping[str, str]) -> None:
        """Every key must be in `known`. A key in `unsupported` is refused with its reason."""
        allowed = set(known)
        for key in self.body:
            if key in unsupported:
                self.fault(f"`{key}` ({unsupported[key]}) is not supported yet")
            elif key not in allowed:
                self.fault(f"unknown key `{key}`")

    def _get(self, key: str, kind: Any, default: Any) -> Any:
        value = self.body.get(key)
        if value is None:
            return default
        if isinstance(value, kind):
            return value
        self.fault(f"`{key}` must be {_NAMES[kind]}, not {_kind(value)}")
        return default

    def _finite(self, key: str, value: Any, default: float) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        return number if math.isfinite(number) else self._no_number(key, value, default)

    def _no_number(self, key: str, value: Any, default: float) -> float:
        self.fault(f"`{key}` is {value!r}, which is not a number")
        return default


_NAMES: dict[Any, str] = {Mapping: "a mapping", list: "a list", str: "a text", bool: "true or false"}


def _kind(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    return {list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}.get(
        type(value), type(value).__name__
    )
