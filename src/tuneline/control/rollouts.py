"""The rollout at one endpoint: looks at what came since the last look, asks `plan.rollout.look`, and writes
the decision down with how far was read.

It changes no traffic itself: what it writes down is what is wanted, and the endpoint brings traffic to that,
at its next look or after a restart.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tuneline.control import processes
from tuneline.control.adopting import process_of
from tuneline.control.tally import Cursor, Tally
from tuneline.errors import ConflictError
from tuneline.plan.endpoints import Desired
from tuneline.plan.lifecycle import MAX_FAILURES, on_trial
from tuneline.plan.revisions import Revision, Seen, State
from tuneline.plan.rollout import Observed, look
from tuneline.plan.rollouts import FeedbackSource, RolloutStore, Underway
from tuneline.types import Clock

LOG = logging.getLogger("tuneline.control")


class Rollouts:
    """The rollouts of one endpoint, one after another. Used by one thread."""

    def __init__(
        self, folder: Path, store: RolloutStore, feedback: FeedbackSource | None, clock: Clock
    ) -> None:
        """folder: the endpoint's, where the router writes its segments."""
        self._folder, self._store, self._feedback, self._clock = folder, store, feedback, clock
        self._tally: Tally | None = None
        self._counted = ""

    def look(
        self, desired: Desired, revisions: Sequence[Revision], alive: Callable[[Revision], bool] | None = None
    ) -> None:
        """Look at the rollout under way, if there is one. Raises: TunelineError, OSError.

        alive: whether a revision's runtime runs; by default its process on this machine.
        """
        rollout = self._store.underway(desired.endpoint) if desired.trial else None
        if rollout is None or desired.trial is None or rollout.id != desired.trial.rollout:
            self._tally, self._counted = None, ""
            return
        tally = self._tally_of(rollout)
        before = Cursor.from_json(rollout.cursor) if rollout.cursor else tally.first()
        now = self._clock()
        counted, after = tally.read(before, now)
        observed = with_candidate(counted, desired, revisions, alive or _has_process)
        decision = look(rollout.plan, rollout.state, observed, now)
        if not decision.news and rollout.cursor and after == before:
            return
        try:
            kept = self._store.save(rollout, decision, after.to_json(), now)
        except ConflictError:
            self._tally = None
            raise
        if not kept:  # whoever was faster decided; what was counted here was counted for nothing
            self._tally = None
        elif decision.news:
            said = f"{decision.kind} ({decision.code}): {decision.reason}"
            LOG.log(logging.WARNING if decision.alert else logging.INFO, "%s: %s", rollout.id, said)

    def _tally_of(self, rollout: Underway) -> Tally:
        if self._tally is None or self._counted != rollout.id:
            self._tally, self._counted = Tally(self._folder, rollout, self._feedback), rollout.id
        self._tally.follow(rollout)
        return self._tally


def _has_process(revision: Revision) -> bool:
    return processes.alive(process_of(revision))


def with_candidate(
    counted: Observed, desired: Desired, revisions: Sequence[Revision], alive: Callable[[Revision], bool]
) -> Observed:
    """What was counted, and how the candidate's runtime is."""
    tried = on_trial(desired, Seen(live=None, holding=True, revisions=tuple(revisions)))
    if tried is None:
        return replace(counted, ready=False)
    given_up = tried.state is State.DOWN and (tried.final or tried.failures >= MAX_FAILURES)
    return replace(
        counted,
        ready=tried.state is State.READY and alive(tried),
        down=tried.error if given_up else "",
        crashes=tried.crashes,
        problem=tried.error,
    )
