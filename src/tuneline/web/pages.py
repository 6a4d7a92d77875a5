"""Pages for people: plain HTML over `Platform`."""

from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from tuneline.actions import Platform
from tuneline.actions.looks import Looks
from tuneline.web.compare import compare_router
from tuneline.web.frames import frame_router
from tuneline.web.lists import list_router
from tuneline.web.release_pages import release_router
from tuneline.web.rendering import page
from tuneline.web.run_pages import run_router

STATIC = Path(__file__).parent / "static"


def install(app: FastAPI, platform: Platform, looks: Looks) -> None:
    """Put all pages into `app`, and what they look like."""
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

    @router.get("/")
    def index() -> HTMLResponse:
        status = platform.status()
        found = {"server": status["server"], "endpoints": status["endpoints"], "runs": platform.runs(20)}
        return page("index.html", **found)

    @router.get("/docs")
    def docs() -> HTMLResponse:
        routes = [
            (method.upper(), path, str(route.get("description", "")))
            for path, methods in app.openapi()["paths"].items()
            for method, route in methods.items()
        ]
        return page("docs.html", routes=routes)

    app.include_router(router)
    app.include_router(run_router(platform, looks))
    app.include_router(frame_router(platform.artifacts))
    app.include_router(compare_router(looks))
    app.include_router(list_router(platform))
    app.include_router(release_router(platform))
