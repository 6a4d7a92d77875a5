"""The routes under /api/v1: wire shapes in, `Platform` methods, wire shapes out."""

import asyncio
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from tuneline.actions import Platform
from tuneline.actions.looks import Looks
from tuneline.actions.proposing import Offer
from tuneline.record.runs import ACTIVE
from tuneline.web.json import JsonRoute
from tuneline.web.notices import notice_routes
from tuneline.web.rollouts import rollout_routes
from tuneline.web.schedules import schedule_routes

Json = dict[str, Any]

MAX_WAIT_S = 300.0


class Strict(BaseModel):
    """A request's body: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid")


class ProjectBody(BaseModel):
    """Where a pipeline came from."""

    name: str = ""
    text: str = ""
    path: str = ""
    digest: str = ""
    commit: str = ""


class RunnerBody(Strict):
    """The engine that executes a run. `login` goes to a file that only the user may read."""

    kind: str
    url: str
    options: dict[str, str] = Field(default_factory=dict)
    login: dict[str, str] = Field(default_factory=dict, repr=False)


class SubmitBody(Strict):
    """POST /api/v1/runs."""

    pipeline_spec: Json
    parameters: Json = Field(default_factory=dict)
    project: ProjectBody = Field(default_factory=ProjectBody)
    runner: RunnerBody | None = None


class RetryBody(Strict):
    """POST /api/v1/runs/{id}:retry; it may have none."""

    pipeline_spec: Json | None = None


class ProposeBody(BaseModel):
    """POST /api/v1/releases:propose."""

    model: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    package: str
    package_digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    base: str
    base_digest: str
    verdict: Json
    proof: Json
    report: Json = Field(default_factory=dict)
    deploy: Json = Field(default_factory=dict)
    live_digest: str = ""
    passed: bool
    run: str = ""
    project_digest: str = ""
    approval: Literal["auto", "required"] = "auto"


class DecisionBody(Strict):
    """POST /api/v1/releases/{ref}/approve and /reject; it may have none."""

    comment: str = Field("", max_length=2000)


class ShutdownBody(Strict):
    """POST /api/v1/shutdown."""

    all: bool = False


def api_router(platform: Platform, looks: Looks) -> APIRouter:
    """All routes over `platform`. looks: runs as people look at them."""
    router = APIRouter(route_class=JsonRoute)
    _server_routes(router, platform)
    _run_routes(router, platform, looks)
    _release_routes(router, platform)
    rollout_routes(router, platform)  # first: its paths end in a word after a colon
    _endpoint_routes(router, platform)
    schedule_routes(router, platform)
    notice_routes(router, platform)
    return router


def _server_routes(router: APIRouter, platform: Platform) -> None:
    @router.get("/healthz")
    async def healthz() -> Json:
        """Whether the server is up, and which home it serves."""
        return platform.healthz()

    @router.get("/api/v1/status")
    def status() -> Json:
        """The server, active runs and endpoints."""
        return platform.status()

    @router.get("/api/v1/ledger")
    def ledger(after: int = 0, limit: int | None = None) -> list[Json]:
        """Entries of the ledger after a number."""
        return platform.ledger(after, limit)

    @router.get("/api/v1/ledger/verify")
    def verify_ledger(head: str = "") -> Json:
        """Whether the ledger is whole and holds a kept head, and which entries are not."""
        return platform.verify_ledger(head)

    @router.post("/api/v1/shutdown", status_code=202)
    def shutdown(body: ShutdownBody) -> Json:
        """Stop the server; with `all` also what serves models."""
        return platform.shutdown(body.all)


def _run_routes(router: APIRouter, platform: Platform, looks: Looks) -> None:
    @router.post("/api/v1/runs", status_code=201)
    def submit(body: SubmitBody) -> Json:
        """Start a run."""
        runner = body.runner.model_dump() if body.runner else None
        return platform.submit(body.pipeline_spec, body.parameters, body.project.model_dump(), runner)

    @router.get("/api/v1/runs")
    def runs(
        limit: Annotated[int, Query(ge=1, le=1000)] = 50, project: str | None = None, archived: bool = False
    ) -> list[Json]:
        """Runs, the newest first; the archived ones alone, or the others."""
        return platform.runs(limit, project, archived)

    @router.post("/api/v1/runs/{id}:cancel")
    def cancel(id: str) -> Json:
        """Ask a run to end."""
        return platform.cancel(id)

    @router.post("/api/v1/runs/{id}:retry")
    def retry(id: str, body: RetryBody | None = None) -> Json:
        """Let an ended run go on from what failed; with a changed pipeline as a new run."""
        return platform.retry(id, ir=body.pipeline_spec if body else None)

    @router.get("/api/v1/runs/{id}")
    def run(id: str, outline: bool = False) -> Json:
        """A run with its tasks and report; `outline`: only tasks a person is shown, the others counted."""
        return looks.outline(id) if outline else platform.run(id)

    @router.get("/api/v1/runs/{id}/inputs")
    def inputs(id: str) -> Json:
        """The parameters that a run's pipeline declares."""
        return looks.inputs(id)

    @router.get("/api/v1/runs/{id}/events")
    async def events(
        id: str, after: int = 0, wait: Annotated[float, Query(ge=0, le=MAX_WAIT_S)] = 0.0
    ) -> Json:
        """Events after a number; waits for the first one."""
        return await _events(platform, id, after, wait)

    @router.get("/api/v1/runs/{id}/series")
    def series(id: str, task: str, after: int = 0) -> Json:
        """Points of a task's curves."""
        return platform.series(id, task, after)

    @router.get("/api/v1/runs/{id}/logs")
    def logs(
        id: str,
        task: str,
        attempt: int | None = None,
        offset: Annotated[int, Query(ge=-(1 << 24))] = 0,
        limit: Annotated[int, Query(ge=4, le=1 << 24)] = 1 << 20,
    ) -> Json:
        """A piece of an attempt's log; a negative offset counts from its end."""
        return platform.logs(id, task, attempt, offset, limit)


def _release_routes(router: APIRouter, platform: Platform) -> None:
    @router.post("/api/v1/releases:propose")
    def propose(body: ProposeBody) -> Json:
        """Ask for a release."""
        return platform.propose(Offer(**body.model_dump()))

    @router.get("/api/v1/models")
    def models() -> list[str]:
        """Names of all models."""
        return platform.models()

    @router.get("/api/v1/models/{model}/releases")
    def releases(model: str) -> list[Json]:
        """A model's releases, the highest version first."""
        return platform.releases(model)

    @router.get("/api/v1/releases/{ref}")
    def release(ref: str) -> Json:
        """One release, `model@version`."""
        return platform.release(ref)

    @router.get("/api/v1/releases/{ref}/provenance")
    def provenance(ref: str) -> Json:
        """What a release is made of: run, code, parameters, source."""
        return platform.provenance(ref)

    @router.post("/api/v1/releases/{ref}/approve")
    def approve(ref: str, body: DecisionBody | None = None) -> Json:
        """Say yes to a candidate: it goes on by itself."""
        return platform.approvals.approve(ref, body.comment if body else "")

    @router.post("/api/v1/releases/{ref}/reject")
    def reject(ref: str, body: DecisionBody | None = None) -> Json:
        """Say no to a candidate."""
        return platform.approvals.reject(ref, body.comment if body else "")


def _endpoint_routes(router: APIRouter, platform: Platform) -> None:
    @router.get("/api/v1/endpoints")
    def endpoints() -> list[Json]:
        """All endpoints."""
        return platform.endpoints()

    @router.get("/api/v1/endpoints/{name}")
    def endpoint(name: str) -> Json:
        """One endpoint."""
        return platform.endpoint(name)

    @router.get("/api/v1/endpoints/{name}/live")
    def live(name: str) -> Json:
        """The release that is live there."""
        return platform.live(name)

    @router.get("/api/v1/endpoints/{name}/history")
    def history(name: str, at: str | None = None) -> list[Json]:
        """When which release was live."""
        return platform.history(name, at)

    @router.get("/api/v1/endpoints/{name}/drift")
    def drift(name: str) -> Json:
        """How its requests compare with earlier ones."""
        return platform.drift.of(name)


async def _events(platform: Platform, id: str, after: int, wait_s: float) -> Json:
    """`Platform.events` without a thread that waits: a hundred followers cost a hundred small objects."""
    loop, wake = asyncio.get_running_loop(), asyncio.Event()
    deadline = time.monotonic() + wait_s

    def set_soon() -> None:
        loop.call_soon_threadsafe(wake.set)

    with platform.listening(id, set_soon):
        while True:
            wake.clear()
            found = await run_in_threadpool(platform.events_now, id, after)
            left = deadline - time.monotonic()
            if found["events"] or found["state"] not in ACTIVE or platform.closing or left <= 0:
                return found
            try:
                await asyncio.wait_for(wake.wait(), left)
            except TimeoutError:
                continue
