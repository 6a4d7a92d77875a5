"""What the parts of the router need of each other, where they would otherwise import in a circle."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from tuneline.serve.router_kept import Held, Kept
from tuneline.serve.router_log import RequestLine
from tuneline.serve.router_places import Places
from tuneline.serve.router_protocol import RequestHead
from tuneline.serve.router_upstream import Pool
from tuneline.serve.traffic import Revision, Traffic


class Client(Protocol):
    """The side that asked."""

    host: str

    def write(self, data: bytes) -> None:
        """Send `data`."""
        ...

    def hold(self, held: bool) -> None:
        """Read nothing more of the request for now, or go on."""
        ...

    def exchange_over(self, *, keep_alive: bool, cut: bool) -> None:
        """The answer was sent; or `cut`: it cannot be completed, and the client must see that."""
        ...


class Ended(Protocol):
    """A request that ended, as the router sees it."""

    head: RequestHead
    host: str
    kept: Kept | None
    answered: bool
    """Whether the whole request had a whole answer from a runtime."""


class Routing(Protocol):
    """The router, as an exchange sees it."""

    traffic: Traffic
    pool: Pool
    loop: asyncio.AbstractEventLoop
    draining: bool
    places: Places
    held: Held
    sticky_names: Mapping[bytes, int]
    """Headers that name who asks, in lower case, with their rank."""
    override_name: bytes
    renaming: bool
    """Whether requests name their revision to a runtime that several share."""

    def rejected(self, revision: Revision, reason: str) -> None:
        """A request found no place: `full`, or `timeout`."""
        ...

    def count(self, name: str, *labels: str) -> None:
        """One more of a figure of `router_metrics`."""
        ...

    def mirrored(self, line: RequestLine) -> None:
        """A copy was answered and compared."""
        ...

    def moved(self, before: Revision | None, after: Revision | None) -> None:
        """A request counts for another revision now."""
        ...

    def over(self, exchange: "Ended", line: RequestLine) -> None:
        """A request ended."""
        ...
