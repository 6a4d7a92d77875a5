"""Places at revisions: how many requests each is asked at once, and who waits for one. No IO, no clock.

A request has at most one place or waits for one. Whoever leaves makes room for the one that waits longest.
With several workers each has its part of the places and of the queue.
"""

from collections import Counter, deque
from typing import Protocol

from tuneline.serve.traffic import Limits


class Waiting(Protocol):
    """Whoever waits for a place."""

    def admitted(self) -> None:
        """It has one now."""
        ...


class Places:
    """Who has a place, and who waits, by revision id."""

    def __init__(self, worker: int = 0, of: int = 1) -> None:
        """worker: from 0, of `of` workers."""
        self._worker, self._of = worker, of
        self._taken: Counter[str] = Counter()
        self._queues: dict[str, deque[Waiting]] = {}

    def share(self, workers: int) -> None:
        """There are so many workers now."""
        self._of = workers

    def enter(self, revision: str, who: Waiting, limits: Limits) -> bool | None:
        """True: it has a place; False: it waits for one, until `admitted`; None: the queue is full."""
        if self._taken[revision] < self._room(limits) and not self._queues.get(revision):
            self._taken[revision] += 1
            return True
        if len(self._queues.get(revision, ())) >= self.part(limits.max_queue):
            return None
        self._queues.setdefault(revision, deque()).append(who)
        return False

    def leave(self, revision: str, limits: Limits) -> None:
        """A place is free again: whoever waits longest gets it."""
        self._taken[revision] -= 1
        if self._taken[revision] <= 0:
            del self._taken[revision]
        self.admit(revision, limits)

    def give_up(self, revision: str, who: Waiting) -> None:
        """`who` no longer waits."""
        queue = self._queues.get(revision)
        if queue and who in queue:
            queue.remove(who)
        if not queue:
            self._queues.pop(revision, None)

    def admit(self, revision: str, limits: Limits) -> None:
        """Give what is free to those who wait."""
        queue = self._queues.get(revision)
        while queue and self._taken[revision] < self._room(limits):
            self._taken[revision] += 1
            queue.popleft().admitted()
        if queue is not None and not queue:
            self._queues.pop(revision, None)

    def everybody(self) -> list[Waiting]:
        """All who wait, queue by queue, the longest first."""
        return [who for queue in self._queues.values() for who in queue]

    @property
    def queued(self) -> dict[str, int]:
        """How many wait, by revision."""
        return {revision: len(queue) for revision, queue in self._queues.items()}

    def part(self, whole: int) -> int:
        """This worker's part of a number that holds for all of them."""
        return whole // self._of + (self._worker < whole % self._of)

    def _room(self, limits: Limits) -> float:
        return max(1, self.part(limits.max_concurrent)) if limits.max_concurrent else float("inf")
