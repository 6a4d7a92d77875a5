"""Names for ids, digests and times, shared by every layer.

A digest is always written `sha256:<64 hex>`; a time is Unix seconds as a float, a string only at an edge.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NewType

RunId = NewType("RunId", str)
TaskName = NewType("TaskName", str)
Digest = NewType("Digest", str)
"""`sha256:` and 64 hexadecimal digits."""

Clock = Callable[[], float]
"""Unix seconds now. Passed in, never called inside a decision."""

Json = Mapping[str, Any] | Sequence[Any] | str | int | float | bool | None


def canonical_json(value: Json) -> str:
    """One text for equal values: sorted keys, no spaces, UTF-8 as it is. Digests of values cover this."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except ValueError:  # a number from a user's task; it counts as the string it leaves as
        finite = finite_json(value)
        return json.dumps(finite, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def finite_json(value: Any) -> Any:
    """`value` with numbers that strict JSON cannot say written as strings.

    `"Infinity"`, `"-Infinity"`, `"NaN"`, as in protobuf's JSON. Tuples become lists; all else stays as it is.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: finite_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_json(item) for item in value]
    return value


def digest_bytes(data: bytes) -> Digest:
    """The digest of `data`."""
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def digest_json(value: Json) -> Digest:
    """The digest of a JSON value: that of its canonical text."""
    return digest_bytes(canonical_json(value).encode("utf-8", "surrogatepass"))
