"""Feedback: how good an answer was, between 0 and 1, by the id of its request.

A score may come before the request's line was read, and for a request nobody has on record: it is kept by the
id alone. Rows are read in the order of `n`, so a reader that keeps the last `n` it saw misses none and, as
who scores again keeps the number, reads none twice, whenever it was started anew. Limits: one score for each
request and each of those who score; they are never deleted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import RowMapping, delete, func, insert, select

from tuneline.record.changes import Changes
from tuneline.record.schema import feedback
from tuneline.record.store import Store

TOPIC = "feedback"
"""What `Changes` says when a score was given."""


@dataclass(frozen=True)
class Score:
    """One score as it is given."""

    request_id: str
    score: float
    """0 is worst, 1 is best."""
    comment: str = ""


@dataclass(frozen=True)
class FeedbackRow:
    """One score as it is kept."""

    n: int
    """Increasing within an endpoint."""
    request_id: str
    score: float
    at: float
    """Unix seconds when it was given."""
    by: str
    comment: str = ""


class Feedback:
    """The scores of one record. Thread-safe."""

    def __init__(self, store: Store, changes: Changes) -> None:
        self._store, self._changes = store, changes

    def add(self, endpoint: str, request_id: str, score: float, comment: str, by: str, at: float) -> int:
        """Keep a score between 0 and 1; its `n`. One of the same request by the same `by` is replaced, and
        keeps its `n`.

        The caller has checked that the endpoint exists and what the score is.
        """
        return self.add_all(endpoint, [Score(request_id, score, comment)], by, at)[0]

    def add_all(self, endpoint: str, scores: Sequence[Score], by: str, at: float) -> list[int]:
        """Keep all or none; their `n`, in order. Of two for one request the later is kept."""
        if not scores:
            return []
        with self._store.write() as db:
            last = db.scalar(select(func.max(feedback.c.n)).where(feedback.c.endpoint == endpoint)) or 0
            numbered = {each.request_id: (n, each) for n, each in enumerate(scores, last + 1)}
            ids = list(numbered)
            mine = (feedback.c.endpoint == endpoint, feedback.c.by == by)
            for start in range(0, len(ids), _CHUNK):
                again = (*mine, feedback.c.request_id.in_(ids[start : start + _CHUNK]))
                for id, n in db.execute(select(feedback.c.request_id, feedback.c.n).where(*again)).all():
                    numbered[id] = (n, numbered[id][1])
                db.execute(delete(feedback).where(*again))
            db.execute(
                insert(feedback),
                [
                    {"endpoint": endpoint, "by": by, "at": at, "n": n, **vars(each)}
                    for n, each in numbered.values()
                ],
            )
        self._changes.notify(TOPIC)
        return [numbered[each.request_id][0] for each in scores]

    def since(self, endpoint: str, n: int, limit: int = 10_000) -> list[FeedbackRow]:
        """At most `limit` scores with a number above `n`, in order of their numbers."""
        wanted = (
            select(feedback)
            .where(feedback.c.endpoint == endpoint, feedback.c.n > n)
            .order_by(feedback.c.n)
            .limit(limit)
        )
        with self._store.read() as db:
            return [_row(row) for row in db.execute(wanted).mappings()]

    def of(self, endpoint: str, request_id: str) -> list[FeedbackRow]:
        """Everybody's scores of one request, in order of their numbers."""
        mine = (feedback.c.endpoint == endpoint, feedback.c.request_id == request_id)
        with self._store.read() as db:
            rows = db.execute(select(feedback).where(*mine).order_by(feedback.c.n)).mappings().all()
        return [_row(row) for row in rows]


_CHUNK = 500
"""How many ids one statement names."""


def _row(row: RowMapping) -> FeedbackRow:
    return FeedbackRow(row["n"], row["request_id"], row["score"], row["at"], row["by"], row["comment"])
