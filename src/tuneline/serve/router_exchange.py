"""One request on its way: a revision is chosen, the body streams out, the answer streams back.

    queued -> waiting -> connecting -> asked -> answering -> over
       ^_________________________________|  nothing was answered yet and the runtime was lost or refuses

Until the first byte of an answer's body is here, nothing has gone to the client, and the request may be asked
again: of the revision that the newest traffic assigns. The body sent so far is kept for that and no longer.
No copy of an answer is kept: a slow client holds the runtime's connection back.
"""

import asyncio
import os
import time

from tuneline.serve.router_kept import keep
from tuneline.serve.router_log import RequestLine
from tuneline.serve.router_ports import Client, Routing
from tuneline.serve.router_protocol import RequestHead, ResponseEvent, ResponseHead
from tuneline.serve.router_renaming import renamed
from tuneline.serve.router_turn import RETRY_AFTER_S, Refused, Turn
from tuneline.serve.router_upstream import Upstream
from tuneline.serve.router_wire import (
    LAST_CHUNK,
    chunk,
    client_head,
    error_event,
    error_json,
    plain_response,
    upstream_head,
)
from tuneline.serve.traffic import sticky_digest

MAX_REPLAYS = 3
"""How often a request that a runtime has taken may be asked again: one that kills runtimes must end."""
FIRST_DELAY_S = 0.02
MAX_DELAY_S = 0.1
QUEUED_BODY_BYTES = 256 * 1024
"""Of a body that comes while its request waits for a place; the rest waits with the client."""
CLIENT_GONE = 499
"""The status request lines show when the client hung up first, as nginx has it."""


class Exchange:
    """One request and its answer."""

    __slots__ = (
        "_answer", "_begun", "_body", "_chunked_out", "_client", "_delay", "_held", "_may_repeat", "_over",
        "_patience", "_whole",
        "_pending", "_replays", "_retries", "_router", "_started", "_status", "_task", "_timer", "_turn",
        "_upstream", "answered", "at", "body_done", "bytes_in", "bytes_out", "head", "host", "kept",
        "progress", "request_id",
    )  # fmt: skip

    def __init__(self, router: Routing, client: Client, head: RequestHead) -> None:
        self._router, self._client, self.head = router, client, head
        self.request_id = head.request_id or os.urandom(16).hex().encode()
        self.host = client.host
        self._turn = turn = Turn(router, head, self.request_id)
        id, override = self.request_id.decode("latin-1"), bool(turn.override)
        self.kept = keep(router.traffic, head, id, override, router.held)
        self.answered = False
        self.at = time.time()  # the loop's own clock counts whole milliseconds
        self._started = self.progress = time.monotonic()
        self.bytes_in = self.bytes_out = 0
        self._body: list[bytes] = []  # sent or to be sent, until an answer begins
        self.body_done = False
        """Whether the whole request is here."""
        self._answer: ResponseHead | None = None
        self._pending: ResponseHead | None = None  # an answer's head, before any of its body is here
        self._upstream: Upstream | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.Handle | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._delay = FIRST_DELAY_S
        self._replays = self._retries = self._status = 0
        self._may_repeat = router.traffic.limits.may_repeat(head.method)
        self._chunked_out = self._over = self._held = self._begun = False
        self._whole = router.renaming and head.method == b"POST"
        """Whether the request is sent once it is whole, because its revision has a name of its own."""

    # What the client's side calls

    def start(self) -> None:
        """Ask for the first time. What of the body is here goes along."""
        self._begun = True
        if not self._over and (self.body_done or not self._whole):
            self._try()

    def body(self, data: bytes) -> None:
        """A piece of the request's body."""
        self.bytes_in += len(data)
        self.progress = time.monotonic()
        limit = self._router.traffic.limits.max_body_bytes
        if self.bytes_in > limit:
            self._refuse(413, f"The request's body is longer than the {limit} bytes that are taken here.")
            return
        if self.kept is not None:
            self.kept.request.add(data)
        if self._turn.waiting and self.bytes_in > QUEUED_BODY_BYTES:
            self._client.hold(True)
        piece = chunk(data) if self.head.chunked and not self._whole else data
        if self._answer is None:
            self._body.append(piece)
        if self._upstream is not None:
            self._upstream.transport.write(piece)

    def body_end(self) -> None:
        """The request is complete."""
        self.body_done = True
        if self._whole:
            if self._begun and not self._over:
                self._try()
        elif self.head.chunked:
            if self._answer is None:
                self._body.append(LAST_CHUNK)
            if self._upstream is not None:
                self._upstream.transport.write(LAST_CHUNK)

    def hold(self, held: bool) -> None:
        """The client takes the answer slower than it comes, or has caught up."""
        self._held = held
        if self._upstream is not None:
            self._upstream.hold(held)

    def abandon(self) -> None:
        """The client is gone: whatever computes the answer shall stop."""
        if not self._over:
            self._status = CLIENT_GONE
            self._finish(reusable=False)

    def check_time(self, now: float) -> None:
        """End it if nothing came from either side for too long. now: monotonic seconds."""
        timeout_s = self._router.traffic.limits.timeout_s
        if not self._over and now - self.progress > timeout_s:
            self._fail(504, f"Nothing came for {timeout_s:g} seconds.")

    def refuse_too_long(self) -> bool:
        """Refuse it at once if its length is known and over the limit; whether that was so."""
        limit = self._router.traffic.limits.max_body_bytes
        if (self.head.length or 0) > limit:
            self._refuse(413, f"The request's body is longer than the {limit} bytes that are taken here.")
        return self._over

    # What the places call

    def admitted(self) -> None:
        """The place that it waited for is its own. Whoever left it is in the middle of its own work."""
        self._turn.admitted()
        self.progress = time.monotonic()
        self._timer = self._router.loop.call_soon(self._try)

    def reconsider(self) -> None:
        """Traffic changed while it waits for a place."""
        if self._turn.waiting:
            self._turn.stop_waiting(self)
            self._try()

    @property
    def answering(self) -> bool:
        """Whether the client has something of an answer."""
        return self._answer is not None

    # What the runtime's side calls

    def upstream_events(self, events: list[ResponseEvent]) -> None:
        """Pieces of the answer."""
        self.progress = time.monotonic()
        out: list[bytes] = []
        for event in events:
            if isinstance(event, bytes):
                self._begin(out)
                self.bytes_out += len(event)
                if self.kept is not None:
                    self.kept.response.add(event)
                out.append(chunk(event) if self._chunked_out else event)
            elif isinstance(event, ResponseHead):
                self._pending = event
            else:
                self._begin(out)
                if self._chunked_out:
                    out.append(LAST_CHUNK)
                self._client.write(b"".join(out))
                self.answered = self.body_done
                self._finish(reusable=self.body_done)
                return
        if out:
            self._client.write(b"".join(out))

    def upstream_lost(self, reason: str) -> None:
        """The connection is gone, or what came is no HTTP."""
        stale = self._upstream is not None and self._upstream.used
        self._upstream = None
        if self._answer is not None:
            self._fail(502, f"The release stopped answering: {reason}")
            return
        self._pending = None
        self._replays += 0 if stale else 1
        if not self._may_repeat or self._replays > MAX_REPLAYS or self._too_late():
            self._fail(502, f"The release ended while it answered, {self._replays} times: {reason}")
        else:
            self._again(0.0 if stale else self._delay)

    def _too_late(self) -> bool:
        waited_s = time.monotonic() - self._started
        return waited_s + self._delay > self._router.traffic.limits.retry_for_s

    def upstream_full(self, full: bool) -> None:
        """The runtime takes the request slower than it comes, or has caught up."""
        self._client.hold(full)

    # Asking

    def _try(self) -> None:
        """Ask the revision that the newest traffic assigns, once there is a place."""
        self._timer = None
        try:
            revision = self._turn.take(self)
        except Refused as refused:
            self._refuse(refused.status, str(refused), refused.retry_after_s)
            return
        if revision is None:
            self._wait()
            return
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
            self._client.hold(False)
        address = (revision.host, revision.port)
        # whether a kept connection that is closed right now still took the request, nobody knows
        upstream = self._router.pool.take(address) if self._may_repeat else None
        if upstream is not None:
            self._ask(upstream)
        else:
            self._task = self._router.loop.create_task(self._connect(address))

    def _wait(self) -> None:
        if self.bytes_in > QUEUED_BODY_BYTES:
            self._client.hold(True)
        if self._patience is None:
            seconds = self._router.traffic.limits.queue_timeout_s
            self._patience = self._router.loop.call_later(seconds, self._impatient, seconds)

    def _impatient(self, seconds: float) -> None:
        if self._turn.revision is not None:
            self._router.rejected(self._turn.revision, "timeout")
        self._refuse(429, f"No place was free for {seconds:g} seconds. Ask again later.", RETRY_AFTER_S)

    async def _connect(self, address: tuple[str, int]) -> None:
        limits = self._router.traffic.limits
        try:
            upstream = await self._router.pool.connect(address, limits.connect_timeout_s)
        except (OSError, TimeoutError):
            self._task = None
            if self._too_late():
                message = f"The release served here has not answered for {limits.retry_for_s:g} seconds."
                self._fail(503, message, retry_after_s=5)
            else:
                self._again(self._delay)
            return
        self._task = None
        self._ask(upstream)

    def _ask(self, upstream: Upstream) -> None:
        self._upstream = upstream
        upstream.begin(self, self.head.method)
        upstream.hold(self._held)
        if self._whole and self._turn.revision is not None:
            body = renamed(b"".join(self._body), self._turn.revision.model)
            head = upstream_head(self.head, self.request_id, self._client.host, length=len(body))
            upstream.transport.write(head + body)
            return
        head = upstream_head(self.head, self.request_id, self._client.host)
        upstream.transport.write(b"".join([head, *self._body]) if self._body else head)

    def _again(self, delay_s: float) -> None:
        self._client.hold(False)
        self._retries += 1
        self._delay = min(self._delay * 1.5, MAX_DELAY_S)
        self._timer = self._router.loop.call_later(delay_s, self._try)

    # Answering

    def _begin(self, out: list[bytes]) -> None:
        """Put the answer's head before what follows, once."""
        head = self._pending
        if head is None:
            return
        self._pending = None
        self._answer, self._status = head, head.status
        self._body = []
        self._chunked_out = head.framing in ("chunked", "close") and self.head.http_1_1
        if self.kept is not None:
            self.kept.answer(head)
        asked = self.head.http_1_1, self._keep_alive
        out.append(client_head(head, self.request_id, self._release, self._chunked_out, *asked))

    @property
    def _release(self) -> bytes:
        return self._turn.revision.release.encode() if self._turn.revision else b""

    @property
    def _keep_alive(self) -> bool:
        """Whether the client's connection can take another request after this answer."""
        framed = self._answer is None or self._chunked_out or self._answer.framing in ("length", "none")
        return self.head.keep_alive and self.body_done and framed and not self._router.draining

    def _refuse(self, status: int, message: str, retry_after_s: int | None = None) -> None:
        """Answer in the runtime's place."""
        if self._answer is not None:
            self._fail(status, message)
            return
        self._status = status
        body = error_json(status, message)
        keep, id, bare = self._keep_alive, self.request_id, self.head.method == b"HEAD"
        answer = plain_response(
            status, body, keep_alive=keep, request_id=id, release=self._release, head_only=bare,
            retry_after_s=retry_after_s,
        )  # fmt: skip
        self.bytes_out += len(body)
        self._client.write(answer)
        self._finish(reusable=False)

    def _fail(self, status: int, message: str, retry_after_s: int | None = None) -> None:
        """End it: by an error, or, where an answer has begun, so that the client sees it is not whole."""
        if self._answer is None:
            self._refuse(status, message, retry_after_s)
        elif self._answer.event_stream and self._answer.framing != "length":
            event = error_event(status, message)
            self._client.write(chunk(event) + LAST_CHUNK if self._chunked_out else event)
            self._status = 0
            self._finish(reusable=False, close=True)
        else:
            self._status = 0
            self._finish(reusable=False, cut=True)

    def _finish(self, *, reusable: bool, close: bool = False, cut: bool = False) -> None:
        self._over = True
        if self._task is not None:
            self._task.cancel()
        for timer in (self._timer, self._patience):
            if timer is not None:
                timer.cancel()
        if self._upstream is not None:
            upstream, self._upstream = self._upstream, None
            upstream.end(reusable=reusable and self._answer is not None and self._answer.keep_alive)
        keep_alive = self._keep_alive and not close
        if self._status != CLIENT_GONE:
            self._client.exchange_over(keep_alive=keep_alive, cut=cut)
        line = self._line()
        self._turn.leave(self)
        self._router.over(self, line)

    def _line(self) -> RequestLine:
        head, turn, kept = self.head, self._turn, self.kept
        revision = turn.revision
        return RequestLine(
            at=self.at,
            id=self.request_id.decode("latin-1"),
            release=revision.release if revision else "",
            revision=revision.id if revision else "",
            method=head.method.decode("latin-1"),
            path=head.target.partition(b"?")[0].decode("latin-1"),
            status=self._status,
            ms=(time.monotonic() - self._started) * 1000,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            sticky=sticky_digest(self._router.traffic, turn.sticky) if turn.sticky else "",
            retries=self._retries,
            override=bool(turn.override),
            request=kept.request_text() if kept else None,
            response=kept.response_text(kept.response) if kept else None,
        )
