"""What artifacts hold, as pages need it: the beginning of small ones, HTML for a frame that can do nothing.

A user's file is never shown as a page of ours: it is downloaded, or framed without our origin, scripts of
others or a network. Limits: of what lies in a bucket only small files are fetched for a page.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from tuneline.actions.artifacts import Artifacts
from tuneline.errors import NotFoundError, TunelineError
from tuneline.web.metrics import MAX_TEXT_BYTES, Frame, blocks

FRAMED = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; frame-ancestors 'self'"
)
MAX_HTML_BYTES = 32 << 20


def frame_router(artifacts: Artifacts) -> APIRouter:
    """The route /artifacts/view. An artifact's id holds slashes, so it is a query's value."""
    router = APIRouter(include_in_schema=False)

    @router.get("/artifacts/view")
    def view(id: str, part: int = 0) -> Response:
        artifact = artifacts.get(id)
        named = {**artifact, "name": id.rpartition("/")[2]}
        found = [
            block for block in blocks(named, lambda: small(artifacts, artifact)) if isinstance(block, Frame)
        ]
        if not 0 <= part < len(found):
            raise NotFoundError(
                f"Artifact {id} is no HTML.", hint="Download it: its run's page has the link."
            )
        html = found[part].html
        data = html.encode() if html is not None else _read(artifacts.file(id), MAX_HTML_BYTES)
        headers = {"Content-Security-Policy": FRAMED, "X-Content-Type-Options": "nosniff"}
        return HTMLResponse(data or b"", headers=headers)

    return router


def content_link(artifact: Mapping[str, Any]) -> str:
    """Where an artifact is downloaded; empty if it has nothing to download."""
    return f"/api/v1/artifacts/{quote(artifact['id'])}/content" if artifact.get("id") else ""


def small(artifacts: Artifacts, artifact: Mapping[str, Any]) -> bytes | None:
    """Up to MAX_TEXT_BYTES of an artifact that is a file; None if it cannot be had at once."""
    try:
        path = artifacts.local(artifact)
        if path is None and 0 < artifact["size_bytes"] <= MAX_TEXT_BYTES and "://" in artifact["uri"]:
            path = artifacts.file(artifact["id"])
    except TunelineError:  # a bucket that does not answer must not take the page with it
        return None
    return None if path is None else _read(path, MAX_TEXT_BYTES)


def _read(path: Path, limit: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except OSError:
        return None
