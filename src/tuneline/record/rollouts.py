"""Rollouts: begun, looked at, decided and ended, each change in one transaction with the ledger.

While one is under way the release that was live stays so: an interval of another begins only when the
candidate was promoted and took over. At most one is under way at an endpoint; whatever else is wanted there
ends it. The controller brings traffic to what stands here, so a decision that is written down is carried out
also when the server was killed the moment after.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from tuneline.errors import ConflictError, NotFoundError
from tuneline.plan import rollout as deciding
from tuneline.plan.rollout import Decision, RolloutState
from tuneline.plan.rollout_plan import RolloutPlan, from_deploy
from tuneline.plan.rollouts import Underway
from tuneline.record import endpoints, ledger, notices
from tuneline.record.changes import Changes
from tuneline.record.schema import endpoints as endpoint_rows
from tuneline.record.schema import releases, rollout_decisions, rollouts
from tuneline.record.store import Store

STATUS = {"promote": "promoted", "rollback": "rolled_back"}


@dataclass(frozen=True)
class Asked:
    """Who wants something, and why."""

    by: str
    why: str
    at: float
    """Unix seconds."""


def deliver(
    db: Connection, release: str, deploy: Mapping[str, Any], live_digest: str, asked: Asked
) -> str | None:
    """An approved release goes to its endpoint as its project says, in the caller's transaction: by a rollout
    beside the live one, or, by `switch` and where nothing is live, at once. The rollout's id, if one began.

    What was rolled back there is not tried again by itself: its content is the same.
    """
    endpoint, plan = str(deploy["endpoint"]), from_deploy(deploy)
    live = endpoints.open_interval(db, endpoint)
    if live is None or not plan.steps or f"{live['model']}@{live['version']}" == release:
        endpoints.desire(db, endpoint, release, deploy, live_digest, asked.why, asked.by, asked.at)
        return None
    last = db.execute(
        select(rollouts.c.status)
        .where(rollouts.c.endpoint == endpoint, rollouts.c.release == release)
        .order_by(rollouts.c.n.desc())
    ).first()
    if last is not None and last.status in ("rolled_back", "running"):
        return None
    return begin(db, endpoint, release, plan, asked)


def begin(
    db: Connection, endpoint: str, release: str, plan: RolloutPlan, asked: Asked, forced: bool = False
) -> str:
    """Try `release` beside the live one; the rollout's id. One that is under way there is replaced.

    Raises: ConflictError if nothing, or this very release, is live.
    """
    live = endpoints.open_interval(db, endpoint)
    stable = f"{live['model']}@{live['version']}" if live else None
    if live is None or stable is None or stable == release:
        raise ConflictError(
            f"Endpoint {endpoint} serves {stable or 'nothing'}: {release} cannot be tried beside it.",
            hint="Name a release that is not live; where nothing is live a release goes live at once.",
        )
    endpoints.end_rollout(db, endpoint, f"{release} is tried instead", asked.by, asked.at)
    last = db.scalar(select(func.max(rollouts.c.n)).where(rollouts.c.endpoint == endpoint)) or 0
    id, state = f"{endpoint}-{last + 1}", deciding.begin(plan, asked.at)
    reason = "The candidate is being started."
    values: dict[str, Any] = {
        "id": id, "endpoint": endpoint, "n": last + 1, "release": release, "stable": stable,
        "stable_digest": live["digest"], "plan": plan.to_json(), "state": state.to_json(), "cursor": {},
        "weight": 0.0, "shadow": 0, "status": "running", "code": "", "reason": reason, "numbers": {},
        "alert": 0, "next_at": None, "looks": 0, "forced": int(forced), "why": asked.why, "by": asked.by,
        "started_at": asked.at, "looked_at": None, "ended_at": None,
    }  # fmt: skip
    db.execute(insert(rollouts).values(**values))
    # a new wish: what failed for an earlier one is begun anew
    generation = endpoint_rows.c.generation + 1
    db.execute(update(endpoint_rows).where(endpoint_rows.c.name == endpoint).values(generation=generation))
    body = {"endpoint": endpoint, "rollout": id, "release": release, "stable": stable, "forced": forced,
            "plan": plan.to_json(), "why": asked.why, "by": asked.by}  # fmt: skip
    ledger.write(db, asked.at, "rollout", body)
    return id


class Rollouts:
    """The rollouts of one record, and `plan.rollouts.RolloutStore`. Thread-safe."""

    def __init__(self, store: Store, changes: Changes) -> None:
        self._store, self._changes = store, changes

    def underway(self, endpoint: str) -> Underway | None:
        """See RolloutStore."""
        with self._store.read() as db:
            row = _running(db, endpoint)
        if row is None:
            return None
        return Underway(
            id=row["id"], endpoint=endpoint, release=row["release"], stable=row["stable"],
            plan=RolloutPlan.from_json(row["plan"]), state=RolloutState.from_json(row["state"]),
            cursor=row["cursor"] or {}, looks=row["looks"], started_at=row["started_at"],
        )  # fmt: skip

    def save(self, rollout: Underway, decision: Decision, cursor: Mapping[str, Any], at: float) -> bool:
        """See RolloutStore."""
        with self._store.write(durable=decision.news) as db:
            values = {
                "state": decision.state.to_json(), "cursor": dict(cursor), "looks": rollout.looks + 1,
                "weight": decision.weight, "shadow": int(decision.shadow), "code": decision.code,
                "reason": decision.reason, "numbers": _plain(decision.numbers), "alert": int(decision.alert),
                "next_at": decision.next_at, "looked_at": at,
            }  # fmt: skip
            mine = (rollouts.c.id == rollout.id, rollouts.c.looks == rollout.looks)
            saved = db.execute(update(rollouts).where(*mine, rollouts.c.status == "running").values(**values))
            if saved.rowcount == 0:
                return False
            if decision.news:
                row = _running(db, rollout.endpoint)
                assert row is not None
                _record(db, row, decision, Asked("control", decision.reason, at))
        if decision.news:
            self._changes.notify(endpoints.TOPIC)
        return True

    def start(self, endpoint: str, release: str, plan: RolloutPlan, asked: Asked, forced: bool) -> str | None:
        """Begin a rollout; its id, or None where nothing is live: then the release goes live at once.

        Raises: NotFoundError; ConflictError if that release is live, another one is about to be, or a forced
        one would go live untried.
        """
        with self._store.write(durable=True) as db:
            row = _release(db, release)
            deploy = {**(row["deploy"] or {}), "endpoint": endpoint}
            live = endpoints.open_interval(db, endpoint)
            _refuse_unsettled(db, endpoint, live, release)
            if forced and (live is None or not plan.steps):
                raise ConflictError(
                    f"Nothing is live at {endpoint}: {release} would go live untried, past its gate.",
                    hint="Change the rules of `gate` in the project and run it again.",
                )
            if live is None or not plan.steps:
                digest = live["digest"] if live else ""
                endpoints.desire(db, endpoint, release, deploy, digest, asked.why, asked.by, asked.at)
                id = None
            else:
                id = begin(db, endpoint, release, plan, asked, forced)
        self._changes.notify(endpoints.TOPIC)
        return id

    def end(self, endpoint: str, kind: str, asked: Asked) -> RowMapping:
        """Promote or roll back (`kind`) what is under way, because somebody says so; its row.

        Raises: ConflictError if nothing is, or if another release than its stable one is live.
        """
        with self._store.write(durable=True) as db:
            row = _running(db, endpoint)
            if row is None:
                raise ConflictError(
                    f"No rollout is under way at {endpoint}.", hint="`tuneline rollout start` begins one."
                )
            state = RolloutState.from_json(row["state"])
            code = "asked"
            decision = Decision(
                "promote" if kind == "promote" else "rollback", code, asked.why, 0.0, False,
                row["numbers"] or {}, None, state, news=True,
            )  # fmt: skip
            _record(db, row, decision, asked)
        self._changes.notify(endpoints.TOPIC)
        return row

    def go_back(self, endpoint: str, release: str | None, asked: Asked) -> str:
        """Want an earlier release: `release`, else the one that was live before; which one.

        Ends a rollout that is under way. Raises: NotFoundError; ConflictError if there is none, it is live,
        or it was never approved.
        """
        with self._store.write(durable=True) as db:
            live = endpoints.open_interval(db, endpoint)
            serves = f"{live['model']}@{live['version']}" if live else None
            target = release or endpoints.previous(db, endpoint)
            if target is None or target == serves:
                raise ConflictError(
                    f"Endpoint {endpoint} serves {serves or 'nothing'}; there is no other to go back to.",
                    hint=f"`tuneline history {endpoint}` shows what was live; name one with --to.",
                )
            row = _release(db, target)
            if row["state"] != "approved" and not endpoints.was_live(db, endpoint, target):
                raise ConflictError(
                    f"{target} is {row['state']} and was never live at {endpoint}.",
                    hint="`tuneline rollout start --force` tries it beside the live release.",
                )
            deploy, digest = {**(row["deploy"] or {}), "endpoint": endpoint}, live["digest"] if live else ""
            endpoints.desire(db, endpoint, target, deploy, digest, asked.why, asked.by, asked.at)
            body = {"endpoint": endpoint, "release": target, "from": serves, "why": asked.why, "by": asked.by}
            ledger.write(db, asked.at, "rolled_back", body)
            about = {**body, "release": serves, "to": target}
            notices.put(db, asked.at, "rolled_back", f"rolled_back/{endpoint}/{asked.at}", about)
        self._changes.notify(endpoints.TOPIC)
        return target

    def latest(self, endpoint: str) -> RowMapping | None:
        """The newest rollout's row."""
        wanted = select(rollouts).where(rollouts.c.endpoint == endpoint).order_by(rollouts.c.n.desc())
        with self._store.read() as db:
            return db.execute(wanted.limit(1)).mappings().first()

    def forced(self, releases: Iterable[str]) -> Sequence[RowMapping]:
        """The rollouts by which one of these releases was tried past its gate, the earliest first."""
        mine = (rollouts.c.release.in_(list(releases)), rollouts.c.forced == 1)
        with self._store.read() as db:
            wanted = select(rollouts).where(*mine).order_by(rollouts.c.started_at, rollouts.c.id)
            return db.execute(wanted).mappings().all()

    def decisions(self, rollout: str) -> Sequence[RowMapping]:
        """Its decisions, in order."""
        mine = select(rollout_decisions).where(rollout_decisions.c.rollout == rollout)
        with self._store.read() as db:
            return db.execute(mine.order_by(rollout_decisions.c.n)).mappings().all()


def _record(db: Connection, row: RowMapping, decision: Decision, asked: Asked) -> None:
    """Write a decision down, and what it changes of the rollout and its endpoint."""
    numbers = _plain(decision.numbers)
    mine = rollout_decisions.c.rollout == row["id"]
    last = db.scalar(select(func.max(rollout_decisions.c.n)).where(mine)) or 0
    said = {"at": asked.at, "kind": decision.kind, "code": decision.code, "reason": decision.reason,
            "weight": decision.weight, "by": asked.by}  # fmt: skip
    db.execute(
        insert(rollout_decisions).values(
            rollout=row["id"], n=last + 1, shadow=int(decision.shadow), numbers=numbers, **said
        )
    )
    body = {
        "endpoint": row["endpoint"], "rollout": row["id"], "release": row["release"],
        "stable": row["stable"], **said, "shadow": decision.shadow, "numbers": numbers,
        **({"forced": True} if row["forced"] else {}),
    }  # fmt: skip
    ledger.write(db, asked.at, "decision", body)
    if decision.kind not in STATUS:
        return
    ended = {"status": STATUS[decision.kind], "ended_at": asked.at, "reason": decision.reason,
             "code": decision.code, "weight": 0.0, "shadow": 0, "next_at": None}  # fmt: skip
    db.execute(update(rollouts).where(rollouts.c.id == row["id"]).values(**ended))
    if decision.kind == "rollback":
        about = {
            "endpoint": row["endpoint"], "release": row["release"], "to": row["stable"],
            "why": decision.reason, "by": asked.by, "numbers": _tests(numbers), **_forced(row),
        }  # fmt: skip
        key = f"rolled_back/{row['endpoint']}/{row['id']}"
        notices.put(db, asked.at, "rolled_back", key, about)
    if decision.kind == "promote":
        endpoint, release = row["endpoint"], row["release"]
        endpoints.refuse_other(db, endpoint, row["stable_digest"], f"{release} was tried beside")
        deploy = {**(_release(db, release)["deploy"] or {}), "endpoint": endpoint}
        why = f"{_promoted(row)}: {decision.reason}"
        endpoints.desire(db, endpoint, release, deploy, row["stable_digest"], why, asked.by, asked.at)


def _forced(row: RowMapping) -> dict[str, Any]:
    """What a notice says of it, where it was tried past its gate."""
    return {"forced": {"by": row["by"], "why": row["why"]}} if row["forced"] else {}


def _promoted(row: RowMapping) -> str:
    return f"promoted, forced past its gate by {row['by']} ({row['why']})" if row["forced"] else "promoted"


def _running(db: Connection, endpoint: str) -> RowMapping | None:
    mine = (rollouts.c.endpoint == endpoint, rollouts.c.status == "running")
    return db.execute(select(rollouts).where(*mine)).mappings().first()


def _release(db: Connection, release: str) -> RowMapping:
    model, _, version = release.rpartition("@")
    mine = (releases.c.model == model, releases.c.version == version)
    row = db.execute(select(releases).where(*mine)).mappings().first()
    if row is None:
        raise NotFoundError(
            f"There is no release {release}.", hint="`tuneline releases list MODEL` shows them."
        )
    return row


def _refuse_unsettled(db: Connection, endpoint: str, live: RowMapping | None, release: str) -> None:
    """Another release that is about to go live must not be overtaken."""
    wanted = endpoints.desired_release(db, endpoint)
    serves = f"{live['model']}@{live['version']}" if live else None
    if wanted is not None and serves is not None and wanted != serves:
        raise ConflictError(
            f"{wanted} is about to go live at {endpoint}, in the place of {serves}.",
            hint=f"Wait until it is, or go back with `tuneline rollback {endpoint} --to ...`.",
        )


def _tests(numbers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every test of a decision as a row of a notice's table."""
    return [
        {
            "metric": name,
            "candidate": found["candidate"]["mean"],
            "stable": found["stable"]["mean"],
            "interval": found["interval"],
            "e-value": found["e_rollback"],
        }
        for name, found in numbers.get("tests", {}).items()
    ]


def _plain(value: Any) -> Any:
    """Numbers as every JSON has them, to six digits."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    return value
