"""Copies of requests to the shadow: sent when the live answer is over, compared with it, and thrown away.

A copy is never waited for, is asked once, and holds nothing of the caller's. Beyond `max_in_flight` copies
are dropped and counted. A caller that hung up got no answer to compare, so nothing is computed for it either.
"""

import asyncio
import time
from dataclasses import dataclass

from tuneline.serve.router_compare import Answer, agree
from tuneline.serve.router_kept import Kept
from tuneline.serve.router_log import RequestLine
from tuneline.serve.router_ports import Routing
from tuneline.serve.router_protocol import RequestHead, ResponseEvent, ResponseHead
from tuneline.serve.router_renaming import renamed
from tuneline.serve.router_upstream import Upstream
from tuneline.serve.router_wire import LAST_CHUNK, chunk, upstream_head
from tuneline.serve.traffic import Revision, Shadow

HERE_BYTES = 16 * 1024
"""Longer answers are compared in a thread."""
MARK = b"x-tuneline-shadow: 1\r\n"
"""Tells a runtime that nobody waits for the answer."""


@dataclass(frozen=True, slots=True)
class Original:
    """The request that was answered."""

    head: RequestHead
    host: str
    line: RequestLine
    kept: Kept


class Mirrors:
    """The copies under way."""

    def __init__(self, router: Routing) -> None:
        self._router = router
        self._under_way: set[Mirror] = set()

    def __len__(self) -> int:
        return len(self._under_way)

    def begin(self, original: Original) -> None:
        """Send a copy, if there is room for it. What is kept is freed once it is compared, or at once."""
        shadow, kept = self._router.traffic.shadow, original.kept
        revision = self._revision(shadow)
        if shadow is None or revision is None or revision.id != kept.shadow:
            self._drop(kept, "withdrawn")
        elif kept.request.cut:
            self._drop(kept, "long")
        elif len(self._under_way) >= max(1, self._router.places.part(shadow.max_in_flight)):
            self._drop(kept, "full")
        else:
            mirror = Mirror(self._router, self, revision, original)
            self._under_way.add(mirror)
            mirror.start(shadow.timeout_s)

    def over(self, mirror: "Mirror") -> None:
        """A copy ended."""
        self._under_way.discard(mirror)

    def withdraw(self, reason: str, keep: Revision | None = None) -> None:
        """End all copies but those to `keep`."""
        for mirror in list(self._under_way):
            if keep is None or mirror.revision.id != keep.id:
                mirror.cancel()
                self._drop(mirror.original.kept, reason)

    def follow(self) -> None:
        """Traffic changed."""
        self.withdraw("withdrawn", self._revision(self._router.traffic.shadow))

    def _revision(self, shadow: Shadow | None) -> Revision | None:
        listed = self._router.traffic.revisions
        return next((each for each in listed if shadow is not None and each.id == shadow.revision), None)

    def _drop(self, kept: Kept, reason: str) -> None:
        kept.free()
        self._router.count("mirrors_dropped_total", reason)


class Mirror:
    """One copy."""

    __slots__ = (
        "_at", "_began", "_keep_alive", "_mirrors", "_over", "_response", "_router", "_status", "_stream",
        "_task", "_timer", "_upstream", "original", "revision",
    )  # fmt: skip

    def __init__(self, router: Routing, mirrors: Mirrors, revision: Revision, original: Original) -> None:
        self._router, self._mirrors = router, mirrors
        self.revision, self.original = revision, original
        self._response = original.kept.like()
        self._at, self._began = time.time(), time.monotonic()
        self._status, self._stream, self._keep_alive, self._over = 0, False, False, False
        self._upstream: Upstream | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        router.moved(None, revision)

    def start(self, timeout_s: float) -> None:
        """Ask."""
        self._timer = self._router.loop.call_later(timeout_s, self._finish, 504)
        address = (self.revision.host, self.revision.port)
        upstream = self._router.pool.take(address)
        if upstream is not None:
            self._ask(upstream)
        else:
            self._task = self._router.loop.create_task(self._connect(address))

    def cancel(self) -> None:
        """Nobody wants the answer any more."""
        if not self._over:
            self._stop(reusable=False)
            self._router.moved(self.revision, None)
            self._response.free()

    # What the runtime's side calls

    def upstream_events(self, events: list[ResponseEvent]) -> None:
        """Pieces of the answer."""
        for event in events:
            if isinstance(event, bytes):
                self._response.add(event)
            elif isinstance(event, ResponseHead):
                self._status, self._stream = event.status, event.event_stream
                self._keep_alive = event.keep_alive
            else:
                self._finish(self._status, reusable=self._keep_alive)
                return

    def upstream_lost(self, reason: str) -> None:
        """The connection is gone, or what came is no HTTP."""
        stale = self._upstream is not None and self._upstream.used and not self._status
        self._upstream = None
        if stale:
            address = (self.revision.host, self.revision.port)
            self._task = self._router.loop.create_task(self._connect(address))
        else:
            self._finish(502)

    def upstream_full(self, full: bool) -> None:
        """The request is in memory anyway."""

    # Inside

    async def _connect(self, address: tuple[str, int]) -> None:
        try:
            upstream = await self._router.pool.connect(address, self._router.traffic.limits.connect_timeout_s)
        except (OSError, TimeoutError):
            self._task = None
            self._finish(503)
            return
        self._task = None
        self._ask(upstream)

    def _ask(self, upstream: Upstream) -> None:
        self._upstream = upstream
        original = self.original
        upstream.begin(self, original.head.method)
        id, body = original.line.id.encode("latin-1"), original.kept.request.whole() or b""
        if self.revision.model:
            body = renamed(body, self.revision.model)
            head = upstream_head(original.head, id, original.host, MARK, length=len(body))
            upstream.transport.write(head + body)
            return
        head = upstream_head(original.head, id, original.host, MARK)
        if original.head.chunked:
            body = (chunk(body) if body else b"") + LAST_CHUNK
        upstream.transport.write(head + body)

    def _finish(self, status: int, reusable: bool = False) -> None:
        """Compare, and write the copy's line."""
        if self._over:
            return
        self._stop(reusable=reusable)
        self._router.moved(self.revision, None)
        ms = (time.monotonic() - self._began) * 1000
        live = self.original.kept.answered(self.original.line.status)
        shadow = Answer(status, self._stream, self._response.whole())
        if max(len(live.body or b""), len(shadow.body or b"")) <= HERE_BYTES:
            self._tell(status, ms, agree(live, shadow))
            return
        future = self._router.loop.run_in_executor(None, agree, live, shadow)
        future.add_done_callback(lambda done: self._tell(status, ms, done.result()))

    def _tell(self, status: int, ms: float, agrees: bool | None) -> None:
        line, kept = self.original.line, self.original.kept
        copy = RequestLine(
            at=self._at, id=line.id, release=self.revision.release, revision=self.revision.id,
            method=line.method, path=line.path, status=status, ms=ms, bytes_in=line.bytes_in,
            bytes_out=self._response.seen, sticky=line.sticky, retries=0, shadow_of=line.revision,
            agrees=agrees, response=kept.response_text(self._response),
        )  # fmt: skip
        self._response.free()
        kept.free()
        self._router.mirrored(copy)

    def _stop(self, *, reusable: bool) -> None:
        self._over = True
        self._mirrors.over(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        if self._upstream is not None:
            upstream, self._upstream = self._upstream, None
            upstream.end(reusable=reusable)
