"""The routes of artifacts: lists, one, its lineage, its content. Ids have slashes: `run/task/attempt/key`."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from tuneline.actions.artifacts import MAX_DEPTH, MAX_NODES, Artifacts, content
from tuneline.errors import NotFoundError
from tuneline.web.json import JsonRoute

Json = dict[str, Any]
Depth = Annotated[int, Query(ge=0, le=MAX_DEPTH)]
Limit = Annotated[int, Query(ge=1, le=MAX_NODES)]


def artifact_router(artifacts: Artifacts) -> APIRouter:
    """All routes over `artifacts`."""
    router = APIRouter(route_class=JsonRoute)

    @router.get("/api/v1/artifacts")
    def list_(
        run: str | None = None, task: str | None = None, type: str | None = None,
        digest: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        after: str | None = None,
    ) -> list[Json]:  # fmt: skip
        """Artifacts, the newest first; `after` an id goes on behind it."""
        return artifacts.list(run, task, type, digest, limit, after)

    @router.get("/api/v1/artifacts/{id:path}/lineage")
    def lineage(id: str, direction: str = "both", depth: Depth = 10, limit: Limit = 1000) -> Any:
        """What an artifact (id or digest) came from, and what came of it."""
        return _either(
            id, "lineage", lambda name: artifacts.lineage(name, direction, depth, limit), artifacts
        )

    @router.get("/api/v1/artifacts/{id:path}/content")
    def download(id: str) -> Any:
        """An artifact's content: a file's bytes, or a folder as a tar archive."""
        return _either(id, "content", lambda name: _content(artifacts, name), artifacts)

    @router.get("/api/v1/artifacts/{id:path}")
    def one(id: str) -> Json:
        """One artifact, by its id or its digest."""
        return artifacts.get(id)

    @router.get("/api/v1/releases/{ref}/lineage")
    def of_release(ref: str, direction: str = "both", depth: Depth = 10, limit: Limit = 1000) -> Json:
        """What a release came from, and what came of its package and its base."""
        return artifacts.lineage(ref, direction, depth, limit)

    return router


def _either(id: str, word: str, answer: Callable[[str], Any], artifacts: Artifacts) -> Any:
    """`answer(id)`; or, if only `id/word` is an artifact (an output may be called that), that artifact."""
    try:
        return answer(id)
    except NotFoundError as error:
        try:
            return artifacts.get(f"{id}/{word}")
        except NotFoundError:
            raise error from None


def _content(artifacts: Artifacts, id: str) -> StreamingResponse:
    path = artifacts.file(id)
    blocks, kind = content(path)
    headers = {
        "X-Tuneline-Content": kind,
        # never shown by a browser as a page of this server's own
        "Content-Disposition": "attachment",
        "X-Content-Type-Options": "nosniff",
    }
    if kind == "file":
        headers["Content-Length"] = str(path.stat().st_size)
    return StreamingResponse(blocks, media_type="application/octet-stream", headers=headers)
