"""Connections to runtimes: one request at a time on each, kept for the next one, fresh ones made when none is
free.

IO only: what to do with what arrives, and with a connection that is lost, is the `Receiver`'s business.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

from tuneline.serve.router_protocol import END, BadMessage, ResponseEvent, ResponseReader

IDLE_S = 30.0
"""How long an unused connection is kept; shorter than uvicorn's and nginx's 75 s, so that we close first."""
MAX_IDLE = 256
"""Unused connections kept to one runtime."""

Address = tuple[str, int]


class Receiver(Protocol):
    """Whoever waits for a response."""

    def upstream_events(self, events: list[ResponseEvent]) -> None:
        """Pieces of the response, in order."""
        ...

    def upstream_lost(self, reason: str) -> None:
        """The connection ended before the response did."""
        ...

    def upstream_full(self, full: bool) -> None:
        """Whether the runtime takes the request slower than it comes."""
        ...


class Upstream(asyncio.Protocol):
    """One connection."""

    __slots__ = (
        "_held",
        "_pool",
        "_reader",
        "_receiver",
        "address",
        "idle_since",
        "open",
        "transport",
        "used",
    )

    def __init__(self, pool: "Pool", address: Address) -> None:
        self._pool = pool
        self.address = address
        self._reader = ResponseReader()
        self._receiver: Receiver | None = None
        self.transport: asyncio.Transport = None  # type: ignore[assignment] # set before anybody has it
        self.open = False
        self.used = False
        """Whether it served a request before: it may then be stale."""
        self.idle_since = 0.0
        self._held = False

    def begin(self, receiver: Receiver, method: bytes) -> None:
        """Give what comes to `receiver`, as the response to a request with `method`."""
        self._receiver = receiver
        self._reader.expect(method)

    def end(self, *, reusable: bool) -> None:
        """The request is over: keep the connection, or close it."""
        self._receiver = None
        if reusable and self.open and self._reader.complete:
            self.used = True
            self.hold(False)
            self._pool.put(self)
        elif self.open:
            self.transport.abort()

    def hold(self, held: bool) -> None:
        """Read nothing more of the response for now, or go on."""
        if held != self._held and self.open:
            self._held = held
            (self.transport.pause_reading if held else self.transport.resume_reading)()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self.transport = cast(asyncio.Transport, transport)
        self.open = True

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        receiver = self._receiver
        try:
            events = self._reader.feed(data)
        except BadMessage as error:
            self._lose(str(error))
            return
        if receiver is not None and events:
            receiver.upstream_events(events)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio."""
        proper = self.open and self._reader.eof()
        self.open = False
        receiver = self._receiver
        if receiver is None:
            self._pool.forget(self)
        elif proper:
            receiver.upstream_events([END])
        else:
            self._lose("The runtime closed the connection.")

    def pause_writing(self) -> None:
        """Called by asyncio."""
        if self._receiver is not None:
            self._receiver.upstream_full(True)

    def resume_writing(self) -> None:
        """Called by asyncio."""
        if self._receiver is not None:
            self._receiver.upstream_full(False)

    def _lose(self, reason: str) -> None:
        receiver, self._receiver = self._receiver, None
        if self.open:
            self.transport.abort()
        if receiver is not None:
            receiver.upstream_lost(reason)


class Pool:
    """Connections that serve nobody now, by address; the newest is used first."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._idle: dict[Address, deque[Upstream]] = {}

    def take(self, address: Address) -> Upstream | None:
        """A connection kept from before, if there is one."""
        idle = self._idle.get(address)
        while idle:
            upstream = idle.pop()
            if upstream.open and not upstream.transport.is_closing():
                return upstream
        return None

    async def connect(self, address: Address, timeout_s: float) -> Upstream:
        """A fresh connection. Raises: OSError, TimeoutError."""
        make: Callable[[], Upstream] = lambda: Upstream(self, address)  # noqa: E731
        async with asyncio.timeout(timeout_s):
            _, upstream = await self._loop.create_connection(make, *address)
        return upstream

    def put(self, upstream: Upstream) -> None:
        """Keep it for the next request."""
        idle = self._idle.setdefault(upstream.address, deque())
        if len(idle) >= MAX_IDLE:
            upstream.transport.close()
            return
        upstream.idle_since = self._loop.time()
        idle.append(upstream)

    def forget(self, upstream: Upstream) -> None:
        """It was closed."""
        idle = self._idle.get(upstream.address)
        if idle and upstream in idle:
            idle.remove(upstream)

    def sweep(self, keep: set[Address]) -> None:
        """Close what was unused for long, and everything to addresses not in `keep`."""
        now = self._loop.time()
        for address, idle in list(self._idle.items()):
            while idle and (address not in keep or now - idle[0].idle_since > IDLE_S):
                idle.popleft().transport.close()
            if not idle:
                del self._idle[address]
