"""HTTP/1.1 as the router writes it, without IO: heads less what ends at this hop, chunks, its own answers."""

import json
from http import HTTPStatus

from tuneline.serve.openai import error_body
from tuneline.serve.router_protocol import Headers, RequestHead, ResponseHead

HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer "
    b"transfer-encoding upgrade expect".split()
)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


def upstream_head(
    head: RequestHead, request_id: bytes, client_host: str, more: bytes = b"", length: int | None = None
) -> bytes:
    """The request's head as the runtime gets it. more: whole lines of headers. length: of another body than
    came."""
    drop = _dropped(head.headers)
    if length is not None:
        drop |= {b"content-length"}
        more += b"content-length: %d\r\n" % length
    lines = [b"%b %b HTTP/1.1\r\n" % (head.method, head.target)]
    forwarded = client_host.encode()
    for name, value in head.headers:
        lower = name.lower()
        if lower == b"x-forwarded-for":
            forwarded = value + b", " + forwarded
        elif lower not in drop and lower != b"x-request-id":
            lines.append(b"%b: %b\r\n" % (name, value))
    lines.append(b"x-request-id: %b\r\nx-forwarded-for: %b\r\n%b" % (request_id, forwarded, more))
    lines.append(b"transfer-encoding: chunked\r\n\r\n" if head.chunked and length is None else b"\r\n")
    return b"".join(lines)


def client_head(
    head: ResponseHead, request_id: bytes, release: bytes, chunked: bool, http_1_1: bool, keep_alive: bool
) -> bytes:
    """The response's head as the client gets it."""
    drop = _dropped(head.headers)
    lines = [b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason)]
    for name, value in head.headers:
        lower = name.lower()
        if lower == b"x-tuneline-release":
            release = b""
        if lower not in drop and lower != b"x-request-id" and not (chunked and lower == b"content-length"):
            lines.append(b"%b: %b\r\n" % (name, value))
    lines.append(b"x-request-id: %b\r\n" % request_id)
    if release:
        lines.append(b"x-tuneline-release: %b\r\n" % release)
    if chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
    if not keep_alive:
        lines.append(b"connection: close\r\n")
    elif not http_1_1:
        lines.append(b"connection: keep-alive\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


def chunk(data: bytes) -> bytes:
    """`data` as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def error_json(status: int, message: str) -> bytes:
    """OpenAI's error envelope."""
    return json.dumps(error_body(message, status)).encode()


def error_event(status: int, message: str) -> bytes:
    """The last event of a stream that cannot go on."""
    return b"data: %b\n\n" % error_json(status, message)


def plain_response(
    status: int,
    body: bytes,
    *,
    keep_alive: bool,
    request_id: bytes = b"",
    release: bytes = b"",
    content_type: bytes = b"application/json",
    head_only: bool = False,
    retry_after_s: int | None = None,
) -> bytes:
    """A whole response of the router's own."""
    lines = [
        b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n"
        % (status, _REASONS.get(status, b""), content_type, len(body))
    ]
    if request_id:
        lines.append(b"x-request-id: %b\r\n" % request_id)
    if release:
        lines.append(b"x-tuneline-release: %b\r\n" % release)
    if retry_after_s is not None:
        lines.append(b"retry-after: %d\r\n" % retry_after_s)
    lines.append(b"\r\n" if keep_alive else b"connection: close\r\n\r\n")
    if not head_only:
        lines.append(body)
    return b"".join(lines)


def _dropped(headers: Headers) -> frozenset[bytes]:
    """Names, in lower case, that end at this hop."""
    named: list[bytes] = []
    for name, value in headers:
        if len(name) == 10 and name.lower() == b"connection":
            named += [word.strip().lower() for word in value.split(b",")]
    return HOP_BY_HOP.union(named) if named else HOP_BY_HOP
