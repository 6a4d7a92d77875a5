"""Who may ask: the loopback freely, everybody else with a token. The first thing every request passes.

A request is local if it comes from this machine to a name of the loopback and by no proxy: a page that a
browser was tricked into showing (DNS rebinding, another origin) is not. Whoever is not local gives a token,
as `Authorization: Bearer` or as the cookie that `/login` sets. Who it was stands in the request, for whatever
is recorded. Limits: no TLS of its own; put a proxy in front.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from typing import Protocol
from urllib.parse import quote, urlsplit

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from tuneline.actions.caller import CALLER
from tuneline.errors import ForbiddenError, TunelineError, UnauthenticatedError
from tuneline.record.tokens import PREFIX, Caller
from tuneline.types import Clock
from tuneline.web import errors
from tuneline.web.kfp import errors as kfp_errors

LOOPBACK = frozenset(("127.0.0.1", "localhost", "::1"))
COOKIE = "tuneline_token"
LOGIN, LOGOUT, STATIC = "/login", "/logout", "/static/"
"""What everybody may see: a form and how it looks."""
HEALTH = "/apis/v2beta1/healthz"
"""Also for everybody: KFP's client asks it before anything else, for 25 s if it is refused."""
IN_PROCESS = "testclient"
"""The peer that Starlette's test client says: no network is in between."""
SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
PROXIED = (
    *("forwarded", "via", "x-real-ip"),
    *("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-server"),
)
"""Set by a proxy: who really asks is not who is connected."""
PLAIN_PROXY = "1.0"
"""HTTP as nginx speaks it to what is behind it unless it is told otherwise, with no header that says so."""
KFP = "/apis/"
"""What lies below answers errors as KFP's own server does."""
HOW = "Send `Authorization: Bearer tl_...`; `tuneline token create NAME` at the server prints a token."


class Tokens(Protocol):
    """Who is known here; `record.tokens.Tokens` is one."""

    def check(self, token: str, at: float) -> Caller | None:
        """Who holds a token."""
        ...

    def any(self, at: float) -> bool:
        """Whether anybody does."""
        ...


@dataclass(frozen=True)
class Asked:
    """What of a request decides. Header names in lower case; one that stands twice is joined by commas."""

    method: str
    path: str
    headers: Mapping[str, str]
    peer: str | None
    """The address that is connected; None for a socket of this machine."""
    http_version: str = "1.1"

    @cached_property
    def local(self) -> bool:
        """See the module."""
        proxied = self.http_version == PLAIN_PROXY or any(name in self.headers for name in PROXIED)
        return (
            not proxied and _this_machine(self.peer) and _hostname(self.headers.get("host", "")) in LOOPBACK
        )

    @property
    def bearer(self) -> str:
        """The token of the Authorization header; empty without one."""
        kind, _, token = self.headers.get("authorization", "").strip().partition(" ")
        return token.strip() if kind.lower() == "bearer" else ""

    @property
    def cookie(self) -> str:
        """The token of the cookie; empty without one."""
        pairs = (part.strip().partition("=") for part in self.headers.get("cookie", "").split(";"))
        return next((value for name, _, value in pairs if name == COOKIE), "")


def admit(asked: Asked, tokens: Tokens, now: float) -> Caller | None:
    """Who asks; None for a local request without a token, and for what everybody may see.

    A local request may carry any other service's token; one of ours must be good, or it would be recorded
    under no name. Raises: UnauthenticatedError, ForbiddenError.
    """
    opened = (
        asked.path in (LOGIN, LOGOUT)
        or asked.path.startswith(STATIC)
        or (asked.path == HEALTH and asked.method == "GET")
    )
    bearer = asked.bearer if not asked.local or asked.bearer.startswith(PREFIX) else ""
    given = bearer or ("" if asked.local else asked.cookie)
    caller = tokens.check(given, now) if given else None
    if caller is None and (bearer or not asked.local) and not opened:
        raise _unknown(asked, bool(given), tokens, now)
    _refuse_origin(asked, by_cookie=not bearer)
    if caller is not None and caller.read_only and asked.method not in SAFE and not opened:
        raise ForbiddenError(
            f"The token `{caller.name}` may only read; {asked.method} {asked.path} would change something.",
            hint="`tuneline token create NAME` without --read-only makes one that may.",
        )
    return caller


class Access:
    """The middleware over `admit`."""

    def __init__(self, app: ASGIApp, tokens: Tokens, clock: Clock = time.time) -> None:
        self.app = app
        self.tokens = tokens
        self.clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the module."""
        if scope["type"] == "websocket":  # there is none, and a browser checks no origin for it
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            asked = asked_of(scope)
            plain = asked.local and not asked.bearer.startswith(PREFIX)
            try:
                caller = (
                    admit(asked, self.tokens, 0.0)  # looks nothing up: not worth a thread
                    if plain
                    else await run_in_threadpool(admit, asked, self.tokens, self.clock())
                )
            except TunelineError as error:
                await refusal(asked, error)(scope, receive, send)
                return
            scope["tuneline.caller"] = caller
            CALLER.set(caller.name if caller else "")
        await self.app(scope, receive, send)


def may_write(request: Request) -> bool:
    """Whether this request's caller may change anything."""
    caller: Caller | None = request.scope.get("tuneline.caller")
    return caller is None or not caller.read_only


def asked_of(scope: Scope) -> Asked:
    """The part of an ASGI request that decides."""
    headers: dict[str, str] = {}
    for key, value in scope["headers"]:
        name, text = key.decode("latin-1").lower(), value.decode("latin-1")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    client = scope.get("client")
    version = scope.get("http_version", "1.1")
    return Asked(scope["method"], scope["path"], headers, client[0] if client else None, version)


def refusal(asked: Asked, error: TunelineError) -> Response:
    """What a refused request gets: a browser that opens a page the login, everybody else an error as JSON."""
    page = asked.method == "GET" and "text/html" in asked.headers.get("accept", "")
    if isinstance(error, UnauthenticatedError) and page and not asked.path.startswith((KFP, "/api/")):
        return RedirectResponse(f"{LOGIN}?next={quote(asked.path)}", HTTPStatus.SEE_OTHER)
    spoken = kfp_errors if asked.path.startswith(KFP) else errors
    response: Response = spoken.response(error)
    if isinstance(error, UnauthenticatedError):
        response.headers["WWW-Authenticate"] = 'Bearer realm="tuneline"'
    return response


def same_origin(asked: Asked) -> bool:
    """Whether a request comes from no page, or from one of this server."""
    site = asked.headers.get("sec-fetch-site", "same-origin")
    if asked.method not in SAFE and site not in ("same-origin", "none"):
        return False
    origin = asked.headers.get("origin")
    here = (asked.headers.get("host", "").lower(), asked.headers.get("x-forwarded-host", "").lower())
    return origin is None or ("://" in origin and origin.partition("://")[2].lower() in here)


def _refuse_origin(asked: Asked, by_cookie: bool) -> None:
    """A browser sends the cookie, and reaches the loopback, for any page; a header comes from who has it."""
    origin = asked.headers.get("origin")
    if asked.local:
        fine = origin is None or _hostname(origin.partition("://")[2]) in LOOPBACK
    else:
        fine = not by_cookie or same_origin(asked)
    if not fine:
        raise ForbiddenError(
            f"Pages of {origin or 'another site'} may not use this server.",
            hint="Open its own pages instead.",
        )


def _unknown(asked: Asked, given: bool, tokens: Tokens, now: float) -> TunelineError:
    if given:
        return UnauthenticatedError(
            "This token is not good here: it is unknown, expired or revoked.", hint=HOW
        )
    if not tokens.any(now):
        host = asked.headers.get("host", "")
        return ForbiddenError(
            f"This server answers on 127.0.0.1 only, not as `{host}`: it has no tokens.",
            hint="Use http://127.0.0.1:PORT, or make a token: `tuneline token create NAME`.",
        )
    return UnauthenticatedError(
        "This server wants to know who asks from elsewhere than its machine.", hint=HOW
    )


def _this_machine(peer: str | None) -> bool:
    if peer is None:
        return True
    try:
        address = ip_address(peer)
    except ValueError:
        return peer == IN_PROCESS
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _hostname(host: str) -> str:
    try:
        return urlsplit("//" + host).hostname or ""
    except ValueError:
        return ""
