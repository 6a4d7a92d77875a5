"""The routes of rollouts under /api/v1/endpoints."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from tuneline.actions import Platform

Json = dict[str, Any]


class Body(BaseModel):
    """An unknown key is an error."""

    model_config = ConfigDict(extra="forbid")


class StartBody(Body):
    """POST /api/v1/endpoints/{name}/rollout."""

    release: str = Field(min_length=1)
    plan: Json = Field(default_factory=dict)
    """Keys of a plan, as docs/rollouts.md has them, that differ from the project's."""
    force: bool = False
    why: str = ""


class WhyBody(Body):
    """POST /api/v1/endpoints/{name}:promote; it may have none."""

    why: str = ""


class BackBody(Body):
    """POST /api/v1/endpoints/{name}:rollback; it may have none."""

    to: str | None = None
    why: str = ""


def rollout_routes(router: APIRouter, platform: Platform) -> None:
    """Begin, look at, promote and take back."""

    @router.post("/api/v1/endpoints/{name}/rollout", status_code=201)
    def start(name: str, body: StartBody) -> Json:
        """Try a release beside the live one."""
        return platform.rollouts.start(name, body.release, body.plan, body.force, body.why)

    @router.get("/api/v1/endpoints/{name}/rollout")
    def status(name: str) -> Json:
        """The newest rollout, with its decisions."""
        return platform.rollouts.status(name)

    @router.post("/api/v1/endpoints/{name}:promote")
    def promote(name: str, body: WhyBody | None = None) -> Json:
        """Let what is tried go live."""
        return platform.rollouts.promote(name, body.why if body else "")

    @router.post("/api/v1/endpoints/{name}:rollback")
    def rollback(name: str, body: BackBody | None = None) -> Json:
        """Take back what is tried, or what is live."""
        return platform.rollouts.rollback(name, body.to if body else None, body.why if body else "")
