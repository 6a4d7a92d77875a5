"""What was forced past its gate, as every answer that names a release tells it.

A rollout of a release that its gate refused is on record with who began it and why; the release stays
`rejected`. Limits: it is told of the release, so also of a time before or after it was forced.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tuneline.actions.views import Row, moment
from tuneline.errors import ConflictError, UserError
from tuneline.plan.approval import CANDIDATE
from tuneline.record.record import Record

Json = dict[str, Any]


def with_forced(record: Record, rows: Sequence[Mapping[str, Any]]) -> list[Json]:
    """The rows, each with `forced`: how its `release` was tried past its gate, [] if it never was.

    `[{"rollout", "endpoint", "at", "by", "why", "status"}]`, the earliest first.
    """
    found: dict[str, list[Json]] = {row["release"]: [] for row in rows}
    for one in record.rollouts.forced(found):
        found[one["release"]].append(_view(one))
    return [{**row, "forced": found[row["release"]]} for row in rows]


def refuse_unforced(row: Row, release: str, force: bool, why: str) -> None:
    """A release that is not approved is tried by force alone, and for a reason.

    A candidate is not: it waits for a yes, and whoever may force it may say that. Nor is what is not proven.
    Raises: ConflictError, UserError.
    """
    if row["state"] == CANDIDATE:
        raise ConflictError(
            f"{release} waits for approval.", hint=f'`tuneline releases approve {release} --comment "..."`.'
        )
    if not force:
        raise ConflictError(
            f"{release} is {row['state']}: {(row['verdict'] or {}).get('reason') or row['reason']}.",
            hint='--force --why "..." tries it all the same, and the ledger says who did, and why.',
        )
    if not (row["proof"] or {}).get("passed"):
        raise ConflictError(
            f"{release} is not proven to be what was trained: no force serves it.",
            hint=f"`tuneline releases show {release}` says what differed; run the project again.",
        )
    if not why.strip():
        raise UserError(
            f"{release} is {row['state']}, and no reason is given why it is forced.",
            hint='Say it: --force --why "...". It is kept in the ledger and told wherever the release is.',
        )


def _view(row: Row) -> Json:
    names = ("endpoint", "by", "why", "status")
    return {"rollout": row["id"], "at": moment(row["started_at"]), **{name: row[name] for name in names}}
