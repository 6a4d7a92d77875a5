"""One request under /apis, as its handler sees it, and the way a handler becomes a route.

    def get_experiment(call: Call) -> Answer:
        return experiment(call.platform.kfp.experiments.get(call.path["experiment_id"]))

    ROUTES = [route("GET", "/v2beta1/experiments/{experiment_id}", get_experiment)]

A handler runs in a worker thread, returns an object (or JSON text that is ready) and raises `TunelineError`.
Bodies over `MAX_BODY_BYTES` are refused before they are read whole.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tuneline.actions import Platform
from tuneline.errors import TooLargeError, TunelineError, UserError
from tuneline.plan.listing import Fields, Listing, parse
from tuneline.web.kfp import errors, wire
from tuneline.web.kfp.messages import plain

MAX_BODY_BYTES = 32 * 1024 * 1024
"""The largest request body: what KFP takes for a pipeline file."""

Answer = Mapping[str, Any] | str | Response
"""An object, JSON text, or a whole response."""


@dataclass(frozen=True)
class Call:
    """A request."""

    platform: Platform
    path: Mapping[str, str]
    query: Mapping[str, str]
    raw: bytes = b""
    content_type: str = ""
    base_url: str = ""
    """`http://host:port`, as the client knows this server."""

    def json(self) -> Any:
        """The body's JSON; `{}` if there is none. Raises: UserError."""
        if not self.raw.strip():
            return {}
        try:
            return json.loads(self.raw, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise UserError(f"The request's body is no JSON: {why}.") from error

    def listing(self, fields: Fields) -> Listing:
        """The page asked for. Raises: UserError."""
        size = self.query.get("page_size", "") or "0"
        try:
            page_size = int(size)
            if not -(2**31) <= page_size < 2**31:
                raise ValueError(size)
        except ValueError as error:
            raise UserError(f"page_size is {size!r}, which is no 32-bit number.") from error
        return parse(
            fields,
            page_token=self.query.get("page_token", ""),
            page_size=page_size,
            sort_by=self.query.get("sort_by", ""),
            filter=self.query.get("filter", ""),
        )

    def flag(self, name: str) -> bool:
        """A query argument that is true or false. Raises: UserError."""
        value = self.query.get(name, "").lower()
        if value in ("", "false", "0"):
            return False
        if value in ("true", "1"):
            return True
        raise UserError(f"`{name}` is {value!r}.", hint="Give true or false.")


Handler = Callable[[Call], Answer]


def route(method: str, path: str, handler: Handler) -> Route:
    """A route under /apis. Routes with a verb (`/runs/{run_id}:archive`) must stand before those without."""

    async def endpoint(request: Request) -> Response:
        try:
            call = Call(
                platform=request.app.state.platform,
                path={key: plain(value, key) for key, value in request.path_params.items()},
                query=_query(request),
                raw=await body_of(request) if method in ("POST", "PATCH", "PUT") else b"",
                content_type=request.headers.get("content-type", ""),
                base_url=f"{request.url.scheme}://{request.url.netloc}",
            )
            return answer(await run_in_threadpool(handler, call))
        except TunelineError as error:
            return errors.response(error)
        except ClientDisconnect:
            raise
        except Exception as error:
            return errors.response(errors.unexpected(request, error))

    return Route(path, endpoint, methods=[method], name=f"{method} {path}")


def answer(body: Answer) -> Response:
    """What a handler gave, on the wire."""
    if isinstance(body, Response):
        return body
    return Response(body if isinstance(body, str) else wire.dumps(body), media_type="application/json")


async def body_of(request: Request, limit: int = MAX_BODY_BYTES) -> bytes:
    """The request's body. Raises: TooLargeError before more than `limit` bytes were read."""
    wrong = TooLargeError(f"The request is larger than {limit} bytes.", hint="Nothing of it was used.")
    if int(request.headers.get("content-length") or 0) > limit:
        raise wrong
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise wrong
        pieces.append(piece)
    return b"".join(pieces)


def _query(request: Request) -> dict[str, str]:
    """The last value of each argument; both spellings are known as `page_size`."""
    return {_snake(key): plain(value, key) for key, value in request.query_params.multi_items()}


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")
