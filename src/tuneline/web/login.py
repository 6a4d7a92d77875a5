"""`/login` and `/logout`: a token becomes the cookie by which a browser shows it. The token is in no URL."""

import time
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from tuneline.record.tokens import Caller
from tuneline.types import Clock
from tuneline.web.access import COOKIE, Tokens, asked_of
from tuneline.web.forms import form_fields
from tuneline.web.rendering import page

KEPT_S = 30 * 86_400
"""How long a browser keeps the cookie of a token without an end, in seconds."""


def login_router(tokens: Tokens, clock: Clock = time.time) -> APIRouter:
    """The routes over whoever is known."""
    router = APIRouter(include_in_schema=False)

    @router.get("/login")
    async def form(request: Request, next: str = "/") -> Response:
        if asked_of(request.scope).local:
            return RedirectResponse(local_path(next), HTTPStatus.SEE_OTHER)
        caller: Caller | None = request.scope.get("tuneline.caller")
        return page("login.html", next=local_path(next), wrong=False, caller=caller)

    @router.post("/login")
    async def login(request: Request) -> Response:
        given = await form_fields(request)
        token, path, now = given.get("token", "").strip(), local_path(given.get("next", "/")), clock()
        caller = await run_in_threadpool(tokens.check, token, now)
        if caller is None:
            return page("login.html", HTTPStatus.UNAUTHORIZED, next=path, wrong=True, caller=None)
        age = KEPT_S if caller.expires_at is None else int(min(KEPT_S, caller.expires_at - now))
        secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
        answer = RedirectResponse(path, HTTPStatus.SEE_OTHER)
        # lax: a link from a notebook or a message opens the page; a form there does nothing, see `access`
        answer.set_cookie(COOKIE, token, max_age=age, httponly=True, secure=secure, samesite="lax")
        return answer

    @router.post("/logout")
    async def logout() -> Response:
        answer = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
        answer.delete_cookie(COOKIE, httponly=True, samesite="lax")
        return answer

    return router


def local_path(text: str) -> str:
    """`text` if it is a path of this server, else `/`: a link must not lead from the login to elsewhere."""
    odd = any(ord(character) <= ord(" ") or character == "\\" for character in text)
    return text if text.startswith("/") and not text.startswith("//") and not odd else "/"
