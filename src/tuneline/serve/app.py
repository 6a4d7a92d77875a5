"""The runtime's HTTP side: routes, errors as OpenAI's envelope, headers, cancelling for who hung up. No model
in here.

A stream's first byte waits for its first token: until then a fault is a plain HTTP error, and a router in
front may still send the request elsewhere. After it, a fault is an error event at the end of the stream.
"""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import tuneline
from tuneline.errors import TransientError, TunelineError
from tuneline.serve import openai, shapes
from tuneline.serve.answering import Answering, Choice, usage
from tuneline.serve.engine import Piece
from tuneline.serve.openai import Ask, RequestRefused

T = TypeVar("T")


@dataclass
class Serving:
    """What the routes answer from. `answering` is None while the model loads."""

    model: str
    release: str
    base: str
    answering: Answering | None = None
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def ready(self) -> Answering:
        """Raises: TransientError while the model loads."""
        if self.answering is None:
            raise TransientError("The model is still loading.", hint="Ask again in a moment.")
        return self.answering


def create_app(serving: Serving, lifespan: Any = None) -> ASGIApp:
    """The ASGI application of one runtime."""
    routes = Routes(serving)
    app = Starlette(
        routes=[
            Route("/", routes.page),
            Route("/health", routes.health),
            Route("/ping", routes.health),
            Route("/version", routes.version),
            Route("/metrics", routes.metrics),
            Route("/v1/models", routes.models),
            Route("/v1/models/{model:path}", routes.one_model),
            Route("/v1/chat/completions", routes.chat, methods=["POST"]),
            Route("/v1/completions", routes.completions, methods=["POST"]),
            Route("/generate", routes.generate, methods=["POST"]),
            Route("/tokenize", routes.tokenize, methods=["POST"]),
            Route("/detokenize", routes.detokenize, methods=["POST"]),
        ],
        exception_handlers={
            TunelineError: _on_error,
            404: _on_missing,
            405: _on_missing,
            Exception: _on_fault,
        },
        lifespan=lifespan,
    )
    return Headers(app, serving.release)


class Routes:
    """The endpoints, three lines each where that is enough."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._page = files("tuneline.serve").joinpath("static/index.html").read_text(encoding="utf-8")

    async def page(self, request: Request) -> Response:
        """A plain page to talk to the model."""
        return HTMLResponse(self._page, headers={"cache-control": "no-cache"})

    async def health(self, request: Request) -> Response:
        """200 when it can answer, 503 while it loads."""
        self._serving.ready  # noqa: B018 - raises while loading
        return JSONResponse({"status": "ok", "release": self._serving.release})

    async def version(self, request: Request) -> Response:
        """What answers here."""
        engine = self._serving.ready.engine
        return JSONResponse(
            {"version": tuneline.__version__, "runtime": engine.name, "runtime_version": engine.version}
        )

    async def metrics(self, request: Request) -> Response:
        """Prometheus figures under vLLM's names."""
        return Response(
            self._serving.ready.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8"
        )

    async def models(self, request: Request) -> Response:
        """The one model there is."""
        return JSONResponse({"object": "list", "data": [self._model_card()]})

    async def one_model(self, request: Request) -> Response:
        """The model by its name."""
        openai.check_model({"model": request.path_params["model"]}, self._names())
        return JSONResponse(self._model_card())

    async def chat(self, request: Request) -> Response:
        """OpenAI's chat completions."""
        body = await self._body(request)
        ask = openai.parse_chat(body)
        shape = shapes.Chat(uuid.uuid4().hex, self._serving.model, int(time.time()), ask.include_usage)
        return await self._answer(request, ask, lambda _: shape)

    async def completions(self, request: Request) -> Response:
        """OpenAI's completions."""
        body = await self._body(request)
        ask = openai.parse_completion(body)

        def shape(choices: list[Choice]) -> shapes.Shape:
            echoes = [choice.echo for choice in choices]
            return shapes.Completion(
                uuid.uuid4().hex, self._serving.model, int(time.time()), echoes, ask.include_usage
            )

        return await self._answer(request, ask, shape)

    async def generate(self, request: Request) -> Response:
        """vLLM's demonstration endpoint."""
        ask = openai.parse_generate(await self._body(request))
        return await self._answer(
            request, ask, lambda choices: shapes.Generate([choice.echo for choice in choices])
        )

    async def tokenize(self, request: Request) -> Response:
        """vLLM's: `{"prompt"}` or `{"messages"}` -> the ids that would be computed."""
        body = await self._body(request)
        answering = self._serving.ready
        if body.get("messages") is not None:
            ids = (await answering.choices(openai.parse_chat({**body, "stream": False})))[0].ids
        elif isinstance(body.get("prompt"), str):
            ids = await answering.engine.tokenize(
                body["prompt"], special=body.get("add_special_tokens") is not False
            )
        else:
            raise RequestRefused("`prompt` must be a text.", param="prompt")
        return JSONResponse({"count": len(ids), "max_model_len": answering.engine.context, "tokens": ids})

    async def detokenize(self, request: Request) -> Response:
        """vLLM's: `{"tokens"}` -> their text."""
        body = await self._body(request)
        ids = body.get("tokens")
        if not isinstance(ids, list) or not all(isinstance(one, int) for one in ids):
            raise RequestRefused("`tokens` must be a list of token ids.", param="tokens")
        return JSONResponse({"prompt": await self._serving.ready.engine.detokenize(ids)})

    async def _body(self, request: Request) -> Mapping[str, Any]:
        """The JSON object of a request, its model checked."""
        self._serving.ready  # noqa: B018 - 503 comes before any other fault
        try:
            body = json.loads(await request.body())
        except ValueError as error:
            raise RequestRefused(f"The body is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise RequestRefused("The body must be a JSON object.")
        openai.check_model(body, self._names())
        return body

    async def _answer(
        self, request: Request, ask: Ask, shaped: Callable[[list[Choice]], shapes.Shape]
    ) -> Response:
        answering = self._serving.ready
        choices = await answering.choices(ask)
        shape = shaped(choices)
        if not ask.stream:
            answers, used = await unless_gone(request, answering.whole(choices))
            return JSONResponse(shape.whole(answers, used))
        stream = answering.stream(choices)
        try:
            first = await unless_gone(request, anext(stream))
        except BaseException:
            await stream.aclose()
            raise
        return StreamingResponse(_events(ask, choices, shape, first, stream), media_type=shape.media_type)

    def _names(self) -> list[str]:
        return [self._serving.model, self._serving.release]

    def _model_card(self) -> dict[str, Any]:
        serving = self._serving
        context = serving.answering.engine.context if serving.answering else None
        card = {"id": serving.model, "object": "model", "created": serving.created, "owned_by": "tuneline"}
        return {
            **card,
            "root": serving.base,
            "parent": serving.base,
            "max_model_len": context,
            "release": serving.release,
        }


async def _events(
    ask: Ask,
    choices: list[Choice],
    shape: shapes.Shape,
    first: tuple[int, Piece],
    stream: AsyncGenerator[Any],
) -> AsyncGenerator[bytes]:
    """The body of a stream that has begun."""
    wants, tokens = ask.sampling.logprobs is not None, first[1].count
    async with aclosing(stream):
        yield b"".join(shape.start(place) for place in range(len(choices))) + shape.piece(*first, wants)
        try:
            async for place, piece in stream:
                tokens += piece.count
                if event := shape.piece(place, piece, wants):
                    yield event
        except TunelineError as error:
            yield shapes.error_event(openai.error_body(error.message, error.http_status))
            return
        if end := shape.end(usage(choices, tokens) if ask.include_usage else None):
            yield end


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """The result of `work`, which is cancelled if the client hangs up. Raises: ClientDisconnect then."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnect
    finally:
        for one in (task, gone):
            one.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await one


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Headers:
    """Adds the release and the request's id to every response, whatever made it."""

    def __init__(self, app: ASGIApp, release: str) -> None:
        self._app, self._release = app, release.encode("latin-1", "replace")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        added = [
            (b"x-tuneline-release", self._release),
            (b"x-request-id", asked or uuid.uuid4().hex.encode()),
        ]

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        with suppress(ClientDisconnect):  # nobody is there to be answered
            await self._app(scope, receive, with_headers)


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, TunelineError)
    message = f"{error.message} {error.hint}".strip()
    param, code = getattr(error, "param", None), getattr(error, "error_code", None)
    headers = {"retry-after": "1"} if error.http_status == 503 else None
    status = error.http_status
    return JSONResponse(openai.error_body(message, status, param, code), status, headers)


async def _on_missing(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    says = f"There is no {request.method} {request.url.path} here."
    return JSONResponse(openai.error_body(says, status), status)


async def _on_fault(request: Request, error: Exception) -> Response:
    return JSONResponse(openai.error_body(f"The runtime broke: {type(error).__name__}.", 500), 500)
