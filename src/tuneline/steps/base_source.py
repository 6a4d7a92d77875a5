"""A base model that lies on the hub or in a bucket: what its address means now.

`fetch` only asks, so that a changed model is noticed; `remote_base` brings it.
"""

from pathlib import Path
from typing import Any

from tuneline.errors import ModelError, NetworkError
from tuneline.steps.downloads import Desk
from tuneline.steps.sources import buckets, hub
from tuneline.steps.sources.https import no_copy
from tuneline.types import digest_json

SUFFIXES = (".json", ".safetensors", ".jinja")
"""Of the files at the top of a model's folder, those that are fetched."""
_SOURCES = {scheme: module for module in (hub, buckets) for scheme in module.SCHEMES}


def is_remote(base_model: str) -> bool:
    """Whether a base model is an address."""
    return "://" in base_model


def remote_digest(base_model: str, desk: Desk) -> str:
    """What changes when the model at an address does, without fetching it. Raises: as `remote.fetch`."""
    source = source_of(base_model)
    try:
        if desk.offline:
            raise no_copy(base_model, "offline")
        tags = {piece.path: piece.tag for piece in source.look(base_model, desk, SUFFIXES).pieces}
    except NetworkError:
        pin = desk.pin(base_model)
        if pin is None:
            raise
        tags = {path: one["tag"] for path, one in pin["files"].items()}
    return str(digest_json(tags))


def name_of(address: str) -> str:
    """What a model at an address is called: the hub's id, or the last part of its path."""
    if address.startswith("hf://"):
        found = hub.parse(address)
        return f"{found.id}/{found.path}" if found.path else found.id
    return Path(address.partition("://")[2]).name


def source_of(base_model: str) -> Any:
    """The module of the source a base model lies in. Raises ModelError if none can be there."""
    scheme = base_model.partition("://")[0]
    if scheme not in _SOURCES:
        raise ModelError(
            f"`base_model` begins with `{scheme}://`, where no base model can be.",
            hint=f"There are {', '.join(f'`{name}://`' for name in _SOURCES)}, aliases, hub ids and paths.",
        )
    return _SOURCES[scheme]
