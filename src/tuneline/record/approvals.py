"""What people say of candidates, written with the ledger in one transaction; and approvals that wait.

An approval of a candidate that was compared with what is live now makes it what its endpoint should serve. If
another release went live since, the approval is kept, and waits for a run that gates the candidate again:
`actions.approvals` starts it, the run's own proposal (`releases.py`) settles it.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, RowMapping, select, update

from tuneline.errors import ConflictError, NotFoundError
from tuneline.plan.approval import APPROVED, CANDIDATE, REJECTED, Approval
from tuneline.plan.verdict import numbers
from tuneline.record import endpoints, ledger
from tuneline.record.changes import Changes
from tuneline.record.releases import split
from tuneline.record.rollouts import Asked, deliver
from tuneline.record.schema import intervals, releases, runs
from tuneline.record.store import Beside, Store


@dataclass(frozen=True)
class Said:
    """What became of a yes or a no."""

    release: str
    state: str
    endpoint: str
    serves: str
    """The release that is live there; empty if nothing is."""
    again: bool = False
    """It was compared with another one, so it is gated again before it goes on."""


@dataclass(frozen=True)
class Waiting:
    """An approved candidate that must be gated again."""

    release: str
    endpoint: str
    live_digest: str
    """Of what is live at its endpoint now."""
    approval: Approval
    run_state: str
    """Of the run that gates it again; empty if there is none."""


class Approvals:
    """The approvals of one record."""

    def __init__(self, store: Store, changes: Changes) -> None:
        self._store = store
        self._changes = changes

    def approve(self, release: str, comment: str, by: str, at: float) -> Said:
        """Say yes to a candidate. Raises: NotFoundError, UserError; ConflictError if it is none."""
        with self._store.write(durable=True) as db:
            row = _candidate(db, release, "approved")
            before, live = Approval.from_json(row["approval"]), _live(db, row)
            said = replace(before, decision=APPROVED, by=by, at=at, comment=comment, against=live.digest)
            body = {"release": release, "by": by, "why": comment, "run": before.run} | _verdict(row)
            again = live.digest != (row["compared_with"] or "")
            if again:
                compared = {"compared_with": row["compared_with"] or "", "live": live.release}
                ledger.write(db, at, "gated_again", body | compared)
                said, state = replace(said, again=True, again_run="", note=""), CANDIDATE
            else:
                ledger.write(db, at, APPROVED, body)
                deploy = row["deploy"]
                deliver(db, release, deploy, live.digest, Asked(by, said.reason, at))
                state = APPROVED
            _set(db, release, state=state, approval=replace(said, ledger=ledger.head_of(db)).to_json())
        self._changes.notify(endpoints.TOPIC)
        return Said(release, state, str(row["deploy"]["endpoint"]), live.release, again)

    def reject(self, release: str, comment: str, by: str, at: float) -> Said:
        """Say no to a candidate, also to one that was approved and is being gated again. Raises: as
        `approve`."""
        with self._store.write(durable=True) as db:
            row = _candidate(db, release, "rejected")
            before, live = Approval.from_json(row["approval"]), _live(db, row)
            said = replace(
                before, decision=REJECTED, by=by, at=at, comment=comment, against=live.digest, again=False
            )
            body = {"release": release, "by": by, "why": comment, "run": before.run}
            ledger.write(db, at, REJECTED, body | _verdict(row))
            _set(db, release, state=REJECTED, approval=replace(said, ledger=ledger.head_of(db)).to_json())
        self._changes.notify(endpoints.TOPIC)
        return Said(release, REJECTED, str(row["deploy"]["endpoint"]), live.release)

    def waiting(self) -> list[Waiting]:
        """Approved candidates that are to be gated again, the earliest approval first."""
        with self._store.read() as db:
            names = ("model", "version", "deploy", "approval")  # reports are large, and this is asked often
            wanted = select(*(releases.c[name] for name in names)).where(releases.c.state == CANDIDATE)
            rows = [(row, Approval.from_json(row["approval"])) for row in db.execute(wanted).mappings()]
            found = [
                Waiting(
                    release=f"{row['model']}@{row['version']}",
                    endpoint=str(row["deploy"]["endpoint"]),
                    live_digest=_live(db, row).digest,
                    approval=approval,
                    run_state=str(
                        db.scalar(select(runs.c.state).where(runs.c.id == approval.again_run)) or ""
                    ),
                )
                for row, approval in rows
                if approval.again
            ]
        return sorted(found, key=lambda each: (each.approval.at or 0.0, each.release))

    def begins(self, waiting: Waiting, run: str) -> Beside:
        """Note, in the transaction that stores it, that `run` gates a candidate again.

        It raises ConflictError, and nothing is stored, if another run was noted since, or none is wanted.
        """

        def note(db: Connection) -> None:
            row = _row(db, waiting.release)
            now = Approval.from_json(row["approval"])
            if row["state"] != CANDIDATE or not now.again or now.again_run != waiting.approval.again_run:
                raise ConflictError(f"{waiting.release} waits for no run any more.")
            kept = replace(now, again_run=run, again_against=waiting.live_digest)
            _set(db, waiting.release, approval=kept.to_json())

        return note

    def lapse(self, waiting: Waiting, why: str, at: float) -> None:
        """An approval does not hold, as it could not be gated again; somebody may approve it anew."""
        with self._store.write(durable=True) as db:
            row = _row(db, waiting.release)
            now = Approval.from_json(row["approval"])
            if row["state"] != CANDIDATE or not now.again or now.again_run != waiting.approval.again_run:
                return
            body = {"release": waiting.release, "by": now.by, "why": why, "run": now.again_run}
            ledger.write(db, at, "approval_lapsed", body)
            _set(db, waiting.release, approval=Approval(run=now.run, note=why).to_json())
        self._changes.notify(endpoints.TOPIC)

    def listening(self, wake: Callable[[], None]) -> AbstractContextManager[None]:
        """Call `wake` whenever a release or an endpoint changed, until the block ends."""
        return self._changes.listening(endpoints.TOPIC, wake)


@dataclass(frozen=True)
class _Live:
    release: str
    digest: str


def _live(db: Connection, row: RowMapping) -> _Live:
    """What is live where the release is to go; empty texts if nothing is."""
    name = str(row["deploy"]["endpoint"])
    now = (intervals.c.endpoint == name, intervals.c.to_at.is_(None))
    found = db.execute(select(intervals).where(*now)).mappings().first()
    return _Live("", "") if found is None else _Live(f"{found['model']}@{found['version']}", found["digest"])


def _row(db: Connection, release: str) -> RowMapping:
    model, version = split(release)
    mine = (releases.c.model == model, releases.c.version == version)
    row = db.execute(select(releases).where(*mine)).mappings().first()
    if row is None:
        raise NotFoundError(
            f"There is no release {release}.", hint="`tuneline releases list MODEL` shows them."
        )
    return row


def _candidate(db: Connection, release: str, wanted: str) -> RowMapping:
    """The row of a release that waits. Raises: ConflictError, saying why it cannot be `wanted`."""
    row = _row(db, release)
    approval, state = Approval.from_json(row["approval"]), row["state"]
    if state == CANDIDATE and not (wanted == APPROVED and approval.again):
        return row
    if state == CANDIDATE:
        run = f"run {approval.again_run} gates" if approval.again_run else "a run is about to gate"
        raise ConflictError(
            f"{release} was approved by {approval.by} already; {run} it again.",
            hint="It goes on by itself if the verdict is yes; `tuneline releases show` says how far it is.",
        )
    if state == REJECTED and approval.decision != REJECTED:
        why = _refusal(row)
        hint = "A person's yes does not take the place of the gate's: change what is wrong and run it again."
        raise ConflictError(f"{release} cannot be {wanted}: {why}.", hint=hint)
    who = f" by {approval.by}" if approval.decision == state else ""
    raise ConflictError(
        f"{release} cannot be {wanted}: it is {state}{who}, and no candidate.",
        hint=f"`tuneline releases list {row['model']}` shows which releases wait.",
    )


def _refusal(row: RowMapping) -> str:
    proof, verdict = row["proof"] or {}, row["verdict"] or {}
    if not proof.get("passed"):
        return "its proof failed"
    refused = [str(rule.get("rule")) for rule in verdict.get("rules", []) if not rule.get("passed")]
    return f"its gate refused ({'; '.join(refused)})" if refused else "its gate refused"


def _verdict(row: RowMapping) -> dict[str, Any]:
    verdict = row["verdict"] or {}
    rules = [numbers(rule) for rule in verdict.get("rules", [])]
    return {"verdict": {"passed": verdict.get("passed"), "rules": rules}}


def _set(db: Connection, release: str, **values: Any) -> None:
    model, version = split(release)
    mine = (releases.c.model == model, releases.c.version == version)
    db.execute(update(releases).where(*mine).values(**values))
