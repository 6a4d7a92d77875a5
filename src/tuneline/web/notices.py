"""The routes under /api/v1/notices: what people were told, and whether it arrived."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from tuneline.actions import Platform

Json = dict[str, Any]


class RetryNoticesBody(BaseModel):
    """POST /api/v1/notices:retry."""

    model_config = ConfigDict(extra="forbid")

    id: int | None = Field(default=None, ge=1)


class TestNoticeBody(BaseModel):
    """POST /api/v1/notices:test."""

    model_config = ConfigDict(extra="forbid")

    target: str = Field(min_length=1, max_length=2000)


def notice_routes(router: APIRouter, platform: Platform) -> None:
    """All of them, over `platform.notices`."""

    @router.get("/api/v1/notices")
    def notices(
        limit: Annotated[int, Query(ge=1, le=1000)] = 50, run: str | None = None, after: int = 0
    ) -> list[Json]:
        """Notices, the newest first; those of a run, or after a number, alone."""
        return platform.notices.list(limit, run, after)

    @router.post("/api/v1/notices:retry")
    def retry(body: RetryNoticesBody) -> Json:
        """Try what was not taken anew, of one notice or of all."""
        return platform.notices.retry(body.id)

    @router.post("/api/v1/notices:test")
    def test(body: TestNoticeBody) -> Json:
        """Send a test to a target."""
        return platform.notices.test(body.target)
