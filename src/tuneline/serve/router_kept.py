"""What is kept of a request while it is on its way: bodies for its line, and all that a copy to the shadow
takes. Most requests keep nothing. All that is held at once has a bound; what is beyond it is not kept.
"""

from tuneline.serve.router_compare import Answer
from tuneline.serve.router_protocol import RequestHead, ResponseHead
from tuneline.serve.traffic import Traffic, sampled

COPIED_REQUEST_BYTES = 1024 * 1024
"""A longer request is not copied to the shadow."""
COMPARED_BYTES = 256 * 1024
"""A longer answer is not compared."""
HELD_BYTES = 64 * 1024 * 1024
"""Kept at once, over all requests of one process."""


class Held:
    """How many bytes are kept now."""

    def __init__(self, most: int = HELD_BYTES) -> None:
        self.bytes, self.most = 0, most


class Body:
    """A body as it comes, up to `limit` bytes."""

    __slots__ = ("_held", "_pieces", "cut", "limit", "seen", "size")

    def __init__(self, held: Held, limit: int) -> None:
        self._held, self.limit = held, limit
        self._pieces: list[bytes] = []
        self.size = self.seen = 0
        """Bytes kept, and bytes that came."""
        self.cut = False
        """Whether something of it was not kept."""

    def add(self, data: bytes) -> None:
        """Keep `data`, as far as there is room."""
        self.seen += len(data)
        room = min(self.limit - self.size, self._held.most - self._held.bytes)
        if len(data) > room:
            self.cut, data = True, data[: max(0, room)]
        if data:
            self._pieces.append(data)
            self.size += len(data)
            self._held.bytes += len(data)

    def whole(self) -> bytes | None:
        """All of it; None if it was cut."""
        return None if self.cut else b"".join(self._pieces)

    def text(self, max_bytes: int) -> str:
        """Its first `max_bytes` bytes as text."""
        data = b"".join(self._pieces)
        text = data[:max_bytes].decode("utf-8", "replace")
        return text.rstrip("\ufffd") if self.cut or len(data) > max_bytes else text

    def free(self) -> None:
        """It is no longer needed."""
        self._held.bytes -= self.size
        self._pieces, self.size = [], 0


class Kept:
    """Bodies of one request and of its answer."""

    __slots__ = ("_encoded", "_held", "_shown", "event_stream", "request", "response", "shadow")

    def __init__(self, held: Held, shown: int, shadow: str) -> None:
        """shown: bytes of each body in the line; 0: they are not to be in it. shadow: revision id, or ""."""
        self._held, self._shown, self.shadow = held, shown, shadow
        self._encoded = self.event_stream = False
        self.request = Body(held, max(shown, COPIED_REQUEST_BYTES if shadow else 0))
        self.response = Body(held, max(shown, COMPARED_BYTES if shadow else 0))

    def answer(self, head: ResponseHead) -> None:
        """The answer's head is here."""
        self.event_stream = head.event_stream
        self._encoded = any(
            name.lower() == b"content-encoding" and value.strip().lower() != b"identity"
            for name, value in head.headers
        )

    def like(self) -> Body:
        """Room for another answer to the same request."""
        return Body(self._held, self.response.limit)

    def request_text(self) -> str | None:
        """The request's body as the line has it; None: not at all."""
        return self.request.text(self._shown) if self._shown else None

    def response_text(self, body: Body) -> str | None:
        """An answer as its line has it; None: not at all, as one that is compressed."""
        return body.text(self._shown) if self._shown and not self._encoded else None

    def answered(self, status: int) -> Answer:
        """The answer, to be compared."""
        return Answer(status, self.event_stream, self.response.whole())

    def free(self) -> None:
        """Nothing of it is needed any more."""
        self.request.free()
        self.response.free()


def keep(traffic: Traffic, head: RequestHead, request_id: str, override: bool, held: Held) -> Kept | None:
    """What is to be kept of a request; None: nothing."""
    bodies, shadow = traffic.bodies, traffic.shadow
    if bodies is None and shadow is None:
        return None
    shown, copied_to = 0, ""
    if bodies is not None and sampled(traffic, "bodies", request_id, bodies.share):
        shown = bodies.max_bytes
    if (
        shadow is not None
        and not override
        and traffic.limits.may_copy(head.method)
        and sampled(traffic, "shadow", request_id, shadow.share)
    ):
        copied_to = shadow.revision
    return Kept(held, shown, copied_to) if shown or copied_to else None
