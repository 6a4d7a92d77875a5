"""Packages to and from a server that shares no files with us, and bundles for it."""

import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tuneline.client.folders import pack, unpack
from tuneline.client.http import Client


def send(client: Client, digest: str, folder: Path) -> None:
    """Have the server keep the package in `folder`. Again is the same as once. Raises: ModelError."""
    with tempfile.TemporaryFile() as file:
        pack(folder, file)
        file.seek(0)
        client.upload(_path(digest), file)


def bring(client: Client, digest: str, folder: Path) -> None:
    """Write a package that the server has into `folder`, which is made. Raises: NotFoundError, ModelError."""
    with tempfile.TemporaryFile() as file:
        client.download(_path(digest), file.write)
        file.seek(0)
        unpack(file, folder)


def import_bundle(client: Client, uri: str, base: str = "", *, replace: bool = False) -> dict[str, Any]:
    """Take the bundle at `uri`: `{"release", "state", "created", "reason", "run"}`. Raises: see
    `actions.importing`."""
    body = {"uri": uri, "base": base, "replace": replace}
    return client.call("POST", "/api/v1/imports", body, timeout_s=600.0)


def _path(digest: str) -> str:
    return f"/api/v1/packages/{quote(digest, safe=':')}"
