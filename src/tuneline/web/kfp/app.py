"""The ASGI app under /apis: every route of Kubeflow Pipelines' v2beta1; what is refused says its reason."""

from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tuneline.actions import Platform
from tuneline.errors import UserError
from tuneline.web.json import JSONResponse
from tuneline.web.kfp import artifacts, errors, experiments, pipelines, recurring, runs, tasks, uploads
from tuneline.web.kfp.call import Answer, Call, route

UNBUILT = {
    "/v2beta1/visualizations/{namespace}": "Visualizations are not made by this server.",
    "/v2beta1/workflows": "There are no Argo workflows here: this server runs pipelines itself.",
    "/v2beta1/scheduledworkflows": "There are no scheduled workflows here: schedules are kept here.",
}


def create_kfp_app(platform: Platform) -> Starlette:
    """The app to mount at /apis."""
    routes = [
        *runs.ROUTES,  # first: they are asked for most, and routes are tried in order
        route("GET", "/v2beta1/healthz", _healthz),
        route("GET", "/v2beta1/auth", lambda call: {}),
        route("GET", "/v2beta1/filters", lambda call: {}),
        *(route("POST", path, _refused(reason)) for path, reason in UNBUILT.items()),
        *experiments.ROUTES,
        *uploads.ROUTES,
        *pipelines.ROUTES,
        *artifacts.ROUTES,
        *tasks.ROUTES,
        *recurring.ROUTES,
    ]
    app = Starlette(routes=[*routes, *map(_next_version, routes)], exception_handlers={HTTPException: _http})
    app.state.platform = platform
    return app


def _next_version(made: Route) -> Route:
    """The same under /apis/v2, where KFP's next release has what is in v2beta1 today."""
    return Route(made.path.replace("/v2beta1/", "/v2/", 1), made.endpoint, methods=made.methods)


def _healthz(call: Call) -> Answer:
    """KFP's part alone: everybody may ask this, also without a token."""
    found = call.platform.healthz()
    return {key: found[key] for key in ("commit_sha", "tag_name", "multi_user", "pipeline_store")}


class Unimplemented(UserError):
    """KFP has it, this server does not."""

    code, http_status = "unimplemented", 501


def _refused(reason: str) -> Any:
    def handler(call: Call) -> Answer:
        raise Unimplemented(reason)

    return handler


async def _http(request: Request, error: Exception) -> Response:
    """An address or method that is none: as grpc-gateway says it."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return JSONResponse(errors.body(12, "Method Not Allowed"), 501)
    if error.status_code == 404:
        text = "Not Found"
        if request.url.path.startswith("/apis/v1beta1"):
            text += ": this server speaks v2beta1; use the kfp SDK 2.x"
        return JSONResponse(errors.body(5, text), 404)
    return JSONResponse(errors.body(2, str(error.detail)), error.status_code)
