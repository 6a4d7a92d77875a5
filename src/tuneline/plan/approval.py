"""Whether a person must say yes before a release goes on, and what a proposal of known content changes: pure.

A release that passed gate and proof is approved at once, or waits as a `candidate` where the project says
`release.approval: required`. What was approved while another release is live than it was compared with is
gated again first; the approval holds if the verdict is yes again for the same content.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

AUTO, REQUIRED = "auto", "required"
MODES = (AUTO, REQUIRED)
CANDIDATE, APPROVED, REJECTED, WITHDRAWN = "candidate", "approved", "rejected", "withdrawn"
"""States of a release."""


@dataclass(frozen=True)
class Approval:
    """What people said of a release, kept in its row; releases that nobody is asked about have none."""

    run: str = ""
    """The run whose verdict it is about."""
    decision: str = ""
    """`approved`, `rejected`, or empty while nobody has said anything."""
    by: str = ""
    at: float | None = None
    comment: str = ""
    against: str = ""
    """Digest of the package that was live when it was decided; empty if nothing was."""
    again: bool = False
    """Approved, and to be gated again before it goes on."""
    again_run: str = ""
    """The run that does so, once it has begun."""
    again_against: str = ""
    """What was live when that run began."""
    note: str = ""
    """What became of an approval that did not hold."""
    ledger: str = ""
    """The head of the ledger when it was decided, `SEQ:HASH`."""

    @property
    def reason(self) -> str:
        """Why its release goes live, where it was approved."""
        return f"approved: {self.comment}" if self.comment else f"approved by {self.by}"

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any] | None) -> "Approval":
        """What `to_json` gave; keys of later versions are left out."""
        known = {entry.name for entry in fields(cls)}
        return cls(**{key: value for key, value in (body or {}).items() if key in known})


class Next(StrEnum):
    """What becomes of a release."""

    NOTHING = "nothing"
    APPROVE = "approve"
    """It is approved without asking."""
    CARRY = "carry"
    """It passed again, and was approved by somebody already."""
    ASK = "ask"
    """It waits for somebody."""
    REJECT = "reject"


def first(passed: bool, required: bool) -> Next:
    """What becomes of new content. passed: gate and proof."""
    if not passed:
        return Next.REJECT
    return Next.ASK if required else Next.APPROVE


def again(
    state: str,
    approval: Approval,
    compared_with: str,
    *,
    passed: bool,
    required: bool,
    live: str,
    wanted: bool,
) -> Next:
    """What becomes of a release whose content is proposed again.

    Args:
        state, approval, compared_with: the release's; the last is the package it was judged against.
        passed: whether gate and proof pass now. live: the package it is judged against now.
        wanted: whether its endpoint has, or is getting, this release.
    """
    if approval.decision == REJECTED and state == REJECTED and approval.against == live:
        return Next.NOTHING  # a person's no stands as long as the choice is the same
    if state == CANDIDATE:
        if not passed:
            return Next.REJECT
        if approval.again:
            return Next.CARRY
        if required and compared_with == live:
            return Next.NOTHING
    elif not passed or (state == APPROVED and wanted):
        return Next.NOTHING
    return Next.ASK if required else Next.APPROVE
