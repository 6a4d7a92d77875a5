"""HTTP/1.1 as the router reads it, without IO: bytes in, events out. Any driver can run it.

httptools (llhttp) parses; this adds what it leaves open: limits, `Host`, `Expect`, framing, refused upgrades,
answers to HEAD. Trailers are dropped. `router_wire.py` is the way back: heads, chunks and errors as bytes.
"""

from dataclasses import dataclass

import httptools

MAX_HEAD_BYTES = 64 * 1024
"""Of a request's line and headers together."""
_TOO_LONG = f"The headers are longer than {MAX_HEAD_BYTES} bytes."

Headers = list[tuple[bytes, bytes]]


class End:
    """A message is complete."""


END = End()


class BadMessage(Exception):
    """What came is no HTTP that can go on. `status` is what to answer a client with."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class RequestHead:
    """One request's head. Header names and values as they came."""

    method: bytes
    target: bytes
    headers: Headers
    http_1_1: bool
    keep_alive: bool
    length: int | None
    """Bytes of the body; None if it comes in chunks."""
    expects_continue: bool
    request_id: bytes
    """As the client gave it; empty if it did not, or not a printable one of at most 200 bytes."""

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return self.length is None


@dataclass(slots=True)
class ResponseHead:
    """One response's head."""

    status: int
    reason: bytes
    headers: Headers
    keep_alive: bool
    """Whether the connection can serve another request afterwards."""
    framing: str
    """`none`, `length`, `chunked`, or `close`: the body ends with the connection."""
    event_stream: bool


RequestEvent = RequestHead | bytes | End | BadMessage
ResponseEvent = ResponseHead | bytes | End


class RequestReader:
    """Bytes of a client's connection -> requests."""

    __slots__ = ("_again", "_events", "_head_bytes", "_headers", "_in_head", "_parser", "_url")

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._events: list[RequestEvent] = []
        self._headers: Headers = []
        self._url = b""
        self._in_head = True
        self._head_bytes = 0
        self._again = False

    @property
    def between(self) -> bool:
        """Whether no request has begun that is not complete."""
        return self._in_head and self._head_bytes == 0

    def feed(self, data: bytes) -> list[RequestEvent]:
        """The events in `data`. A BadMessage is the last one there will be."""
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._refuse_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            cause = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else None
            bad = BadMessage(400, f"The request is no valid HTTP/1.1: {error}")
            self._events.append(cause if isinstance(cause, BadMessage) else bad)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self._events.append(BadMessage(431, _TOO_LONG))
        return self._taken()

    def _refuse_upgrade(self, rest: bytes) -> list[RequestEvent]:
        """Read on as if none had been asked for: a server may ignore it, and Java's client always asks."""
        events = self._taken()
        head = events[-2]
        assert isinstance(head, RequestHead)
        if head.length != 0:  # llhttp took the body for the other protocol's bytes
            events.pop()
            self._parser = httptools.HttpRequestParser(self)
            self._again = True
            lines = [b"%b / HTTP/1.1\r\nhost: -\r\n" % head.method]
            framing = b"transfer-encoding: chunked"
            if head.length is not None:
                framing = b"content-length: %d" % head.length
            self._parser.feed_data(b"".join([*lines, framing, b"\r\n\r\n"]))
        return events + (self.feed(rest) if rest else [])

    def on_message_begin(self) -> None:
        """Called by httptools."""
        self._headers, self._url, self._in_head = [], b"", True

    def on_url(self, url: bytes) -> None:
        """Called by httptools, once for each piece."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by httptools; also for trailers, which are dropped."""
        if self._in_head:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Called by httptools."""
        arrived, self._in_head, self._head_bytes = self._head_bytes, False, 0
        if arrived > MAX_HEAD_BYTES:  # of the head, perhaps, and of what came along with it
            arrived = len(self._url) + sum(len(name) + len(value) + 4 for name, value in self._headers)
            if arrived > MAX_HEAD_BYTES:
                raise BadMessage(431, _TOO_LONG)
        if self._again:
            self._again = False
            return
        parser = self._parser
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise BadMessage(505, f"HTTP/{version} is not spoken here.")
        head = _request_head(parser.get_method(), self._url, self._headers, version == "1.1")
        head.keep_alive = parser.should_keep_alive()
        self._events.append(head)

    def on_body(self, data: bytes) -> None:
        """Called by httptools."""
        self._events.append(data)

    def on_message_complete(self) -> None:
        """Called by httptools."""
        self._events.append(END)
        self._in_head = True

    def _taken(self) -> list[RequestEvent]:
        events, self._events = self._events, []
        return events


class ResponseReader:
    """Bytes of an upstream's connection -> the response to one request after another.

    `expect` tells it each request's method first.
    """

    __slots__ = ("_events", "_framing", "_head_only", "_headers", "_parser", "_reason", "complete")

    def __init__(self) -> None:
        self.complete = True
        """Whether the response to the last request was read to its end."""
        self._head_only = False
        self._parser = httptools.HttpResponseParser(self)
        self._events: list[ResponseEvent] = []
        self._headers: Headers = []
        self._reason = b""
        self._framing = ""

    def expect(self, method: bytes) -> None:
        """The next response answers a request with `method`."""
        if self._head_only:  # llhttp waits for a body that never comes
            self._parser = httptools.HttpResponseParser(self)
        self._head_only, self.complete = method == b"HEAD", False

    def feed(self, data: bytes) -> list[ResponseEvent]:
        """The events in `data`. Raises: BadMessage."""
        if self.complete:
            raise BadMessage(502, "The runtime sent something that nobody had asked for.")
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise BadMessage(502, f"The runtime's answer is no valid HTTP/1.1: {error}") from error
        events, self._events = self._events, []
        return events

    def eof(self) -> bool:
        """The connection ended. Whether that is the proper end of the response."""
        return not self.complete and self._framing == "close"

    def on_status(self, reason: bytes) -> None:
        """Called by httptools, once for each piece."""
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by httptools; also for trailers, which are dropped."""
        if not self._framing:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Called by httptools."""
        status = self._parser.get_status_code()
        if status < 200:  # the real answer follows
            self._headers, self._reason = [], b""
            return
        self._framing, event_stream = _response_framing(status, self._headers, self._head_only)
        keep = self._parser.should_keep_alive() and self._framing != "close"
        self._events.append(
            ResponseHead(status, self._reason, self._headers, keep, self._framing, event_stream)
        )
        if self._head_only:
            self._finish()

    def on_body(self, data: bytes) -> None:
        """Called by httptools."""
        if not self.complete:
            self._events.append(data)

    def on_message_complete(self) -> None:
        """Called by httptools."""
        if self._framing and not self.complete:
            self._finish()

    def _finish(self) -> None:
        self._events.append(END)
        self.complete = True
        self._headers, self._reason, self._framing = [], b"", ""


def _request_head(method: bytes, target: bytes, headers: Headers, http_1_1: bool) -> RequestHead:
    if method == b"CONNECT" or not target.startswith((b"/", b"*")):
        raise BadMessage(400, "This is an endpoint, not a proxy: give a path.")
    head = RequestHead(method, target, headers, http_1_1, True, 0, False, b"")
    hosts = _read_headers(head)
    if http_1_1 and hosts != 1:
        raise BadMessage(400, f"The request has {hosts} Host headers instead of one.")
    return head


def _read_headers(head: RequestHead) -> int:
    """Set what the headers say; how many `Host` there are."""
    hosts = 0
    for name, value in head.headers:
        lower = name.lower()
        if lower == b"host":
            hosts += 1
        elif lower == b"content-length":
            head.length = int(value)
        elif lower == b"transfer-encoding":
            if value.strip().lower() != b"chunked":
                raise BadMessage(501, "Only `chunked` is taken as transfer encoding.")
            head.length = None
        elif lower == b"expect":
            head.expects_continue = value.lower() == b"100-continue"
        elif lower == b"x-request-id" and 0 < len(value) <= 200 and value.isascii():
            head.request_id = value
        elif lower == b"upgrade" and value.lower() == b"websocket":
            raise BadMessage(501, "WebSocket is not spoken here.")
    return hosts


def _response_framing(status: int, headers: Headers, head_only: bool) -> tuple[str, bool]:
    framing, event_stream = "close", False
    for name, value in headers:
        lower = name.lower()
        if lower == b"transfer-encoding":
            framing = "chunked"
        elif lower == b"content-length" and framing == "close":
            framing = "length"
        elif lower == b"content-type":
            event_stream = value.startswith(b"text/event-stream")
    if head_only or status in (204, 304):
        framing = "none"
    return framing, event_stream
