"""`create_app(platform)`: the API, its errors, its description and a plain first page.

Loopback only: a request whose Host header names anything else is refused, so that a web page cannot reach
this server through a name that it made point to 127.0.0.1 (DNS rebinding); a request from another origin is
refused for the same reason.
"""

from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tuneline.actions import Platform
from tuneline.errors import UserError
from tuneline.web import errors, pages
from tuneline.web.api import api_router
from tuneline.web.apps import app_router
from tuneline.web.artifacts import artifact_router
from tuneline.web.boards import board_router
from tuneline.web.kfp.app import create_kfp_app

LOOPBACK = frozenset(("127.0.0.1", "localhost", "::1"))


def create_app(platform: Platform) -> FastAPI:
    """The ASGI app of one home's server."""
    # FastAPI's own /docs loads scripts from the internet; ours is a plain page.
    app = FastAPI(title="tuneline", version=platform.server.version, docs_url=None, redoc_url=None)
    errors.install(app)
    app.include_router(artifact_router(platform.artifacts))
    app.include_router(api_router(platform))
    app.mount("/apis", create_kfp_app(platform))
    app.include_router(app_router(platform.apps))
    app.include_router(board_router(platform.boards))
    app.add_middleware(LoopbackOnly)

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def index() -> str:
        return pages.index(platform.status(), platform.runs(20))

    @app.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    def docs() -> str:
        return pages.docs(app.openapi())

    return app


class LoopbackOnly:
    """Refuses requests that a browser was tricked into sending."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the module."""
        if scope["type"] == "http":
            headers: dict[str, str] = {
                key.decode(): value.decode("latin-1") for key, value in scope["headers"]
            }
            wrong = foreign(headers)
            if wrong:
                await errors.response(wrong)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def foreign(headers: dict[str, Any]) -> UserError | None:
    """Why a request with these headers is refused; None if it is not."""
    host = urlsplit("//" + headers.get("host", "")).hostname or ""
    if host not in LOOPBACK:
        return Refused(
            f"This server answers on 127.0.0.1 only, not as `{host}`.", hint="Use http://127.0.0.1:PORT."
        )
    origin = headers.get("origin")
    if origin and (urlsplit(origin).hostname or "") not in LOOPBACK:
        return Refused(f"Pages of {origin} may not use this server.", hint="Open its own pages instead.")
    return None


class Refused(UserError):
    """The request came by a way that is not allowed."""

    code, http_status = "forbidden", 403
