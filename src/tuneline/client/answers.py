"""An answer of the server as a value, or as the error that it raised: ours, or as KFP's API has it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

from tuneline.errors import (
    ConflictError,
    ForbiddenError,
    InternalError,
    MissingPartError,
    NetworkError,
    NotFoundError,
    SpecError,
    TransientError,
    TunelineError,
    UnauthenticatedError,
    UserError,
)

_BY_STATUS: Mapping[int, type[TunelineError]] = {
    400: SpecError, 401: UnauthenticatedError, 403: ForbiddenError, 404: NotFoundError, 409: ConflictError,
    501: MissingPartError, 503: TransientError,
}  # fmt: skip
"""What an error in the form of KFP's API is to us."""


def read(answer: httpx.Response, url: str, method: str, path: str) -> Any:
    """The JSON of an answer. url: of the server. Raises: TunelineError, as the server raised it."""
    try:
        body = answer.json()
    except ValueError as error:
        raise _foreign(answer, url, method, path) from error
    if answer.is_success:
        return body
    if isinstance(body, dict) and isinstance(body.get("error"), dict) and "code" in body["error"]:
        raise TunelineError.from_json(body["error"])
    if isinstance(body, dict) and isinstance(body.get("code"), int) and path.startswith("/apis/"):
        raise _kfp_error(answer.status_code, str(body.get("message", "")))
    raise _foreign(answer, url, method, path)


def seconds(moment: Any) -> float | None:
    """Unix seconds of a time as JSON has it; None for none, and for what is no time."""
    try:
        return datetime.fromisoformat(str(moment).replace("Z", "+00:00")).timestamp() if moment else None
    except ValueError:
        return None


def part(text: str) -> str:
    """A text as one part of a URL's path."""
    return quote(text, safe="")


def _kfp_error(status: int, message: str) -> TunelineError:
    kind = _BY_STATUS.get(status, InternalError if status >= 500 else UserError)
    return kind(message or f"The server answered {status}.")


def _foreign(answer: httpx.Response, url: str, method: str, path: str) -> TunelineError:
    message = f"What answers at {url} is no tuneline server: {method} {path} gave {answer.status_code}."
    kind = TransientError if answer.status_code in (502, 503, 504) else NetworkError
    return kind(message, hint="Check TUNELINE_URL; `tuneline up --port N` starts a server elsewhere.")
