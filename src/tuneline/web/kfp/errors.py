"""Errors as grpc-gateway writes them, and as KFP's upload endpoints do: the only place under /apis that does.

An answer is `{"code": 5, "message": m, "details": [{"@type": ..., "code": 5, "message": m}]}`.
"""

import logging
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tuneline.errors import (
    AlreadyExistsError,
    ConflictError,
    InternalError,
    NotFoundError,
    PreconditionError,
    ResourceError,
    TooLargeError,
    TransientError,
    TunelineError,
    UserError,
)
from tuneline.web.json import JSONResponse

LOG = logging.getLogger("tuneline.web.kfp")

CODES: tuple[tuple[type[TunelineError], int, int], ...] = (
    (NotFoundError, 5, 404),
    (AlreadyExistsError, 6, 409),
    (PreconditionError, 9, 400),
    (ConflictError, 10, 409),
    (TooLargeError, 8, 413),
    (UserError, 3, 400),
    (TransientError, 14, 503),
    (ResourceError, 13, 500),
)
"""Our error -> gRPC code, HTTP status; the first that fits."""


def codes(error: TunelineError) -> tuple[int, int]:
    """gRPC code and HTTP status of an error."""
    special = {401: 16, 403: 7, 501: 12}.get(error.http_status)
    if special is not None:
        return special, error.http_status
    for kind, code, http in CODES:
        if isinstance(error, kind):
            return code, http
    return 13, 500


def status(error: TunelineError) -> dict[str, Any]:
    """A google.rpc.Status: the body of an answer, and the `error` field of a run or task."""
    code, _ = codes(error)
    return body(code, sentence(error))


def status_of(kept: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A google.rpc.Status of what a run or task ended with: `TunelineError.to_json`, from the record."""
    if not kept:
        return None
    error = TunelineError.from_json(dict(kept))
    return {"code": codes(error)[0], "message": sentence(error)}


def body(code: int, message: str) -> dict[str, Any]:
    """The answer's JSON for a gRPC code."""
    detail = {"@type": "type.googleapis.com/google.rpc.Status", "code": code, "message": message}
    return {"code": code, "message": message, "details": [detail]}


def sentence(error: TunelineError) -> str:
    """Message, every fault, and what to do, in one text: KFP's clients show nothing else."""
    more = [detail for detail in error.details if detail not in error.message]
    text = error.message if not more else f"{error.message.rstrip('.')}: {'; '.join(more)}."
    return f"{text} {error.hint}".strip()


def response(error: TunelineError) -> Response:
    """An error on the wire."""
    return JSONResponse(status(error), codes(error)[1])


def upload_response(error: TunelineError) -> Response:
    """An error of the two upload endpoints, which have a shape of their own."""
    text = sentence(error)
    return JSONResponse({"error_message": error.message, "error_details": text}, codes(error)[1])


def unexpected(request: Request, error: Exception) -> TunelineError:
    """What leaves for an error of ours: logged here, named to the client."""
    LOG.error("%s %s", request.method, request.url.path, exc_info=error)
    return InternalError(
        f"Internal error: {type(error).__name__}: {error}", hint="The server's log has the details."
    )
