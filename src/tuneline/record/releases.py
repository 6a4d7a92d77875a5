"""Models and their releases: made and judged in one transaction, immutable but for their state.

A release's content never changes, its state and its verdict may: when the same package is proposed again and
judged against another live release, or when somebody says yes or no (`approvals.py`). The ledger keeps every
verdict. `plan.approval` decides, this writes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import semver
from sqlalchemy import Connection, RowMapping, insert, select, update

from tuneline.errors import ConflictError, NotFoundError, UserError
from tuneline.plan import approval as ask
from tuneline.plan import apps
from tuneline.plan.approval import Approval, Next
from tuneline.plan.notices import judged
from tuneline.plan.verdict import numbers
from tuneline.plan.versions import next_version
from tuneline.record import endpoints, ledger, notices
from tuneline.record.changes import Changes
from tuneline.record.rollouts import Asked, deliver
from tuneline.record.schema import models, releases
from tuneline.record.store import Store
from tuneline.types import Digest, digest_json


@dataclass(frozen=True)
class Proposal:
    """What a run asks to be released, checked by the caller: digests right, proof about this very package."""

    model: str
    package_uri: str
    package_digest: Digest
    base_uri: str
    base_digest: Digest
    manifest: Mapping[str, Any]
    verdict: Mapping[str, Any]
    proof: Mapping[str, Any]
    report: Mapping[str, Any]
    deploy: Mapping[str, Any]
    """`{"endpoint", "runtime", "port", "keep_s"}`."""
    live_digest: str
    """The package the candidate was compared with; empty if nothing was live."""
    approved: bool
    """Whether its gate and its proof passed."""
    why: str
    """Why it passed or not, in one sentence."""
    run: str
    project_digest: str
    by: str
    data: Mapping[str, Any] = field(default_factory=dict)
    """Which data the run asked for: `plan.versions.data_definition`."""
    required: bool = False
    """Whether somebody must approve it before it goes on."""


@dataclass(frozen=True)
class Proposed:
    """What became of a proposal."""

    release: str
    """`model@version`."""
    state: str
    """`approved`, `candidate` (it waits for somebody's approval) or `rejected`."""
    created: bool
    """False if the same content was there before."""
    reason: str
    """Why it has this version, or which release it is identical to."""


class Releases:
    """The releases of one record."""

    def __init__(self, store: Store, changes: Changes) -> None:
        self._store = store
        self._changes = changes

    def propose(self, proposal: Proposal, at: float) -> Proposed:
        """Release it: version, state, what the endpoint should have and the ledger, in one transaction.

        Raises: ConflictError if another release went live since the comparison; then nothing is stored.
        """
        with self._store.write(durable=True) as db:
            done = propose_in(db, proposal, at)
        self._changes.notify(endpoints.TOPIC)
        return done

    def models(self) -> list[str]:
        """Names of all models."""
        with self._store.read() as db:
            mine = models.c.kind == apps.MODEL
            return list(db.scalars(select(models.c.name).where(mine).order_by(models.c.name)))

    def of(self, model: str) -> Sequence[RowMapping]:
        """A model's releases, the highest version first. Raises NotFoundError if there is no such model."""
        wanted = select(releases).where(releases.c.model == model)
        order = (releases.c.major.desc(), releases.c.minor.desc(), releases.c.patch.desc())
        with self._store.read() as db:
            rows = db.execute(wanted.order_by(*order)).mappings().all()
        if not rows:
            known = ", ".join(self.models())
            raise NotFoundError(
                f"There is no model `{model}`.",
                hint=f"Models: {known}."
                if known
                else "Nothing was released yet: `tuneline run PROJECT` does.",
            )
        return rows

    def proposed_by(self, run: str) -> dict[str, str] | None:
        """`{"release", "state", "reason"}` of the release that a run made; None if it made none."""
        wanted = select(releases).where(releases.c.run == run).order_by(releases.c.created_at.desc()).limit(1)
        with self._store.read() as db:
            row = db.execute(wanted).mappings().first()
        if row is None:
            return None
        name = f"{row['model']}@{row['version']}"
        return {"release": name, "state": str(row["state"]), "reason": str(row["reason"])}

    def packages(self, digest: str) -> list[Path]:
        """Where releases with this package have it."""
        wanted = select(releases.c.package_uri).where(releases.c.package_digest == digest).distinct()
        with self._store.read() as db:
            return [Path(uri) for uri in db.scalars(wanted)]

    def bases(self, digest: str) -> list[Path]:
        """Where releases that stand on this base have it."""
        wanted = select(releases.c.base_uri).where(releases.c.base_digest == digest).distinct()
        with self._store.read() as db:
            return [Path(uri) for uri in db.scalars(wanted)]

    def get(self, release: str) -> RowMapping:
        """The release `model@version`. Raises NotFoundError, UserError if that is no release's name."""
        model, version = split(release)
        for row in self.of(model):
            if row["version"] == version:
                return row
        raise NotFoundError(
            f"`{model}` has no release {version}.",
            hint=f"`tuneline releases list {model}` shows those there are.",
        )


def propose_in(db: Connection, proposal: Proposal, at: float) -> Proposed:
    """`Releases.propose` in the caller's (durable) transaction."""
    existing = _same_content(db, proposal)
    done = _create(db, proposal, at) if existing is None else _again(db, proposal, existing, at)
    _supersede(db, proposal, done.release, at)
    return done


def split(release: str) -> tuple[str, str]:
    """Model and version of `model@version`. Raises UserError."""
    model, _, version = release.rpartition("@")
    if not model or not version:
        raise UserError(
            f"`{release}` names no release.", hint="Write MODEL@VERSION, e.g. movie-reviews@1.0.0."
        )
    return model, version


def name_model(db: Connection, name: str, kind: str, at: float) -> None:
    """Have a model or app (`kind`) of that name. Raises: ConflictError if the other kind has it."""
    known = db.scalar(select(models.c.kind).where(models.c.name == name))
    if known is None:
        db.execute(insert(models).values(name=name, kind=kind, created_at=at))
    elif known != kind:
        raise ConflictError(
            f"The name `{name}` is taken: there are releases of the {known} `{name}`.",
            hint=f"Give the {kind} another name.",
        )


def _same_content(db: Connection, proposal: Proposal) -> RowMapping | None:
    same = (releases.c.model == proposal.model, releases.c.package_digest == proposal.package_digest)
    return db.execute(select(releases).where(*same)).mappings().first()


def _create(db: Connection, proposal: Proposal, at: float) -> Proposed:
    _refuse_moved(db, proposal)
    name_model(db, proposal.model, apps.MODEL, at)
    mine = releases.c.model == proposal.model
    before = [
        (row.version, {**row.manifest, "data": row.data})
        for row in db.execute(select(releases.c.version, releases.c.manifest, releases.c.data).where(mine))
    ]
    version, reason = next_version(before, {**proposal.manifest, "data": proposal.data})
    parsed, name = semver.Version.parse(version), f"{proposal.model}@{version}"
    db.execute(
        insert(releases).values(
            model=proposal.model,
            version=version,
            major=parsed.major,
            minor=parsed.minor,
            patch=parsed.patch,
            state=ask.CANDIDATE,
            reason=reason,
            package_uri=proposal.package_uri,
            package_digest=proposal.package_digest,
            base_uri=proposal.base_uri,
            base_digest=proposal.base_digest,
            manifest=dict(proposal.manifest),
            **_evidence(proposal),
            deploy=dict(proposal.deploy),
            data=dict(proposal.data),
            run=proposal.run,
            project_digest=proposal.project_digest,
            created_at=at,
        )
    )
    ledger.write(db, at, "proposed", _facts(proposal, name) | {"reason": reason})
    state = _judge(db, proposal, name, ask.first(proposal.approved, proposal.required), Approval(), at)
    _set(db, name, ledger_head=ledger.head_of(db))
    return Proposed(name, state, True, reason)


def _again(db: Connection, proposal: Proposal, existing: RowMapping, at: float) -> Proposed:
    """The same content as before: see `plan.approval.again`."""
    name, state = f"{existing['model']}@{existing['version']}", str(existing["state"])
    before, against = Approval.from_json(existing["approval"]), str(existing["compared_with"] or "")
    wanted = endpoints.desired_release(db, str(proposal.deploy["endpoint"]))
    step = ask.again(
        state, before, against, passed=proposal.approved, required=proposal.required,
        live=proposal.live_digest, wanted=wanted == name,
    )  # fmt: skip
    reason = f"identical to {name}"
    if step is Next.NOTHING:
        said = {ask.CANDIDATE: "waits for approval", ask.REJECTED: f"{before.by} rejected"}
        told = state == ask.CANDIDATE or before.decision == state == ask.REJECTED
        return Proposed(name, state, False, f"{reason}, which {said[state]}" if told else reason)
    _refuse_moved(db, proposal)
    _set(db, name, **_evidence(proposal))
    if step is Next.CARRY:
        reason += f", which {before.by} approved, and it passes against what is live now"
    elif state == ask.CANDIDATE:
        reason += ", judged again against what is live now"
    elif state != ask.APPROVED:
        reason += f", which was {state} before and passes now"
    elif wanted is not None:
        reason += f"; endpoint {proposal.deploy['endpoint']} had {wanted}"
    return Proposed(name, _judge(db, proposal, name, step, before, at), False, reason)


def _judge(db: Connection, proposal: Proposal, name: str, step: Next, before: Approval, at: float) -> str:
    """Write what becomes of a release; its state now."""
    evidence = {"run": proposal.run, **_numbers(proposal)}
    if step is Next.ASK:
        _tell(db, proposal, name, ask.CANDIDATE, at)
        _set(db, name, state=ask.CANDIDATE, approval=Approval(run=proposal.run).to_json())
        body = {"release": name, "by": proposal.by, "why": f"{proposal.why}; approval is required"}
        ledger.write(db, at, ask.CANDIDATE, body | evidence)
        return ask.CANDIDATE
    if step is Next.REJECT:
        _tell(db, proposal, name, ask.REJECTED, at)
        note = "the gate refused when it was gated again"
        kept = replace(before, again=False, note=note).to_json() if before.decision else None
        _set(db, name, state=ask.REJECTED, approval=kept)
        ledger.write(
            db, at, ask.REJECTED, {"release": name, "by": proposal.by, "why": proposal.why} | evidence
        )
        return ask.REJECTED
    _tell(db, proposal, name, ask.APPROVED, at)
    by, why, approval = proposal.by, proposal.why, None
    if step is Next.CARRY:
        by, why = before.by, before.reason
        approval = replace(before, run=proposal.run, again=False, against=proposal.live_digest)
        evidence |= {"approved_at": before.at, "judged": proposal.why}
    ledger.write(db, at, ask.APPROVED, {"release": name, "by": by, "why": why} | evidence)
    deploy = proposal.deploy
    deliver(db, name, deploy, proposal.live_digest, Asked(by, why, at))
    kept = None if approval is None else replace(approval, ledger=ledger.head_of(db)).to_json()
    _set(db, name, state=ask.APPROVED, approval=kept)
    return ask.APPROVED


def _tell(db: Connection, proposal: Proposal, name: str, state: str, at: float) -> None:
    """Have the verdict told, and that somebody must approve where that is so."""
    told = {"release": name, "state": state, "why": proposal.why, "by": proposal.by, "run": proposal.run}
    about = told | judged(proposal.verdict, proposal.report)
    notices.put(db, at, "verdict", f"verdict/{name}/{state}/{proposal.run or at}", about)
    if state == ask.CANDIDATE:
        notices.put(db, at, "approval_wanted", f"approval_wanted/{name}/{proposal.run or at}", about)


def _supersede(db: Connection, proposal: Proposal, made: str, at: float) -> None:
    """A run that was to gate a candidate again gave other content: that is asked about anew."""
    mine = (releases.c.model == proposal.model, releases.c.state == ask.CANDIDATE)
    for row in db.execute(select(releases).where(*mine)).mappings().all():
        name, approval = f"{row['model']}@{row['version']}", Approval.from_json(row["approval"])
        if not approval.again or approval.again_run != proposal.run or name == made:
            continue
        why = f"run {proposal.run}, which was to gate it again, gave other content: {made}"
        kept = replace(approval, again=False, note=why)
        _set(db, name, state=ask.WITHDRAWN, approval=kept.to_json())
        ledger.write(
            db, at, ask.WITHDRAWN, {"release": name, "by": proposal.by, "why": why, "run": proposal.run}
        )


def _evidence(proposal: Proposal) -> dict[str, Any]:
    """The columns that a new judgement of the same content changes."""
    return {
        "verdict": dict(proposal.verdict),
        "proof": dict(proposal.proof),
        "report": dict(proposal.report),
        "compared_with": proposal.live_digest,
    }


def _set(db: Connection, name: str, **values: Any) -> None:
    model, version = split(name)
    mine = (releases.c.model == model, releases.c.version == version)
    db.execute(update(releases).where(*mine).values(**values))


def _refuse_moved(db: Connection, proposal: Proposal) -> None:
    endpoint = str(proposal.deploy["endpoint"])
    endpoints.refuse_other(db, endpoint, proposal.live_digest, "this candidate was compared with")


def _facts(proposal: Proposal, name: str) -> dict[str, Any]:
    return {
        "release": name,
        "package": proposal.package_digest,
        "base": proposal.base_digest,
        "manifest": digest_json(proposal.manifest),
        "report": digest_json(proposal.report),
        "run": proposal.run,
        **_numbers(proposal),
        "compared_with": proposal.live_digest,
        "project": proposal.project_digest,
        "by": proposal.by,
    }


_OF_PROOF = (
    *("prompts", "token_ids_equal", "answers_equal", "decided", "mean_logprob_diff", "max_logprob_diff"),
    *("rows", "rows_equal"),
)


def _numbers(proposal: Proposal) -> dict[str, Any]:
    """What the decision rests on, without a text of any row."""
    verdict, proof = proposal.verdict, proposal.proof
    return {
        "verdict": {
            "passed": verdict.get("passed"),
            "rules": [numbers(rule) for rule in verdict.get("rules", [])],
            **{name: verdict[name] for name in ("rows", "left_out") if verdict.get(name) is not None},
        },
        "proof": {
            "passed": proof.get("passed"),
            "runtime": proof.get("runtime"),
            "digest": digest_json(proof),
            **{name: proof[name] for name in _OF_PROOF if proof.get(name) is not None},
        },
    }
