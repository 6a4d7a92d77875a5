"""What a proposal must show before the record takes it: the package is what it says, and the proof is about
it.

Reads the package's files once, outside any transaction. The base is not read again: it is large, its digest
comes from the record of the run and is compared with the one the proof names.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneline.errors import ModelError, ProofError
from tuneline.execute.files import digest_path
from tuneline.plan.approval import AUTO, REQUIRED
from tuneline.record.releases import Proposal
from tuneline.serve.runtimes import proven_by
from tuneline.types import Digest


@dataclass(frozen=True)
class Offer:
    """A proposal as it came in. Paths are on this machine."""

    model: str
    package: str
    package_digest: str
    base: str
    base_digest: str
    verdict: Mapping[str, Any]
    proof: Mapping[str, Any]
    report: Mapping[str, Any]
    deploy: Mapping[str, Any]
    live_digest: str = ""
    passed: bool = False
    run: str = ""
    project_digest: str = ""
    approval: str = AUTO
    """`auto`, or `required`: somebody must approve it before it goes on."""


def checked(offer: Offer, data: Mapping[str, Any], by: str) -> Proposal:
    """The offer, found true, with the decision that its verdict and its proof make. data: what its run asked
    for.

    Raises: ModelError if the package is not there or not what it says; ProofError if the proof is about
    another one.
    """
    manifest = _manifest(offer)
    _refuse_foreign_proof(offer, manifest)
    approved, why = decide(offer.passed, offer.verdict, offer.proof)
    return Proposal(
        model=offer.model,
        package_uri=offer.package,
        package_digest=Digest(offer.package_digest),
        base_uri=offer.base,
        base_digest=Digest(offer.base_digest),
        manifest=manifest,
        verdict=offer.verdict,
        proof=offer.proof,
        report=offer.report,
        deploy={"endpoint": offer.model, **offer.deploy},
        live_digest=offer.live_digest,
        approved=approved,
        why=why,
        run=offer.run,
        project_digest=offer.project_digest,
        by=by,
        data=data,
        required=offer.approval == REQUIRED,
    )


def decide(passed: bool, verdict: Mapping[str, Any], proof: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether to approve, and why in one sentence: the gate and the proof must both have passed."""
    if not proof.get("passed"):
        reasons = "; ".join(str(reason) for reason in proof.get("reasons", []))
        return False, f"the proof failed: {reasons or 'trained and served disagree'}"
    rules = list(verdict.get("rules", []))
    refused = [rule for rule in rules if not rule.get("passed")]
    if not (passed and verdict.get("passed")):
        said = "; ".join(f"{rule.get('rule')}: {rule.get('reason', 'not met')}" for rule in refused)
        return False, f"the gate refused: {said or 'its verdict is no'}"
    return True, f"the gate passed ({len(rules)} of {len(rules)} rules) and the proof holds"


def _manifest(offer: Offer) -> dict[str, Any]:
    folder = Path(offer.package)
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        digest, _ = digest_path(folder)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The package {folder} of `{offer.model}` cannot be read: {error}.",
            hint="Run the project again; the package is made anew if it is gone.",
        ) from error
    if digest != offer.package_digest:
        raise ModelError(
            f"The package {folder} has the digest {digest}, not {offer.package_digest}: it was changed.",
            hint="Delete that folder and run the project again.",
        )
    if not isinstance(manifest, dict) or manifest.get("model") != offer.model:
        raise ModelError(
            f"The package {folder} is no package of `{offer.model}`.", hint="Propose the model it names."
        )
    return manifest


def _refuse_foreign_proof(offer: Offer, manifest: Mapping[str, Any]) -> None:
    proof = offer.proof
    wanted = {
        name: manifest.get(name)
        for name in ("adapter_digest", "served_digest", "template_hash", "tokenizer_hash")
    }
    here = offer.deploy.get("on") != "kubernetes"
    runtime = proven_by(str(offer.deploy.get("runtime", proof.get("runtime"))), here)
    wanted |= {"base_digest": offer.base_digest, "runtime": runtime}
    wrong = [
        f"{name}: proven {proof.get(name)}, offered {value}"
        for name, value in wanted.items()
        if proof.get(name) != value
    ]
    if wrong:
        raise ProofError(
            f"The proof given for `{offer.model}` is about something else.",
            hint="Run the project again: `verify` then proves what is offered.",
            details=wrong,
        )
