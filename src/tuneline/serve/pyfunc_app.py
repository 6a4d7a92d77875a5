"""The routes of the runtime `pyfunc`: MLflow's `/invocations`, and health, version and figures as elsewhere.

Errors are MLflow's objects, `{"error_code", "message"}`; what the user's own code raised is 500 with its
message, the traceback is in the log.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

import tuneline
from tuneline.errors import OwnCodeError, TransientError, TunelineError
from tuneline.serve.app import Headers, unless_gone
from tuneline.serve.openai import RequestRefused
from tuneline.serve.pyfunc import MAX_BODY, Predicting
from tuneline.serve.scoring import FORMS, parse_scoring

MANIFEST_HEADER = "x-tuneline-manifest"
"""Set to 1, the release's manifest is in the response; so is it with `?manifest=1`."""


@dataclass
class PyfuncServing:
    """What the routes answer from. `predicting` is None while the model loads."""

    model: str
    release: str
    version: str
    manifest: Mapping[str, Any]
    predicting: Predicting | None = None

    @property
    def ready(self) -> Predicting:
        """Raises: TransientError while the model loads."""
        if self.predicting is None:
            raise TransientError("The model is still loading.", hint="Ask again in a moment.")
        return self.predicting


def create_pyfunc_app(serving: PyfuncServing, lifespan: Any = None) -> ASGIApp:
    """The ASGI application of one runtime."""
    routes = _Routes(serving)
    app = Starlette(
        routes=[
            Route("/", routes.about),
            Route("/health", routes.health),
            Route("/ping", routes.health),
            Route("/version", routes.version),
            Route("/metrics", routes.metrics),
            Route("/invocations", routes.invocations, methods=["POST"]),
        ],
        exception_handlers={
            TunelineError: _on_error, 404: _on_missing, 405: _on_missing, Exception: _on_fault,
        },
        lifespan=lifespan,
    )  # fmt: skip
    return Headers(app, serving.release)


class _Routes:
    def __init__(self, serving: PyfuncServing) -> None:
        self._serving = serving

    async def about(self, request: Request) -> Response:
        """What answers here and how it is asked."""
        serving = self._serving
        body = {"model": serving.model, "release": serving.release, "runtime": "pyfunc"}
        return JSONResponse({**body, "ask": f"POST /invocations with one of {', '.join(FORMS)}"})

    async def health(self, request: Request) -> Response:
        """200 when it can answer, 503 while it loads."""
        self._serving.ready  # noqa: B018 - raises while loading
        return JSONResponse({"status": "ok", "release": self._serving.release})

    async def version(self, request: Request) -> Response:
        """What answers here."""
        self._serving.ready  # noqa: B018 - raises while loading
        versions = {"version": tuneline.__version__, "runtime_version": self._serving.version}
        return JSONResponse({**versions, "runtime": "pyfunc"})

    async def metrics(self, request: Request) -> Response:
        """Prometheus figures under vLLM's names."""
        text = self._serving.ready.metrics.text()
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def invocations(self, request: Request) -> Response:
        """MLflow's scoring: `{"predictions"}`; with the manifest where it is asked for."""
        predicting = self._serving.ready
        scoring = parse_scoring(await _body(request), request.headers.get("content-type", ""))
        said = {"predictions": await unless_gone(request, predicting.predictions(scoring))}
        asked = request.headers.get(MANIFEST_HEADER) or request.query_params.get("manifest") or ""
        if asked.lower() in ("1", "true", "yes"):
            said["manifest"] = {"release": self._serving.release, **self._serving.manifest}
        text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
        return Response(text, media_type="application/json")


async def _body(request: Request) -> bytes:
    """Raises: RequestRefused (413) for a body that is too large, before it has all been read."""
    length = request.headers.get("content-length", "")
    found = bytearray()
    if not (length.isdigit() and int(length) > MAX_BODY):
        async for chunk in request.stream():
            found += chunk
            if len(found) > MAX_BODY:
                break
        else:
            return bytes(found)
    raise RequestRefused(f"The body has more than {MAX_BODY >> 20} MiB; ask for fewer rows.", status=413)


_CODES = {400: "BAD_REQUEST", 404: "NOT_FOUND", 405: "NOT_FOUND", 413: "BAD_REQUEST", 415: "BAD_REQUEST"}


def _error(message: str, status: int, details: list[str] | None = None) -> Response:
    """MLflow's error object."""
    code = "TEMPORARILY_UNAVAILABLE" if status == 503 else _CODES.get(status, "INTERNAL_ERROR")
    body: dict[str, Any] = {"error_code": code, "message": message}
    if details:
        body["stack_trace"] = "\n".join(details)
    return JSONResponse(body, status, {"retry-after": "1"} if status == 503 else None)


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, TunelineError)
    status = 500 if isinstance(error, OwnCodeError) else error.http_status
    return _error(f"{error.message} {error.hint}".strip(), status, error.details)


async def _on_missing(request: Request, error: Exception) -> Response:
    says = f"There is no {request.method} {request.url.path} here; POST /invocations is."
    return _error(says, getattr(error, "status_code", 404))


async def _on_fault(request: Request, error: Exception) -> Response:
    return _error(f"The runtime broke: {type(error).__name__}.", 500)
