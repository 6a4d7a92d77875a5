"""The two uploads: a multipart body ( `uploadfile`; the rest in the query), errors of their own shape."""

import json
from collections.abc import Callable

from python_multipart.exceptions import FormParserError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tuneline.actions.kfp.pipelines import Described
from tuneline.errors import TooLargeError, TunelineError, UserError
from tuneline.spec.documents import MAX_BYTES
from tuneline.web.kfp import errors
from tuneline.web.kfp.call import Answer, answer, body_of
from tuneline.web.kfp.messages import plain, texts_by_key
from tuneline.web.kfp.pipelines import pipeline, version

_ROOM = 64 * 1024
"""For the lines around the file."""

Upload = Callable[[Request, Described, str, bytes], Answer]


def _pipeline(request: Request, said: Described, name: str, data: bytes) -> Answer:
    return pipeline(request.app.state.platform.kfp.pipelines.upload(said, name, data))


def _version(request: Request, said: Described, name: str, data: bytes) -> Answer:
    id = request.query_params.get("pipelineid", "")
    if not id:
        raise UserError("Failed to create a pipeline version: `pipelineid` is missing.")
    return version(request.app.state.platform.kfp.pipelines.upload_version(id, said, name, data))


def _route(path: str, upload: Upload) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            name, data = await _file(request)
            return answer(await run_in_threadpool(upload, request, _described(request), name, data))
        except TunelineError as error:
            return errors.upload_response(error)
        except Exception as error:
            return errors.upload_response(errors.unexpected(request, error))

    return Route(path, endpoint, methods=["POST"])


async def _file(request: Request) -> tuple[str, bytes]:
    """Name and bytes of the part `uploadfile`. Raises: UserError, TooLargeError."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise UserError("Failed to read pipeline from file: the request is no multipart/form-data.")
    try:
        body = await body_of(request, MAX_BYTES + _ROOM)
    except TooLargeError as error:
        raise TooLargeError(f"File size too large. Maximum supported size: {MAX_BYTES} bytes.") from error

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        async with Request(request.scope, receive).form(max_files=1, max_fields=20) as form:
            part = form.get("uploadfile")
            if not isinstance(part, UploadFile):
                raise UserError("Failed to read pipeline from file: there is no part `uploadfile`.")
            return part.filename or "", await part.read()
    except (HTTPException, FormParserError) as error:
        why = error.detail if isinstance(error, HTTPException) else str(error)
        raise UserError(f"Failed to read pipeline from file: {why}.") from error


def _described(request: Request) -> Described:
    query = {key: plain(value, key) for key, value in request.query_params.items()}
    tags = query.get("tags", "")
    try:
        parsed = texts_by_key(json.loads(tags), "tags") if tags else {}
    except (ValueError, RecursionError, UserError) as error:
        raise UserError(
            "Failed to parse tags query parameter. Expected JSON object with string keys and values."
        ) from error
    return Described(
        name=query.get("name", ""),
        display_name=query.get("display_name", ""),
        description=query.get("description", ""),
        code_source_url=query.get("code_source_url", ""),
        tags=parsed,
    )


ROUTES = [
    _route("/v2beta1/pipelines/upload", _pipeline),
    _route("/v2beta1/pipelines/upload_version", _version),
]
