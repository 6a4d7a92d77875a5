"""The loop of notices: a thread of the server that makes deliveries of the outbox and has them sent.

The line never waits for it. Each target has a queue of its own and is told in order; one that is dead holds
back no other. It holds no state that matters: an attempt is on record before it is made. Limits: a server
that is killed between a sending and its record sends that one notice once more; a delivery may be late by
the waits of `plan.delivery`.
"""

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any, Protocol

from sqlalchemy import RowMapping

from tuneline.control.looping import RETRY_S, Loop
from tuneline.control.notice_sending import Addresses, Missing
from tuneline.errors import SpecError, TunelineError
from tuneline.plan.delivery import LATEST_S, Outcome, next_at, wait_s
from tuneline.plan.notices import Message, message
from tuneline.record import endpoints, notices
from tuneline.record.changes import ENDED
from tuneline.record.record import Record
from tuneline.spec.notify import targets_in
from tuneline.spec.targets import Target
from tuneline.types import Clock

LOG = logging.getLogger("tuneline.control")
LOOK_S = 15.0
"""The longest sleep: secrets are files, which may come at any time, and clocks are set."""
GRACE_S = 3.0
"""How long what is being sent may take when the server stops."""
AT_ONCE = 8
"""So many are sent at the same time."""
KEPT_S = 90 * 86_400.0
"""What was settled so long ago is forgotten."""


class Sends(Protocol):
    """What sends one message; `notice_sending.Sender` is one."""

    def ready(self, target: str) -> str:
        """Raises: Missing."""
        ...

    def send(self, target: str, message: Message) -> Outcome:
        """Raises: Missing."""
        ...

    def stop(self) -> None:
        """End what is being sent."""
        ...


class NoticeLoop:
    """Looks after the outbox of one home."""

    def __init__(
        self,
        record: Record,
        addresses: Addresses,
        sender: Sends,
        public_url: str = "",
        clock: Clock = time.time,
    ) -> None:
        self._record = record
        self._notices = record.notices
        self._addresses, self._sender = addresses, sender
        self._public_url, self._clock = public_url, clock
        self._busy: dict[str, Future[None]] = {}
        self._senders = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="tuneline-notice")
        self._forgot = 0.0
        topics = (notices.TOPIC, endpoints.TOPIC, ENDED)
        self.loop = Loop("notices", self._look, *(partial(record.changes.listening, each) for each in topics))

    def start(self) -> None:
        """Begin."""
        self.loop.start()

    def stop(self) -> None:
        """Send nothing more. What was not taken is sent by the next server."""
        self.loop.stop()
        wait(list(self._busy.values()), GRACE_S)
        self._sender.stop()
        self._senders.shutdown()

    def look_once(self) -> float:
        """Make deliveries, and begin those that are due; seconds until the next look, if nothing changes."""
        for notice in self._notices.to_address():
            self._notices.address(notice["n"], self.targets(notice), self._clock())
        now, soonest = self._clock(), LOOK_S
        if now - self._forgot > 3600:
            self._notices.forget(now - KEPT_S)
            self._forgot = now
        for head in self._notices.heads():
            if head["target"] in self._busy or self.loop.stopped:
                continue
            left = (head["next_at"] or 0.0) - now
            if left > 0:
                soonest = min(soonest, left)
            else:
                self._begin(head)
        return soonest

    def targets(self, notice: RowMapping) -> list[str]:
        """Who is told of a notice: the project's targets for its kind, then the server's own; a URL once."""
        try:
            written = targets_in(self._notices.project_text(notice["project"]))
        except SpecError as error:  # a record from elsewhere; nobody is told what may not be kept
            LOG.error("notices of %s: %s %s", notice["project"], error.message, error.details)
            written = ()
        chosen = [
            target
            for target in (*written, *map(Target, self._addresses.own()))
            if notice["kind"] in target.on
        ]
        found: dict[str, str] = {}
        for target in chosen:
            found.setdefault(self._identity(target.to), target.to)
        return list(found.values())

    def _identity(self, target: str) -> str:
        try:
            return self._addresses.url(target)
        except Missing:
            return target

    def _begin(self, head: RowMapping) -> None:
        target = str(head["target"])

        def ended(_: Future[None]) -> None:
            self._busy.pop(target, None)
            self.loop.wake()

        self._busy[target] = future = self._senders.submit(self._deliver, head)
        future.add_done_callback(ended)

    def _deliver(self, head: RowMapping) -> None:
        try:
            self._attempt(head)
        except TunelineError as error:  # the record does not answer; what was begun is on it
            LOG.error("notice %s to %s: %s", head["notice"], head["target"], error.message)
            self.loop.pause(RETRY_S)
        except Exception as error:  # its text may hold anything
            LOG.error("notice %s to %s broke: %s", head["notice"], head["target"], type(error).__name__)
            self.loop.pause(RETRY_S)

    def _attempt(self, head: RowMapping) -> None:
        mine: tuple[int, str] = (head["notice"], head["target"])
        now, attempts = self._clock(), head["attempts"] + 1
        if now - head["at"] > LATEST_S and head["error"] + head["missing"]:
            self._notices.refused(*mine, f"too old to tell: {head['error'] or head['missing']}", None)
            return
        try:
            self._sender.ready(mine[1])
            if not self._notices.begin(*mine, now + wait_s(attempts)):
                return
            outcome = self._sender.send(mine[1], message(head["kind"], head["about"] or {}, self._public_url))
        except Missing as missing:
            self._notices.waits(*mine, missing.what, self._clock() + LOOK_S)
            if missing.what != head["missing"]:
                LOG.warning("notice %d to %s waits: %s", *mine, missing.what)
            return
        self._settle(mine, outcome, attempts)

    def _settle(self, mine: tuple[int, str], outcome: Outcome, attempts: int) -> None:
        if outcome.delivered:
            self._notices.delivered(*mine, self._clock())
            return
        again = next_at(outcome, attempts, self._clock())
        self._notices.refused(*mine, outcome.error, again)
        LOG.warning(
            "notice %d to %s was not taken: %s%s", *mine, outcome.error, "" if again else "; given up"
        )

    def _look(self) -> float:
        try:
            return self.look_once()
        except Exception as error:  # by its kind alone: a library's words may hold a target's address
            LOG.error("notices cannot be read; trying again: %s", _said(error))
            return RETRY_S


def _said(error: Exception) -> Any:
    return error.message if isinstance(error, TunelineError) else type(error).__name__
