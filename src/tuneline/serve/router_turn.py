"""Which revision one request goes to, and its place there."""

from collections.abc import Mapping

from tuneline.serve.router_places import Waiting
from tuneline.serve.router_ports import Routing
from tuneline.serve.router_protocol import Headers, RequestHead
from tuneline.serve.traffic import Revision, assign, named

RETRY_AFTER_S = 1
"""What a caller is told who came while the queue was full."""


class Refused(Exception):
    """There is nothing for this request."""

    def __init__(self, status: int, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status, self.retry_after_s = status, retry_after_s


class Turn:
    """One request's way to a revision; asked anew for each attempt, because traffic may have changed."""

    __slots__ = ("_key", "_place", "_queue", "_router", "override", "revision", "sticky")

    def __init__(self, router: Routing, head: RequestHead, request_id: bytes) -> None:
        self._router = router
        sticky, override = find(head.headers, router.sticky_names, router.override_name)
        self.sticky, self.override = sticky.decode("latin-1"), override.decode("latin-1")
        self._key = self.sticky or request_id.decode("latin-1")
        self.revision: Revision | None = None
        self._place = self._queue = ""  # ids of the revision where it has a place, or waits for one

    def take(self, who: Waiting) -> Revision | None:
        """The revision to ask now; None: `who` waits, and is told when it is admitted. Raises: Refused."""
        router, limits = self._router, self._router.traffic.limits
        revision = self._choose()
        self._move(revision)
        if revision is None:
            raise Refused(503, "No release is served here now. Ask again in a moment.", 5)
        if not limits.max_concurrent or self._place == revision.id:
            return revision
        entered = router.places.enter(revision.id, who, limits)
        if entered:
            self._place = revision.id
            return revision
        if entered is None:
            router.rejected(revision, "full")
            message = f"All {limits.max_concurrent} places and {limits.max_queue} places to wait are taken."
            raise Refused(429, f"{message} Ask again in a moment.", RETRY_AFTER_S)
        self._queue = revision.id
        return None

    @property
    def waiting(self) -> bool:
        """Whether it waits for a place."""
        return bool(self._queue)

    def admitted(self) -> None:
        """The place it waited for is its own."""
        self._place, self._queue = self._queue, ""

    def stop_waiting(self, who: Waiting) -> None:
        """It no longer waits."""
        if self._queue:
            self._router.places.give_up(self._queue, who)
            self._queue = ""

    def leave(self, who: Waiting) -> None:
        """The request is over."""
        self.stop_waiting(who)
        self._router.moved(self.revision, None)
        self._free()

    def _choose(self) -> Revision | None:
        traffic = self._router.traffic
        if not self.override:
            return assign(traffic, self._key)
        revision = named(traffic, self.override)
        if revision is None:
            names = ", ".join(f"{each.release} ({each.id})" for each in traffic.revisions) or "none"
            self._move(None)
            raise Refused(404, f"`{self.override}` is not served here. What is: {names}.")
        return revision

    def _move(self, revision: Revision | None) -> None:
        if revision is not self.revision:
            self._router.moved(self.revision, revision)
            self.revision = revision
        if self._place and (revision is None or revision.id != self._place):
            self._free()

    def _free(self) -> None:
        if self._place:
            place, self._place = self._place, ""
            self._router.places.leave(place, self._router.traffic.limits)


def find(headers: Headers, sticky: Mapping[bytes, int], override: bytes) -> tuple[bytes, bytes]:
    """The sticky key, by the first of the `sticky` names that has a value, and the revision asked for by
    name; empty where there is none. Names in lower case, with their rank."""
    key, rank, asked = b"", len(sticky), b""
    for name, value in headers:
        lower = name.lower()
        found = sticky.get(lower, rank)
        if found < rank and value:
            key, rank = value, found
        if lower == override:
            asked = value.strip()
    return key, asked
