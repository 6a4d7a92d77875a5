"""The one place that makes HTTP of an error: `{"error": TunelineError.to_json()}` with its status; for a
browser that opens a page, a page."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from tuneline.errors import InternalError, NotFoundError, TunelineError, UserError
from tuneline.web.json import JSONResponse
from tuneline.web.rendering import page

LOG = logging.getLogger("tuneline.web")


class InvalidRequest(UserError):
    """The request's JSON or query is not as the API says; every fault is a line of `details`."""

    code, http_status = "invalid_request", 422


def install(app: FastAPI) -> None:
    """Let every error of `app` leave as ours."""

    @app.exception_handler(TunelineError)
    async def known(request: Request, error: TunelineError) -> Response:
        return answer(request, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        details = [_fault(fault) for fault in error.errors()]
        hint = "`/docs` describes every request."
        message = f"{request.method} {request.url.path}: {details[0]}"
        return answer(request, InvalidRequest(message, hint=hint, details=details))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        if error.status_code == HTTPStatus.NOT_FOUND:
            missing = f"There is no {request.url.path} here."
            return answer(request, NotFoundError(missing, hint="`/docs` lists the API."))
        wrong = UserError(
            f"{request.method} {request.url.path}: {error.detail}.", hint="`/docs` lists the API."
        )
        return answer(request, wrong, error.status_code)

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> Response:
        LOG.error("%s %s", request.method, request.url.path, exc_info=error)
        message = f"{request.method} {request.url.path} broke: {type(error).__name__}: {error}"
        return answer(request, InternalError(message, hint="The server's log has the details."))


def answer(request: Request, error: TunelineError, status: int | None = None) -> Response:
    """An error as whoever asks reads it."""
    wants_page = "text/html" in request.headers.get("accept", "")
    if wants_page and not request.url.path.startswith(("/api/", "/apis/")):
        return page("error.html", status or error.http_status, error=error)
    return response(error, status)


def response(error: TunelineError, status: int | None = None) -> JSONResponse:
    """An error on the wire."""
    headers = {"Retry-After": "1"} if error.retry else None
    return JSONResponse({"error": error.to_json()}, status or error.http_status, headers)


def _fault(fault: Mapping[str, Any]) -> str:
    """`body.project.name: Input should be a valid string`; never the value, which may be a secret."""
    return f"{'.'.join(str(part) for part in fault.get('loc', ()))}: {fault.get('msg', 'wrong')}"
