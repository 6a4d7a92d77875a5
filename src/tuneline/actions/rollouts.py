"""Rollouts as they are asked for: begun, shown, promoted and taken back."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tuneline.actions.forced import refuse_unforced
from tuneline.actions.views import Row, moment
from tuneline.errors import SpecError, UserError
from tuneline.plan.apps import is_app
from tuneline.plan.rollout_plan import RolloutPlan, from_deploy
from tuneline.record.record import Record
from tuneline.record.releases import split
from tuneline.record.rollouts import Asked
from tuneline.types import Clock

Json = dict[str, Any]
WARM = ("live", "warm", "ready")
"""States of a revision that can take requests at once."""


class Rollouts:
    """What can be asked of, and done to, the rollouts of one record. Thread-safe."""

    def __init__(self, record: Record, user: Callable[[], str], clock: Clock) -> None:
        """user: who asks now."""
        self._record, self._user, self._clock = record, user, clock

    def start(
        self, endpoint: str, release: str, plan: Mapping[str, Any], force: bool = False, why: str = ""
    ) -> Json:
        """Try `release` beside the live one, or let it go live at once where nothing is.

        plan: keys of `RolloutPlan` that are otherwise than the release's project says. force: also a release
        that the gate refused, beside a live one and with a reason, which the ledger keeps.
        Raises: NotFoundError, SpecError, ConflictError, UserError.
        """
        self._record.endpoints.get(endpoint)
        row = self._record.releases.get(release)
        if is_app(row["manifest"] or {}):
            raise UserError(f"{release} is an app.", hint="Rollouts are for models; `tuneline app put`.")
        forced = row["state"] != "approved"
        if forced:
            refuse_unforced(row, release, force, why)
        asked = self._asked(why.strip() or "asked for")
        self._record.rollouts.start(endpoint, release, planned(row, plan), asked, forced)
        return self.status(endpoint)

    def status(self, endpoint: str) -> Json:
        """The newest rollout with its decisions: `{"endpoint", "live", "rollout"}`; null if there never was
        one. Raises NotFoundError."""
        self._record.endpoints.get(endpoint)
        live, row = self._record.endpoints.live(endpoint), self._record.rollouts.latest(endpoint)
        body: Json = {"endpoint": endpoint, "live": live.release if live else None, "rollout": None}
        if row is not None:
            decisions = [decision_view(each) for each in self._record.rollouts.decisions(row["id"])]
            body["rollout"] = rollout_view(row) | {"decisions": decisions}
        return body

    def under_way(self, endpoint: str) -> Json | None:
        """The rollout there that has not ended, without its decisions."""
        row = self._record.rollouts.latest(endpoint)
        return rollout_view(row) if row is not None and row["status"] == "running" else None

    def promote(self, endpoint: str, why: str = "") -> Json:
        """Let what is tried go live now, whatever the tests say. Raises: NotFoundError, ConflictError."""
        self._record.endpoints.get(endpoint)
        row = self._record.rollouts.end(endpoint, "promote", self._asked(why or "asked for"))
        return self._change(endpoint, row["release"], row["stable"])

    def rollback(self, endpoint: str, to: str | None = None, why: str = "") -> Json:
        """Take back what is tried, or what is live: go to `to` (a version or a release), else to the stable
        release, else to the one that was live before. Raises: NotFoundError, ConflictError."""
        self._record.endpoints.get(endpoint)
        asked, running = self._asked(why or "asked for"), self.under_way(endpoint)
        live = self._record.endpoints.live(endpoint)
        target = None if to is None else _named(to, live.release if live else "")
        if running is not None and target in (None, running["stable"]):
            self._record.rollouts.end(endpoint, "rollback", asked)
            return self._change(endpoint, running["stable"], running["release"])
        found = self._record.rollouts.go_back(endpoint, target, asked)
        return self._change(endpoint, found, live.release if live else None)

    def _change(self, endpoint: str, release: str, before: str | None) -> Json:
        """What happens now, and how long it takes."""
        observed = self._record.endpoints.observed(endpoint).get("revisions", ())
        warm, start_s = takeover(observed, release)
        if warm:
            said = f"{release} is warm: it takes over in under a second."
        elif start_s is not None:
            said = f"{release} is not running: it takes over when it has started, in about {start_s:.1f} s."
        else:
            said = f"{release} is not running: it takes over when it has started."
        return {"endpoint": endpoint, "release": release, "before": before, "warm": warm,
                "within_s": 1.0 if warm else start_s, "message": said}  # fmt: skip

    def _asked(self, why: str) -> Asked:
        return Asked(self._user(), why, self._clock())


def planned(release: Row, given: Mapping[str, Any]) -> RolloutPlan:
    """The plan of a release's project, with what is given in its place. Raises SpecError."""
    usual = from_deploy(release["deploy"] or {})
    strategy = str(given.get("strategy") or ("canary" if usual.strategy == "switch" else usual.strategy))
    body = {**usual.to_json(), **({} if strategy == usual.strategy else {"stages": ()}), **given}
    if strategy == "switch":
        raise SpecError("A switch is no rollout.", hint="Give canary, shadow or ab.")
    return RolloutPlan.from_json({**body, "strategy": strategy})


def takeover(revisions: Sequence[Mapping[str, Any]], release: str) -> tuple[bool, float | None]:
    """Whether `release` can take requests at once; else how long its start and one second take, by what
    starts here took. revisions: as the controller saw them."""
    if any(each["release"] == release and each["state"] in WARM for each in revisions):
        return True, None
    known = [float(each.get("ready_s") or 0.0) for each in revisions]
    longest = max(known, default=0.0)
    return False, longest + 1.0 if longest else None


def rollout_view(row: Row) -> Json:
    """A rollout. The keys of `tests` in `numbers` are metrics."""
    names = ("id", "endpoint", "release", "stable", "status", "code", "reason", "numbers", "plan", "why",
             "by")  # fmt: skip
    running = row["status"] == "running"
    return {
        **{name: row[name] for name in names},
        "weights": {row["release"]: row["weight"], row["stable"]: 100.0 - row["weight"]} if running else {},
        "shadow": bool(row["shadow"]),
        "alert": bool(row["alert"]) and running,
        "forced": bool(row["forced"]),
        "next_at": moment(row["next_at"]),
        "started_at": moment(row["started_at"]),
        "looked_at": moment(row["looked_at"]),
        "ended_at": moment(row["ended_at"]),
    }


def decision_view(row: Row) -> Json:
    """One decision."""
    names = ("kind", "code", "reason", "weight", "numbers", "by")
    return {"at": moment(row["at"]), **{name: row[name] for name in names}, "shadow": bool(row["shadow"])}


def _named(to: str, live: str) -> str:
    """A release by its version alone: of the model that is live."""
    if "@" not in to:
        to = f"{live.rpartition('@')[0]}@{to}"
    split(to)
    return to
