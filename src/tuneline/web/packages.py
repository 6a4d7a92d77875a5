"""/api/v1/packages and /api/v1/imports: for steps that share no files with this server, and for bundles.

A package goes as a tar, to and from a file beside its place: neither way is it held in memory.
"""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tuneline.actions.artifacts import content
from tuneline.actions.importing import Importing
from tuneline.actions.packages import Packages
from tuneline.errors import TooLargeError
from tuneline.web.json import JsonRoute

Json = dict[str, Any]
Digest = Annotated[str, InPath(pattern=r"^sha256:[0-9a-f]{64}$")]

MAX_BYTES = 64 * 1024**3
"""A merged model of 30 billion parameters in bfloat16."""


class ImportBody(BaseModel):
    """POST /api/v1/imports. Paths are on the server's machine."""

    model_config = ConfigDict(extra="forbid")

    uri: str
    base: str = ""
    replace: bool = False


def package_router(packages: Packages, importing: Importing) -> APIRouter:
    """The routes."""
    router = APIRouter(route_class=JsonRoute)

    @router.put("/api/v1/packages/{digest}")
    async def put_package(digest: Digest, request: Request) -> Json:
        """Keep a package, sent as a tar."""
        with packages.scratch() as made:
            archive = Path(made) / "package.tar"
            size = 0
            with archive.open("wb") as file:
                async for block in request.stream():
                    size += len(block)
                    if size > MAX_BYTES:
                        raise TooLargeError(f"A package may have {MAX_BYTES} bytes; this one has more.")
                    file.write(block)
            return await run_in_threadpool(packages.take, digest, archive)

    @router.get("/api/v1/packages/{digest}")
    def get_package(digest: Digest) -> Response:
        """A package as a tar."""
        blocks, _ = content(packages.find(digest))
        return StreamingResponse(blocks, media_type="application/x-tar")

    @router.post("/api/v1/imports", status_code=201)
    def take(body: ImportBody) -> Json:
        """Import a bundle."""
        return importing.take(body.uri, body.base, body.replace)

    return router
