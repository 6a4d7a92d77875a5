"""The loop of recurring runs: a thread of the server that starts what is due and sleeps until something is.

It holds no state that matters: what was started is known by the marks in the record, which move in the
transaction that stores the run. So it may be killed at any moment: no tick runs twice, none is lost.
It is woken by changes (a schedule, a run that ended) and looks once a minute anyway, as clocks may be set.
"""

import logging
import time

from tuneline.control.looping import RETRY_S, Loop
from tuneline.errors import ConflictError, ResourceError, TunelineError
from tuneline.plan.recurring import RecurringStore, StaleTick, Standing, Starter, look
from tuneline.types import Clock

LOG = logging.getLogger("tuneline.control")
LONGEST_S = 60.0
"""The longest sleep."""


class RecurringLoop:
    """Looks after all recurring runs of one home."""

    def __init__(self, store: RecurringStore, starter: Starter, clock: Clock = time.time) -> None:
        self._store, self._starter, self._clock = store, starter, clock
        self.loop = Loop("recurring runs", self.look_once, store.listening)

    def look_once(self) -> float:
        """Start what is due, at most one tick of each recurring run; seconds until the next look, if nothing
        changes."""
        soonest = LONGEST_S
        for standing in self._store.standings():
            if self.loop.stopped:
                break
            try:
                soonest = min(soonest, self._look_at(standing))
            except TunelineError as error:
                LOG.error("recurring run %s: %s", standing.id, error.message)
                passing = error.retry or isinstance(error, ResourceError)
                soonest = min(soonest, RETRY_S if passing else LONGEST_S)
            except Exception:  # one that breaks must not keep the others from running
                LOG.exception("recurring run %s: trying again", standing.id)
                soonest = min(soonest, RETRY_S)
        return soonest

    def _look_at(self, standing: Standing) -> float:
        found = look(standing, self._clock())
        if found.tick is None:
            return LONGEST_S if found.at is None else max(0.0, found.at - self._clock())
        try:
            run = self._starter.begin(standing.id, standing.mark, found.tick)
        except StaleTick:
            return 0.0
        except ConflictError as busy:  # woken when a run ends
            LOG.info("recurring run %s waits: %s", standing.id, busy.message)
            return LONGEST_S
        if run:
            LOG.info("recurring run %s: run %s for the tick %d", standing.id, run, found.tick)
        return 0.0  # there may be more to catch up with
