"""The routes of apps: PUT and DELETE /api/v1/endpoints/{name}/app."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from tuneline.actions.apps import AppRequest, Apps
from tuneline.plan.apps import App

Json = dict[str, Any]


class AppBody(BaseModel):
    """What to run, and from which files on the server's machine."""

    model_config = ConfigDict(extra="forbid")

    source: str
    digest: str = Field(default="", pattern=r"^(sha256:[0-9a-f]{64})?$")
    entry: str = ""
    command: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    uses: str = ""
    probe: str = "/"
    port: int = Field(default=0, ge=0, le=65535)
    keep_s: float = Field(default=1800.0, ge=0)
    run: str = ""

    def request(self, name: str) -> AppRequest:
        """The same as a value."""
        app = App(name, self.entry, tuple(self.command), self.env, self.uses, self.probe)
        return AppRequest(app, self.source, self.digest, self.port, self.keep_s, self.run)


def app_router(apps: Apps) -> APIRouter:
    """The routes over `apps`."""
    router = APIRouter()

    @router.put("/api/v1/endpoints/{name}/app")
    def put_app(name: str, body: AppBody) -> Json:
        """Want an app at an endpoint; it takes over beside what runs there."""
        return apps.put(body.request(name))

    @router.delete("/api/v1/endpoints/{name}/app")
    def remove_app(name: str) -> Json:
        """Want no app at an endpoint any more."""
        return apps.remove(name)

    return router
