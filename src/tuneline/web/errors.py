"""The one place that makes HTTP of an error: `{"error": TunelineError.to_json()}` with its status."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from tuneline.errors import InternalError, NotFoundError, TunelineError, UserError
from tuneline.web.json import JSONResponse

LOG = logging.getLogger("tuneline.web")


class InvalidRequest(UserError):
    """The request's JSON or query is not as the API says; every fault is a line of `details`."""

    code, http_status = "invalid_request", 422


def install(app: FastAPI) -> None:
    """Let every error of `app` leave as ours."""

    @app.exception_handler(TunelineError)
    async def known(_: Request, error: TunelineError) -> JSONResponse:
        return response(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        details = [_fault(fault) for fault in error.errors()]
        hint = "`/docs` describes every request."
        return response(
            InvalidRequest(f"{request.method} {request.url.path}: {details[0]}", hint=hint, details=details)
        )

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == HTTPStatus.NOT_FOUND:
            return response(
                NotFoundError(f"There is no {request.url.path} here.", hint="`/docs` lists the API.")
            )
        wrong = UserError(
            f"{request.method} {request.url.path}: {error.detail}.", hint="`/docs` lists the API."
        )
        return response(wrong, error.status_code)

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> JSONResponse:
        LOG.error("%s %s", request.method, request.url.path, exc_info=error)
        message = f"{request.method} {request.url.path} broke: {type(error).__name__}: {error}"
        return response(InternalError(message, hint="The server's log has the details."))


def response(error: TunelineError, status: int | None = None) -> JSONResponse:
    """An error on the wire."""
    headers = {"Retry-After": "1"} if error.retry else None
    return JSONResponse({"error": error.to_json()}, status or error.http_status, headers)


def _fault(fault: Mapping[str, Any]) -> str:
    """`body.project.name: Input should be a valid string`; never the value, which may be a secret."""
    return f"{'.'.join(str(part) for part in fault.get('loc', ()))}: {fault.get('msg', 'wrong')}"
