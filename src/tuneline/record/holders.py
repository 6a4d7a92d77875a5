"""Who holds what only one process may have (the home): host, pid and start time name one process for ever.

Whether that process still lives is for the caller to say; this only keeps the name, in one transaction.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from tuneline.record.schema import holders
from tuneline.record.store import Store


@dataclass(frozen=True)
class Holder:
    """One process."""

    host: str
    pid: int
    pid_started: float
    """Unix seconds, as the kernel has it."""
    since: float
    """When it took the thing, Unix seconds."""


class Holders:
    """The holders of one record's things."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def take(self, name: str, mine: Holder, alive: Callable[[Holder], bool]) -> Holder | None:
        """Take `name`, or say which living process has it. None: it is mine now."""
        with self._store.write(durable=True) as db:
            row = db.execute(select(holders).where(holders.c.name == name)).mappings().first()
            if row is not None:
                other = Holder(row["host"], row["pid"], row["pid_started"], row["since"])
                same = (other.host, other.pid, other.pid_started) == (mine.host, mine.pid, mine.pid_started)
                if not same and alive(other):
                    return other
                db.execute(delete(holders).where(holders.c.name == name))
            db.execute(insert(holders).values(name=name, **vars(mine)))
        return None

    def holder(self, name: str) -> Holder | None:
        """Who took `name` last and has not let go of it; None if nobody."""
        with self._store.read() as db:
            row = db.execute(select(holders).where(holders.c.name == name)).mappings().first()
        return None if row is None else Holder(row["host"], row["pid"], row["pid_started"], row["since"])

    def newest(self) -> Holder | None:
        """Who took anything last and has not let go of it."""
        with self._store.read() as db:
            wanted = select(holders).order_by(holders.c.since.desc()).limit(1)
            row = db.execute(wanted).mappings().first()
        return None if row is None else Holder(row["host"], row["pid"], row["pid_started"], row["since"])

    def forget_others(self, name: str) -> list[tuple[str, Holder]]:
        """Forget everybody but the holder of `name`, as none of them can live any more; who they were."""
        others = holders.c.name != name
        with self._store.write() as db:
            rows = db.execute(select(holders).where(others)).mappings().all()
            db.execute(delete(holders).where(others))
        return [
            (row["name"], Holder(row["host"], row["pid"], row["pid_started"], row["since"])) for row in rows
        ]

    def release(self, name: str, mine: Holder) -> None:
        """Let go of `name`, if it is still mine."""
        with self._store.write() as db:
            db.execute(delete(holders).where(holders.c.name == name, holders.c.pid == mine.pid,
                                             holders.c.pid_started == mine.pid_started))  # fmt: skip
