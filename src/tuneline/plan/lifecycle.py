"""What to do next at an endpoint, so that what is wanted becomes live, and what is tried gets its part: pure.

A revision is one release served by one runtime. A new one is checked, started, warmed up and takes over; the
one before is kept warm, drains, and is stopped after `keep_s`. One that does not get ready never takes over.

    checking -> starting -> warming -> ready      state: how far its runtime is
        ^___________ down ____|__________|        down: it failed or died; tried again after a while
    candidate -> live -> kept                     role: requests it gets: none or a part, the rest, no more

While a rollout is under way (`Desired.trial`) the release that is wanted stays live, and a candidate gets the
part that the rollout says, as long as it is ready: when it is not, the live one has all at once.

The controller looks (`Seen`), asks `decide`, does what it says, and looks again.
Every action may be repeated.
"""

from dataclasses import replace

from tuneline.plan.endpoints import Desired
from tuneline.plan.revisions import (
    WHOLE,
    Action,
    Begin,
    Check,
    Drop,
    Fail,
    Hold,
    Kill,
    Launch,
    Policy,
    Ready,
    RecordLive,
    Retire,
    Revision,
    Role,
    Route,
    Seen,
    Split,
    State,
    Stop,
    Unhold,
    WarmUp,
)

DEFAULT = Policy()
MAX_FAILURES = 3
"""How often a candidate is tried; a live one is tried for ever."""
STEADY_S = 60.0
"""A live runtime that was ready for this long has made up for earlier failures."""


def decide(desired: Desired, seen: Seen, now: float, policy: Policy = DEFAULT) -> list[Action]:
    """What to do at `now`, in this order. Empty when nothing is to be done but wait."""
    if desired.release is None:
        return _wind_down(seen, now, policy)
    actions: list[Action] = [] if seen.holding else [Hold()]
    for revision in seen.revisions:
        actions += _proceed(revision, desired, seen, now, policy)
    live = live_of(seen)
    if live is not None and live.state is State.READY and seen.acknowledged:
        recorded = seen.live is not None and seen.live.release == live.release
        actions += [] if recorded else [RecordLive(live.id)]
    target = _target(desired, seen)
    if target is None:
        if not blocked(desired, seen) and not any(_superseded(each, desired) for each in seen.revisions):
            actions.append(Begin(desired.release))
    elif target.role is not Role.LIVE:
        if _can_take_over(target, seen) and not blocked(desired, seen):
            actions.append(Route(target.id))
    else:
        actions += _share(target, desired, seen)
    return actions


def patience(desired: Desired, policy: Policy) -> Policy:
    """The policy with as much time to start as the runtimes wanted here are given: vLLM takes its own."""
    deploys = [(desired.runtime, desired.deploy)]
    deploys += [(desired.trial.runtime, desired.trial.deploy)] if desired.trial else []
    told = [deploy.get("vllm") or {} for runtime, deploy in deploys if runtime == "vllm"]
    given = [float(options.get("start_timeout_s") or 0) for options in told]
    return replace(policy, start_timeout_s=max([policy.start_timeout_s, *given]))


def on_trial(desired: Desired, seen: Seen) -> Revision | None:
    """The revision that a rollout tries: one that is warm, else a candidate, however far it is."""
    if desired.trial is None:
        return None
    found = [
        each
        for each in seen.revisions
        if each.release == desired.trial.release
        and each.role is not Role.LIVE
        and each.state is not State.STOPPING
        and not _superseded(each, desired)
    ]
    return min(found, key=lambda each: each.role is not Role.KEPT, default=None)


def _share(live: Revision, desired: Desired, seen: Seen) -> list[Action]:
    """Begin what is on trial, and give it what its rollout says; the live one is `live`."""
    actions: list[Action] = []
    waits = any(_superseded(each, desired) for each in seen.revisions)
    if desired.trial is not None and not waits and on_trial(desired, seen) is None:
        actions.append(Begin(desired.trial.release))
    reachable = live.state is State.READY and live.id in seen.alive
    if reachable and seen.routed == live.id and split(desired, seen) != seen.split:
        actions.append(Route(live.id, split(desired, seen)))
    return actions


def split(desired: Desired, seen: Seen) -> Split:
    """What the revision on trial is to get now: nothing unless it is ready."""
    tried = on_trial(desired, seen)
    if tried is None or desired.trial is None or not _can_take_over(tried, seen):
        return WHOLE
    return Split(tried.id, desired.trial.weight, desired.trial.shadow)


def blocked(desired: Desired, seen: Seen) -> str:
    """Why the wanted release must not go live: what it was compared with is not live any more. Else empty."""
    live = seen.live
    if (
        not desired.compared
        or live is None
        or live.release == desired.release
        or live.digest == desired.live_digest
    ):
        return ""
    return (
        f"{desired.release} was compared with another release than {live.release}, which is live now. "
        "Run the project again: it is then compared with that one."
    )


def failed(desired: Desired, seen: Seen) -> Revision | None:
    """The revision for which the wanted release is not served, and will not be by itself."""
    for revision in seen.revisions:
        given_up = revision.role is Role.CANDIDATE and revision.failures >= MAX_FAILURES
        if (
            revision.state is State.DOWN
            and (revision.final or given_up)
            and revision.release == desired.release
        ):
            return revision
    return None


def live_of(seen: Seen) -> Revision | None:
    """The revision that gets the requests."""
    return next((each for each in seen.revisions if each.role is Role.LIVE), None)


def _target(desired: Desired, seen: Seen) -> Revision | None:
    """The revision that is, or becomes, what is wanted: the live one, else a kept one, else a candidate."""
    order = (Role.LIVE, Role.KEPT, Role.CANDIDATE)
    found = [
        each
        for each in seen.revisions
        if each.release == desired.release
        and each.state is not State.STOPPING
        and not _superseded(each, desired)
    ]
    return min(found, key=lambda each: order.index(each.role), default=None)


def _superseded(revision: Revision, desired: Desired) -> bool:
    """A candidate that nobody wants any more, or that failed for what was wanted before."""
    if revision.role is not Role.CANDIDATE:
        return False
    tried = desired.trial.release if desired.trial else None
    other = revision.release not in (desired.release, tried)
    return other or (revision.state is State.DOWN and revision.generation != desired.generation)


def _can_take_over(target: Revision, seen: Seen) -> bool:
    if target.state is not State.READY or target.id not in seen.alive:
        return False
    return target.role is Role.CANDIDATE or target.id in seen.healthy


def _proceed(revision: Revision, desired: Desired, seen: Seen, now: float, policy: Policy) -> list[Action]:
    """The next action for one revision by itself."""
    if revision.state is State.STOPPING:
        return _end(revision, seen, now, policy)
    if _superseded(revision, desired):
        return [] if _may_be_asked(revision, seen) else [Stop(revision.id)]
    if revision.role is Role.KEPT:
        return _keep(revision, desired, seen, now)
    if revision.state is State.DOWN:
        given_up = revision.role is Role.CANDIDATE and revision.failures >= MAX_FAILURES
        return [] if revision.final or given_up or now < revision.retry_at else [Check(revision.id)]
    if revision.state is State.CHECKING:
        job = seen.jobs.get(revision.id)
        if job is None:
            return [Check(revision.id)]
        if not job.done:
            return []
        return [_failure(revision, job.error, now, job.final)] if job.error else [Launch(revision.id)]
    if revision.id not in seen.alive:
        return [_failure(revision, "Its runtime ended.", now)]
    return _warm(revision, desired, seen, now, policy)


def _may_be_asked(revision: Revision, seen: Seen) -> bool:
    """Whether the router may still send it requests, or has some there: it lets go of it first."""
    ready = revision.state is State.READY and revision.id in seen.alive and seen.routed is not None
    listed = seen.split.candidate == revision.id or bool(seen.in_flight.get(revision.id))
    return ready and (listed or not seen.acknowledged)


def _warm(revision: Revision, desired: Desired, seen: Seen, now: float, policy: Policy) -> list[Action]:
    """The next action for a revision whose runtime runs."""
    if revision.state is State.STARTING:
        if revision.id in seen.healthy:
            return [WarmUp(revision.id)]
        if now - revision.since > policy.start_timeout_s:
            reason = f"Its runtime was not ready within {policy.start_timeout_s:g} seconds."
            return [_failure(revision, reason, now, final=revision.role is Role.CANDIDATE)]
    if revision.state is State.WARMING:
        job = seen.jobs.get(revision.id)
        if job is None:
            return [WarmUp(revision.id)]
        if job.done and job.error:
            return [_failure(revision, job.error, now)]
        if job.done:
            # a live one that was down comes back with another port, which the router must learn
            live = revision.role is Role.LIVE
            return [Ready(revision.id), *([Route(revision.id, split(desired, seen))] if live else [])]
    return []


def _keep(revision: Revision, desired: Desired, seen: Seen, now: float) -> list[Action]:
    if revision.id not in seen.alive:
        return [Drop(revision.id)]
    drained = not seen.in_flight.get(revision.id) and seen.acknowledged
    wanted = (desired.release, desired.trial.release if desired.trial else None)
    if (
        revision.release not in wanted
        and drained
        and seen.split.candidate != revision.id
        and now - revision.since >= desired.keep_s
    ):
        return [Stop(revision.id)]
    return []


def _end(revision: Revision, seen: Seen, now: float, policy: Policy) -> list[Action]:
    if revision.id not in seen.alive:
        return [Drop(revision.id)]
    return [Kill(revision.id)] if now - revision.since > policy.drain_s + 5 else []


def _wind_down(seen: Seen, now: float, policy: Policy) -> list[Action]:
    """Nothing is wanted: no more requests, then no more runtimes, then no more socket."""
    if seen.routed is not None:
        return [Route(None)]
    actions: list[Action] = []
    for revision in seen.revisions:
        waited = now - revision.since > policy.drain_s
        if revision.state is State.STOPPING:
            actions += _end(revision, seen, now, policy)
        elif waited or not seen.holding or (seen.acknowledged and not seen.in_flight.get(revision.id)):
            actions.append(Stop(revision.id))
    if not seen.revisions and seen.holding:
        actions.append(Unhold())
    if seen.live is not None:
        actions.append(Retire())
    return actions


def _failure(revision: Revision, reason: str, now: float, final: bool = False) -> Fail:
    failures = failures_after(revision, now)
    if revision.role is Role.LIVE:
        wait_s = 0.0 if failures == 1 else min(60.0, 0.5 * 2.0**failures)
    else:
        wait_s = 4.0 ** (failures - 1)
    return Fail(revision.id, reason, wait_s, final)


def failures_after(revision: Revision, now: float) -> int:
    """Failures in a row, with the one at `now`."""
    steady = revision.state is State.READY and now - revision.since > STEADY_S
    return 1 if steady else revision.failures + 1
