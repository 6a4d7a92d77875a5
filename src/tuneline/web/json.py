"""JSON that every reader takes: answers may hold numbers from a user's task for which JSON has no word.

What is not finite leaves as protobuf's JSON writes it, the strings `"Infinity"`, `"-Infinity"` and `"NaN"`;
half of a surrogate pair leaves as its escape. Everything else is as it was given.
"""

import functools
import inspect
import json
from collections.abc import Callable
from typing import Any

from fastapi import Response, responses
from fastapi.routing import APIRoute

from tuneline.types import finite_json


def dumps(value: Any) -> bytes:
    """`value` as UTF-8 JSON without spaces. Raises: TypeError if it holds what is no JSON value."""
    try:
        return _text(value).encode()
    except UnicodeEncodeError:  # a lone surrogate, from a task's own JSON
        return _text(value, ascii=True).encode()


class JSONResponse(responses.JSONResponse):
    """An answer in such JSON."""

    def render(self, content: Any) -> bytes:
        """The body."""
        return dumps(content)


class JsonRoute(APIRoute):
    """A route whose function gives JSON values, or a Response: `APIRouter(route_class=JsonRoute)`.

    They go past FastAPI's own encoders, one of which makes null of Infinity and another drops keys that begin
    with `_sa`.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        status = options.get("status_code") or 200
        options |= {"response_model": None, "response_class": JSONResponse}
        super().__init__(path, _answering(endpoint, status), **options)


def _answering(endpoint: Callable[..., Any], status: int) -> Callable[..., Any]:
    """`endpoint`, its value made an answer; in its own thread, if it is not async."""

    def answer(found: Any) -> Response:
        return found if isinstance(found, Response) else JSONResponse(found, status)

    @functools.wraps(endpoint)
    async def later(*args: Any, **kwargs: Any) -> Response:
        return answer(await endpoint(*args, **kwargs))

    @functools.wraps(endpoint)
    def now(*args: Any, **kwargs: Any) -> Response:
        return answer(endpoint(*args, **kwargs))

    return later if inspect.iscoroutinefunction(endpoint) else now


def _text(value: Any, *, ascii: bool = False) -> str:
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=ascii, separators=(",", ":"))
    except ValueError:  # nearly always all numbers are finite: only what is not pays for the walk
        return json.dumps(finite_json(value), allow_nan=False, ensure_ascii=ascii, separators=(",", ":"))
