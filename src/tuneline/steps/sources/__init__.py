"""Where rows come from: one module a kind of source, found by being in this folder. `fetch` is its only user.

A source module has `SCHEMES` (the part before `://`; "" is a path) and `fetch(address, desk) -> Fetched`.
Adding a source is adding such a file; nothing else names it.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tuneline.errors import DataError
from tuneline.types import Digest


@dataclass(frozen=True)
class Found:
    """One file of a source, whole and checked, on this machine."""

    name: str
    path: Path
    digest: Digest
    size_bytes: int
    ours: bool
    """Whether it lies in our downloads, where nothing changes it, so that a link to it is safe."""


@dataclass(frozen=True)
class Fetched:
    """What a source gave."""

    files: tuple[Found, ...]
    resolved: Mapping[str, Any]
    """What the address meant, without times and places on this machine: equal content gives equal values."""
    shown: str
    """The address without secrets and local paths."""
    pinned: Mapping[str, Any] = field(default_factory=dict)
    """Which version of the source it was: a commit, a number, ETags. On record, but no part of the content:
    another version with equal files is the same data."""


def open_source(address: str) -> Callable[..., Fetched]:
    """The `fetch` function of the module whose scheme `address` has. Raises DataError, naming the known
    schemes."""
    scheme = address.partition("://")[0] if "://" in address else ""
    known = _schemes()
    if scheme in known:
        fetch: Callable[..., Fetched] = importlib.import_module(known[scheme]).fetch
        return fetch
    close = get_close_matches(scheme, [name for name in known if name], n=1)
    names = ", ".join(f"`{name}://`" for name in sorted(known) if name)
    raise DataError(
        f"`data.source` begins with `{scheme}://`, which no source knows.",
        hint=(f"Did you mean `{close[0]}://`? " if close else "") + f"There are {names}, and paths of files.",
    )


def _schemes() -> dict[str, str]:
    found = {}
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        for scheme in getattr(importlib.import_module(module.name), "SCHEMES", ()):
            found[scheme] = module.name
    return found
