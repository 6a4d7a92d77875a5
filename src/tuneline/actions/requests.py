"""What came back from traffic: scores that people give to answers, and where one answer came from.

Reads request lines where `record.request_files` keeps them, and in segments that were not ingested yet, so
that an id is found as soon as its router wrote it down. polars is imported with the first question.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneline.actions import views
from tuneline.actions.forced import with_forced
from tuneline.actions.provenance import provenance
from tuneline.errors import NotFoundError, TransientError, UserError
from tuneline.record.feedback import FeedbackRow, Score
from tuneline.record.record import Record

Json = dict[str, Any]
TRIES = 10
"""How often a lookup begins again because files were merged under it."""


@dataclass(frozen=True)
class Found:
    """The lines of one request id at one endpoint."""

    endpoint: str
    lines: Sequence[Mapping[str, Any]]
    """The latest first, with the columns of `record.request_lines.SCHEMA`."""

    @property
    def main(self) -> Mapping[str, Any]:
        """The latest one that a client was answered; a copy only if nothing else is there."""
        return next((line for line in self.lines if line["shadow_of"] is None), self.lines[0])

    @property
    def shadows(self) -> list[Mapping[str, Any]]:
        """Copies that went to other revisions."""
        return [line for line in self.lines if line["shadow_of"] is not None]


class Requests:
    """The requests of one home. Thread-safe."""

    def __init__(self, record: Record, folder: Path) -> None:
        """folder: of all endpoints, one below it each."""
        self._record, self._folder = record, folder

    def feedback(self, endpoint: str, scores: Sequence[Score], by: str, at: float) -> Json:
        """Keep scores, all or none: `{"endpoint", "accepted", "numbers", "unseen"}`.

        unseen: ids of which no line is here yet; their scores are kept all the same. The caller has checked
        that each score is from 0 to 1. Raises: NotFoundError if there is no such endpoint.
        """
        self._record.endpoints.get(endpoint)
        numbers = self._record.feedback.add_all(endpoint, scores, by, at)
        ids = list(dict.fromkeys(each.request_id for each in scores))
        seen = self._seen(endpoint, ids)
        unseen = [id for id in ids if id not in seen]
        return {"endpoint": endpoint, "accepted": len(scores), "numbers": numbers, "unseen": unseen}

    def trace(self, id: str, endpoint: str | None = None) -> Json:
        """Everything on record about the request `id`; of several of that id, the latest.

        Raises: NotFoundError if no line of it is here.
        """
        names = [row["name"] for row in self._record.endpoints.all()]
        if endpoint is not None:
            names = [self._record.endpoints.get(endpoint)["name"]]
        found = [each for name in names if (each := self._lines(name, id)).lines]
        if not found:
            raise self._unknown(id, names)
        found.sort(key=lambda each: each.main["at"], reverse=True)
        return self._traced(found[0], [each.endpoint for each in found[1:]])

    def _traced(self, found: Found, also: list[str]) -> Json:
        line = found.main
        history = self._record.endpoints.history(found.endpoint, line["at"])
        live = with_forced(self._record, [views.interval_view(history[-1])])[0] if history else None
        given = self._record.feedback.of(found.endpoint, line["id"])
        others = [views_of for views_of in map(request_view, found.lines) if views_of != request_view(line)]
        return {
            "id": line["id"],
            "endpoint": found.endpoint,
            "request": request_view(line),
            "shadows": [request_view(each) for each in found.shadows],
            "earlier": [each for each in others if each["shadow_of"] is None],
            "also_at": also,
            "live": live,
            "was_live": live is not None and live["release"] == line["release"],
            "feedback": [_score_view(row) for row in given],
            "release": _origin(self._record, line["release"]) if line["release"] else None,
        }

    def _lines(self, endpoint: str, id: str) -> Found:
        """Segments first: what is ingested meanwhile is found in the files then."""
        from tuneline.record.request_files import find, read_state  # noqa: PLC0415 - polars
        from tuneline.record.request_lines import parse_line  # noqa: PLC0415
        from tuneline.record.request_segments import unread_lines  # noqa: PLC0415

        folder = self._folder / endpoint
        for _ in range(TRIES):
            try:
                offsets = read_state(folder / "requests").segments
                fresh = map(parse_line, unread_lines(folder / "segments", offsets, id))
                lines = [line for line in fresh if line is not None and line["id"] == id]
                lines += [line for line in find(folder / "requests", id) if line not in lines]
                return Found(endpoint, sorted(lines, key=lambda line: line["at"], reverse=True))
            except FileNotFoundError:
                continue
        raise TransientError(f"The requests of {endpoint} are being rearranged.", hint="Ask again.")

    def _seen(self, endpoint: str, ids: Sequence[str]) -> set[str]:
        """Which of `ids` have a line."""
        from tuneline.record.request_files import having, read_state  # noqa: PLC0415 - polars
        from tuneline.record.request_segments import unread_ids  # noqa: PLC0415

        folder = self._folder / endpoint
        for _ in range(TRIES):
            try:
                offsets = read_state(folder / "requests").segments
                fresh = unread_ids(folder / "segments", offsets)
                return fresh.intersection(ids) | having(folder / "requests", ids)
            except FileNotFoundError:
                continue
        return set()

    def _unknown(self, id: str, names: Sequence[str]) -> NotFoundError:
        from tuneline.record.request_files import read_state  # noqa: PLC0415 - polars

        scored = [name for name in names if self._record.feedback.of(name, id)]
        said = f" It was scored at {', '.join(scored)}." if scored else ""
        malformed = sum(read_state(self._folder / name / "requests").malformed for name in names)
        said += f" {malformed} request lines could not be read." if malformed else ""
        where = f"endpoint {names[0]}" if len(names) == 1 else "any endpoint"
        return NotFoundError(
            f"No request `{id}` of {where} is on record here.{said}",
            hint="A request is on record about a second after its answer, for `monitor.keep` (30 days by"
            " default); its id is the answer's x-request-id.",
        )


def request_view(line: Mapping[str, Any]) -> Json:
    """A request line; `time` is its `at` as a number."""
    return {**line, "at": views.moment(line["at"]), "time": line["at"]}


def _score_view(row: FeedbackRow) -> Json:
    return {
        "n": row.n, "score": row.score, "comment": row.comment, "by": row.by, "at": views.moment(row.at)
    }  # fmt: skip


def _origin(record: Record, release: str) -> Json:
    """What the release is made of and was judged by; `{"release", "missing"}` if it is not on record here."""
    try:
        found = provenance(record, release)
        return {**found, "verdict": record.releases.get(release)["verdict"]}
    except (NotFoundError, UserError) as error:
        return {"release": release, "missing": error.message}
