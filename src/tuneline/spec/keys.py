"""What is said of one key of the project file, and how the sections' classes say it. No IO, no YAML."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Kind = Literal[
    "text", "integer", "number", "texts", "text_or_texts", "map", "maps", "lists", "free", "duration",
    "targets", "flag", "tolerations", "steps",
]  # fmt: skip
"""What a value may be. `map`: text to text. `maps`: text to (text to text). `lists`: text to texts. `free`:
any mapping that JSON has. `duration`: seconds, or `90s 30m 2h 1d`. `targets`: a list of `{to, on}` or
texts. `flag`: true or false. `tolerations`: a list of Kubernetes' own. `steps`: name to keys of
`on.kubernetes`."""


@dataclass(frozen=True)
class Key:
    """One key of the project file."""

    path: str
    """Dotted, e.g. `train.r`."""
    kind: Kind
    default: Any
    """`REQUIRED` where there is none."""
    doc: str
    low: float | None = None
    high: float | None = None
    above: float | None = None
    """A bound that the value itself may not take."""
    below: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    """A regular expression the whole text must match."""
    inner: Mapping[str, str] = field(default_factory=dict)
    """Of `maps`: the keys each inner mapping may have, and what they mean; the first must be there."""
    names: str = ""
    entries: str = ""
    """Of `map`: regular expressions that every name in it, and every value, must match."""


REQUIRED: Final = object()


def key(kind: Kind, default: Any, doc: str, **bounds: Any) -> Any:
    """A field of a section's class that is a key of the file. bounds: fields of `Key`."""
    mark = {"kind": kind, "default": default, "doc": doc, **bounds}
    if default is REQUIRED:
        return field(metadata=mark)
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=mark)
    return field(default=default, metadata=mark)
