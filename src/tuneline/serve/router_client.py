"""A client's connection: requests in, one after another; answers out, in the same order.

Requests sent ahead (pipelining) wait for their turn, and nothing more is read meanwhile. After an answer that
came before its request was complete, what still comes is thrown away for a moment, so that the client reads
the answer instead of a reset.
"""

import asyncio
from collections import deque
from typing import Protocol, cast

from tuneline.serve.router_exchange import Exchange
from tuneline.serve.router_ports import Routing
from tuneline.serve.router_protocol import END, BadMessage, RequestEvent, RequestHead, RequestReader
from tuneline.serve.router_wire import CONTINUE, error_json, plain_response

LINGER_S = 1.0


class Site(Routing, Protocol):
    """The router, as a connection sees it."""

    def owns(self, head: RequestHead) -> bool:
        """Whether a request is answered by the router itself."""
        ...

    def own_answer(self, head: RequestHead) -> tuple[int, bytes, bytes] | None:
        """Status, content type and body of what the router answers itself; None for all else."""
        ...

    def opened(self, connection: "Connection") -> None:
        """A client came."""
        ...

    def closed(self, connection: "Connection") -> None:
        """It went."""
        ...

    def began(self, exchange: Exchange) -> None:
        """A request came."""
        ...

    def malformed(self, status: int) -> None:
        """Something came that is no request."""
        ...


class Connection(asyncio.Protocol):
    """One client."""

    __slots__ = (
        "_ahead", "_closing", "_exchange", "_full", "_held", "_own", "_reader", "_reading", "_site",
        "_transport", "host", "quiet_since",
    )  # fmt: skip

    def __init__(self, site: Site) -> None:
        self._site = site
        self._reader = RequestReader()
        self._exchange: Exchange | None = None
        self._own: RequestHead | None = None  # a request that the router answers itself, until it is complete
        self._ahead: deque[RequestEvent] = deque()
        self._transport: asyncio.Transport = None  # type: ignore[assignment] # asyncio sets it first
        self._closing = False  # nothing that comes now is looked at
        self._held = self._full = False
        self._reading = True
        self.host = "-"
        self.quiet_since = 0.0
        """The loop's time when it last sent something or was answered."""

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.host = str(peer[0]) if peer else "-"
        self.quiet_since = self._site.loop.time()
        self._site.opened(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        if self._closing:
            return
        self.quiet_since = self._site.loop.time()
        events = self._reader.feed(data)
        if self._ahead:
            self._ahead.extend(events)
        else:
            self._ahead = deque(events)
            self._handle()

    def connection_lost(self, error: Exception | None) -> None:
        """The client went; what computes its answer stops."""
        self._closing = True
        self._ahead.clear()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abandon()
        self._site.closed(self)

    def pause_writing(self) -> None:
        """The client reads slower than the answer comes."""
        self._full = True
        if self._exchange is not None:
            self._exchange.hold(True)

    def resume_writing(self) -> None:
        """It has caught up."""
        self._full = False
        if self._exchange is not None:
            self._exchange.hold(False)

    # What an exchange calls

    def write(self, data: bytes) -> None:
        """Send `data`."""
        self._transport.write(data)

    def hold(self, held: bool) -> None:
        """Read nothing more of the request for now, or go on."""
        self._held = held
        self._set_reading()

    def exchange_over(self, *, keep_alive: bool, cut: bool) -> None:
        """The answer was sent, or cannot be completed."""
        exchange, self._exchange = self._exchange, None
        self._held = False
        self.quiet_since = self._site.loop.time()
        if cut:
            self._closing = True
            self._transport.abort()
        elif not keep_alive:
            self._end(linger=exchange is not None and not exchange.body_done)
        else:
            # not at once: whoever calls is in the middle of its own work
            if self._ahead:
                self._site.loop.call_soon(self._go_on)
            self._set_reading()

    # What the router calls

    @property
    def idle(self) -> bool:
        """Whether it waits for a request of which nothing came yet."""
        return self._exchange is None and not self._ahead and self._own is None and self._reader.between

    @property
    def stalled(self) -> bool:
        """Whether it waits for the rest of a request's head."""
        return self._exchange is None and not self._ahead and not self._reader.between

    def close(self) -> None:
        """Close it."""
        self._closing = True
        self._transport.close()

    # Inside

    def _handle(self) -> None:
        """Work on what came, up to a request whose turn has not come."""
        fresh: Exchange | None = None  # begun here; asked once what of its body came along is with it
        while self._ahead and not self._closing:
            event, exchange = self._ahead[0], self._exchange
            if isinstance(event, RequestHead | BadMessage) and exchange is not None and exchange.body_done:
                break
            self._ahead.popleft()
            if isinstance(event, RequestHead):
                fresh = self._begin(event)
            elif isinstance(event, BadMessage):
                self._answer_bad(event)
            elif exchange is None:
                if event is END and self._own is not None:
                    self._answer_own(self._own)
            elif isinstance(event, bytes):
                exchange.body(event)
            else:
                exchange.body_end()
                if fresh is not None:
                    fresh.start()
                    fresh = None
        if fresh is not None:
            fresh.start()
        if not self._closing:
            self._set_reading()

    def _go_on(self) -> None:
        if self._exchange is None and not self._closing:
            self._handle()

    def _begin(self, head: RequestHead) -> Exchange | None:
        if self._site.owns(head):
            self._own = head
            return None
        exchange = self._exchange = Exchange(self._site, self, head)
        self._site.began(exchange)
        if self._full:
            exchange.hold(True)
        if exchange.refuse_too_long():
            return None
        if head.expects_continue and head.http_1_1 and head.length != 0:
            self._transport.write(CONTINUE)
        return exchange

    def _answer_own(self, head: RequestHead) -> None:
        self._own = None
        found = self._site.own_answer(head)
        status, kind, body = found or (404, b"application/json", error_json(404, "There is nothing here."))
        answer = plain_response(
            status, body, keep_alive=head.keep_alive, content_type=kind, head_only=head.method == b"HEAD"
        )
        self._transport.write(answer)
        if not head.keep_alive:
            self._end(linger=False)

    def _answer_bad(self, error: BadMessage) -> None:
        self._site.malformed(error.status)
        if self._exchange is not None:  # in the middle of its body
            exchange, self._exchange = self._exchange, None
            begun = exchange.answering
            exchange.abandon()
            if begun:
                self.close()
                return
        self._transport.write(
            plain_response(error.status, error_json(error.status, str(error)), keep_alive=False)
        )
        self._end(linger=True)

    def _end(self, *, linger: bool) -> None:
        self._closing = True
        if linger and not self._transport.is_closing():
            if self._transport.can_write_eof():
                self._transport.write_eof()
            if not self._reading:
                self._transport.resume_reading()
            self._site.loop.call_later(LINGER_S, self._transport.close)
        else:
            self._transport.close()

    def _set_reading(self) -> None:
        reading = not (self._held or self._ahead)
        if reading != self._reading and not self._transport.is_closing():
            self._reading = reading
            (self._transport.resume_reading if reading else self._transport.pause_reading)()
