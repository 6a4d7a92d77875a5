"""Models and their releases: made and judged in one transaction, immutable but for their state.

A release's content never changes: only `state` may go from rejected to approved, when the same package passes
a later gate; the ledger keeps both verdicts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import semver
from sqlalchemy import Connection, RowMapping, insert, select, update

from tuneline.errors import ConflictError, NotFoundError, UserError
from tuneline.plan import apps
from tuneline.plan.versions import next_version
from tuneline.record import endpoints, ledger
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
    why: str
    """Why it was approved or rejected, in one sentence."""
    run: str
    project_digest: str
    by: str
    data: Mapping[str, Any] = field(default_factory=dict)
    """Which data the run asked for: `plan.versions.data_definition`."""


@dataclass(frozen=True)
class Proposed:
    """What became of a proposal."""

    release: str
    """`model@version`."""
    state: str
    """`approved` or `rejected`."""
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
            existing = _same_content(db, proposal)
            done = _create(db, proposal, at) if existing is None else _again(db, proposal, existing, at)
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
    parsed, state = semver.Version.parse(version), "approved" if proposal.approved else "rejected"
    db.execute(
        insert(releases).values(
            model=proposal.model,
            version=version,
            major=parsed.major,
            minor=parsed.minor,
            patch=parsed.patch,
            state=state,
            reason=reason,
            package_uri=proposal.package_uri,
            package_digest=proposal.package_digest,
            base_uri=proposal.base_uri,
            base_digest=proposal.base_digest,
            manifest=dict(proposal.manifest),
            verdict=dict(proposal.verdict),
            proof=dict(proposal.proof),
            report=dict(proposal.report),
            deploy=dict(proposal.deploy),
            data=dict(proposal.data),
            run=proposal.run,
            project_digest=proposal.project_digest,
            created_at=at,
        )
    )
    name = f"{proposal.model}@{version}"
    ledger.write(db, at, "proposed", _facts(proposal, name) | {"reason": reason})
    _judge(db, proposal, name, state, at)
    return Proposed(name, state, True, reason)


def _again(db: Connection, proposal: Proposal, existing: RowMapping, at: float) -> Proposed:
    """The same content as before.

    Nothing new, unless its gate says yes now or its endpoint has another release.
    """
    name, state = f"{existing['model']}@{existing['version']}", str(existing["state"])
    reason = f"identical to {name}"
    wanted = endpoints.desired_release(db, str(proposal.deploy["endpoint"]))
    if not proposal.approved or (state == "approved" and wanted == name):
        return Proposed(name, state, False, reason)
    _refuse_moved(db, proposal)
    if state != "approved":
        mine = (releases.c.model == existing["model"], releases.c.version == existing["version"])
        evidence = {
            "verdict": dict(proposal.verdict),
            "proof": dict(proposal.proof),
            "report": dict(proposal.report),
        }
        db.execute(update(releases).where(*mine).values(state="approved", **evidence))
        reason += ", which was rejected before and passes now"
    elif wanted is not None:
        reason += f"; endpoint {proposal.deploy['endpoint']} had {wanted}"
    _judge(db, proposal, name, "approved", at)
    return Proposed(name, "approved", False, reason)


def _judge(db: Connection, proposal: Proposal, name: str, state: str, at: float) -> None:
    ledger.write(
        db, at, state, {"release": name, "by": proposal.by, "why": proposal.why, "run": proposal.run}
    )
    if state != "approved":
        return
    asked = Asked(proposal.by, proposal.why, at)
    deliver(db, name, proposal.deploy, proposal.live_digest, asked)


def _refuse_moved(db: Connection, proposal: Proposal) -> None:
    endpoint = str(proposal.deploy["endpoint"])
    endpoints.refuse_other(db, endpoint, proposal.live_digest, "this candidate was compared with")


def _facts(proposal: Proposal, name: str) -> dict[str, Any]:
    rules = [
        {"rule": rule.get("rule"), "passed": rule.get("passed")} for rule in proposal.verdict.get("rules", [])
    ]
    return {
        "release": name,
        "package": proposal.package_digest,
        "base": proposal.base_digest,
        "manifest": digest_json(proposal.manifest),
        "report": digest_json(proposal.report),
        "run": proposal.run,
        "verdict": {"passed": proposal.verdict.get("passed"), "rules": rules},
        "proof": {
            "passed": proposal.proof.get("passed"),
            "runtime": proposal.proof.get("runtime"),
            "digest": digest_json(proposal.proof),
        },
        "compared_with": proposal.live_digest,
        "project": proposal.project_digest,
        "by": proposal.by,
    }
