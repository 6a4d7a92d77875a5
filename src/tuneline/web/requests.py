"""The routes of what comes back from traffic: POST /api/v1/endpoints/{name}/feedback, GET
/api/v1/requests/{id}."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from tuneline.actions import Platform
from tuneline.record.feedback import Score
from tuneline.web.json import JsonRoute

Json = dict[str, Any]
MOST = 1000
"""Scores in one request."""


class FeedbackBody(BaseModel):
    """How good one answer was."""

    model_config = ConfigDict(extra="forbid", strict=True)

    request_id: str = Field(min_length=1, max_length=200, description="The answer's x-request-id.")
    score: float = Field(ge=0, le=1, allow_inf_nan=False, description="From 0, worst, to 1, best.")
    comment: str = Field(default="", max_length=4000)


def _shape(body: Any) -> str:
    return "list" if isinstance(body, list) else "one"


Many = Annotated[list[FeedbackBody], Field(min_length=1, max_length=MOST), Tag("list")]
OneOrMany = Annotated[Annotated[FeedbackBody, Tag("one")] | Many, Discriminator(_shape)]
"""By its shape, so that a fault is told of what was meant."""


def request_router(platform: Platform) -> APIRouter:
    """The routes over `platform`."""
    router = APIRouter(route_class=JsonRoute)

    @router.post("/api/v1/endpoints/{name}/feedback")
    def feedback(name: str, body: OneOrMany) -> Json:
        """Score one answer, or up to 1000; a request's line may come later."""
        given = body if isinstance(body, list) else [body]
        return platform.feedback(name, [Score(each.request_id, each.score, each.comment) for each in given])

    @router.get("/api/v1/requests/{id:path}")
    def trace(id: str, endpoint: str | None = None) -> Json:
        """Which release answered a request, and all that made it."""
        return platform.requests.trace(id, endpoint)

    return router
