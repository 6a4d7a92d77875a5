"""Notices as people look at them: what was told, to whom, whether it arrived. `platform.notices`."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tuneline.actions.views import moment
from tuneline.errors import MissingPartError
from tuneline.plan.notices import message
from tuneline.record.record import Record
from tuneline.types import Clock

Json = dict[str, Any]
Row = Mapping[Any, Any]


class Tester(Protocol):
    """What sends a test; `control.notice_sending.Sender` is one."""

    def test(self, target: str) -> None:
        """Raises: SettingError, MissingPartError, NetworkError."""
        ...


class NoticeBoard:
    """The notices of one home. Thread-safe."""

    def __init__(self, record: Record, tester: Tester | None, clock: Clock) -> None:
        self._notices = record.notices
        self._tester = tester
        self._clock = clock

    def list(self, limit: int = 50, run: str | None = None, after: int = 0) -> list[Json]:
        """Notices after number `after` with their deliveries, the newest first; of one run, if named."""
        rows = self._notices.newest(limit, run, after)
        sent: dict[int, list[Row]] = {}
        for delivery in self._notices.deliveries([row["n"] for row in rows]):
            sent.setdefault(delivery["notice"], []).append(delivery)
        return [_view(row, sent.get(row["n"], [])) for row in rows]

    def retry(self, n: int | None = None) -> Json:
        """Try what failed or waits anew, of one notice or of all: `{"deliveries"}`. Raises: NotFoundError."""
        return {"deliveries": self._notices.retry(n, self._clock())}

    def test(self, target: str) -> Json:
        """Send a test to a target: `{"target", "delivered"}`. Raises: as Tester."""
        if self._tester is None:
            raise MissingPartError("This server sends no notices.")
        self._tester.test(target)
        return {"target": target, "delivered": True}


def _view(row: Row, deliveries: Sequence[Row]) -> Json:
    said = message(row["kind"], row["about"] or {})
    return {
        "id": row["n"],
        "kind": row["kind"],
        "at": moment(row["at"]),
        "project": row["project"],
        "run": row["run"] or None,
        "title": said.title,
        "text": said.text,
        "deliveries": [
            {
                "target": each["target"],
                "state": "waiting" if each["missing"] and each["state"] == "pending" else each["state"],
                "attempts": each["attempts"],
                "next_at": moment(each["next_at"]),
                "delivered_at": moment(each["delivered_at"]),
                "error": each["error"] or None,
                "missing": each["missing"] or None,
            }
            for each in deliveries
        ],
    }
