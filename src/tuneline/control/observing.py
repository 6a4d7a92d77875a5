"""What the record keeps, and users see, of an endpoint: revisions as JSON, its phase, and why. Pure."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from typing import Any

from tuneline.errors import TunelineError
from tuneline.plan.endpoints import Desired, Live
from tuneline.plan.lifecycle import blocked, failed, live_of
from tuneline.plan.revisions import Job, Revision, Role, Seen, State


def to_json(revision: Revision, weight: float) -> dict[str, Any]:
    """A revision, with one word for users (`state`) beside what the controller needs."""
    body = asdict(revision)
    body["step"] = str(body.pop("state"))
    return {**body, "role": str(revision.role), "state": shown_state(revision), "weight": weight}


def from_json(body: Mapping[str, Any]) -> Revision:
    """A revision as `to_json` wrote it."""
    known = {name: body[name] for name in Revision.__dataclass_fields__ if name in body}
    return Revision(**{**known, "role": Role(body["role"]), "state": State(body["step"])})


def shown_state(revision: Revision) -> str:
    """checking, starting, warming, ready, live, warm, restarting, failed or stopping."""
    if revision.state is State.READY:
        return {Role.CANDIDATE: "ready", Role.LIVE: "live", Role.KEPT: "warm"}[revision.role]
    if revision.state is not State.STOPPING and revision.role is Role.LIVE:
        return "restarting"
    return "failed" if revision.state is State.DOWN else str(revision.state)


def phase(
    desired: Desired, live: Live | None, revisions: Sequence[Revision], problem: str
) -> tuple[str, str]:
    """pending, starting, live, failed or stopped; and what a user should know of it.

    problem: why the endpoint's own port cannot be had.
    """
    seen = Seen(live, holding=not problem, revisions=tuple(revisions))
    if desired.release is None:
        return "stopped", "Nothing is wanted here."
    if problem:
        return "failed", problem
    serving = live_of(seen)
    stays = ""
    if serving is not None and serving.release != desired.release and serving.state is State.READY:
        stays = f" {serving.release} stays live."
    if reason := blocked(desired, seen):
        return "failed", reason + stays
    gone = failed(desired, seen)
    if gone is not None:
        return "failed", f"{desired.release} could not be started.{stays} {gone.error}"
    return _under_way(desired, live, seen, stays)


def _under_way(desired: Desired, live: Live | None, seen: Seen, stays: str) -> tuple[str, str]:
    mine = [each for each in seen.revisions if each.release == desired.release]
    down = next((each for each in mine if each.state is State.DOWN), None)
    if down is not None:
        return (
            "starting",
            f"{desired.release} is started again after failure {down.failures}.{stays} {down.error}",
        )
    for each in mine:
        answering = each.role is Role.LIVE and each.state is State.READY
        if answering and live is not None and live.release == desired.release:
            return "live", ""
    if not mine:
        return "pending", f"{desired.release} is to go live.{stays}"
    return "starting", f"{desired.release} is {shown_state(mine[-1])}.{stays}"


def job_of(future: Future[None]) -> Job:
    """How far a check or a warm-up is."""
    if not future.done():
        return Job(False)
    error = future.exception()
    if error is None:
        return Job(True)
    if isinstance(error, TunelineError):
        text = " ".join([error.message, *error.details, error.hint]).strip()
        return Job(True, text, final=not error.retry)
    return Job(True, f"{type(error).__name__}: {error}")
