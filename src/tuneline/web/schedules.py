"""The routes under /api/v1/schedules: what runs by itself."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tuneline.actions import Platform

Json = dict[str, Any]


class WhenBody(BaseModel):
    """When a project runs: a cron line with its zone, or seconds between two runs."""

    model_config = ConfigDict(extra="forbid")

    cron: str = ""
    zone: str = "UTC"
    every_s: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def one_of_both(self) -> "WhenBody":
        """Refuses both, and neither."""
        if bool(self.cron) == (self.every_s is not None):
            raise ValueError("give one of `cron` and `every_s`")
        return self


class ScheduleProject(BaseModel):
    """The project that runs."""

    name: str = ""
    text: str = ""
    path: str = ""
    digest: str = ""
    commit: str = ""


class ScheduleBody(BaseModel):
    """POST /api/v1/schedules."""

    model_config = ConfigDict(extra="forbid")

    schedule: WhenBody
    pipeline_spec: Json
    parameters: Json = Field(default_factory=dict)
    project: ScheduleProject = Field(default_factory=ScheduleProject)


def schedule_routes(router: APIRouter, platform: Platform) -> None:
    """All of them, over `platform.schedules`."""

    @router.post("/api/v1/schedules")
    def set_schedule(body: ScheduleBody) -> Json:
        """Let a project run by itself, or change how."""
        when = body.schedule
        schedule: Json = {"cron": when.cron, "zone": when.zone}
        if when.every_s is not None:
            schedule = {"every_s": when.every_s}
        return platform.schedules.set(
            schedule, body.pipeline_spec, body.parameters, body.project.model_dump()
        )

    @router.get("/api/v1/schedules")
    def schedules() -> list[Json]:
        """All schedules, by name."""
        return platform.schedules.all()

    @router.post("/api/v1/schedules/{name}:pause")
    def pause(name: str) -> Json:
        """Start nothing more of it."""
        return platform.schedules.pause(name)

    @router.post("/api/v1/schedules/{name}:resume")
    def resume(name: str) -> Json:
        """Let it run again, from now on."""
        return platform.schedules.resume(name)

    @router.post("/api/v1/schedules/{name}:run", status_code=201)
    def run(name: str) -> Json:
        """Start a run of it now."""
        return platform.run(platform.schedules.run_now(name))

    @router.get("/api/v1/schedules/{name}")
    def schedule(name: str) -> Json:
        """One schedule, by name or id."""
        return platform.schedules.get(name)

    @router.delete("/api/v1/schedules/{name}")
    def remove(name: str) -> Json:
        """Forget it; its runs stay."""
        return platform.schedules.remove(name)
