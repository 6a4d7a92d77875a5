"""What the parts of the router need of each other, where they would otherwise import in a circle."""

import asyncio
from typing import Protocol

from tuneline.serve.router_log import RequestLine
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


class Routing(Protocol):
    """The router, as an exchange sees it."""

    traffic: Traffic
    pool: Pool
    loop: asyncio.AbstractEventLoop
    draining: bool

    def moved(self, before: Revision | None, after: Revision | None) -> None:
        """A request counts for another revision now."""
        ...

    def over(self, exchange: object, line: RequestLine) -> None:
        """A request ended."""
        ...
