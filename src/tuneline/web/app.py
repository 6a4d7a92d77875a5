"""`create_app(platform)`: the API, its errors, its description and the pages, behind `web.access`."""

from fastapi import FastAPI

from tuneline.actions import Platform
from tuneline.actions.looks import Looks
from tuneline.web import errors, pages
from tuneline.web.access import Access
from tuneline.web.api import api_router
from tuneline.web.apps import app_router
from tuneline.web.artifacts import artifact_router
from tuneline.web.boards import board_router
from tuneline.web.figures import figures_router
from tuneline.web.kfp.app import create_kfp_app
from tuneline.web.login import login_router
from tuneline.web.packages import package_router
from tuneline.web.requests import request_router


def create_app(platform: Platform) -> FastAPI:
    """The ASGI app of one home's server."""
    # FastAPI's own /docs loads scripts from the internet; ours is a plain page.
    app = FastAPI(title="tuneline", version=platform.server.version, docs_url=None, redoc_url=None)
    errors.install(app)
    app.include_router(artifact_router(platform.artifacts))
    looks = Looks(platform.record, platform.artifacts.local)
    app.include_router(api_router(platform, looks))
    app.mount("/apis", create_kfp_app(platform))
    app.include_router(app_router(platform.apps))
    app.include_router(package_router(platform.packages, platform.importing))
    app.include_router(request_router(platform))
    app.include_router(board_router(platform.boards))
    app.include_router(login_router(platform.record.tokens))
    app.include_router(figures_router(platform.record.figures, platform.server))
    pages.install(app, platform, looks)
    app.add_middleware(Access, tokens=platform.record.tokens)
    return app
