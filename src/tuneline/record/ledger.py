"""The ledger: which version was live when, why and by whom, in entries chained by hash.

An entry holds digests, names and verdicts' summaries; no bodies, no secrets. Its hash covers its number,
time, kind, body and the hash before it, so a changed, deleted or moved entry shows; the head is kept apart,
so a cut tail shows too. Triggers refuse updates and deletions. Limits: whoever may write the file can write a
whole new chain; keep a head (`tuneline ledger verify` prints it) elsewhere to find that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from tuneline.record.schema import ledger, ledger_head
from tuneline.record.store import Store
from tuneline.types import Digest, canonical_json, digest_json

START = Digest("sha256:" + "0" * 64)
"""What stands before the first entry."""


@dataclass(frozen=True)
class Entry:
    """One line of the ledger. `body` is canonical JSON text, kept as it was hashed."""

    seq: int
    at: float
    kind: str
    body: str
    prev: str
    hash: str


@dataclass(frozen=True)
class Fault:
    """What is wrong with entry `seq`. `kind`: `tampered`, `deleted` or `reordered`."""

    seq: int
    kind: str
    message: str


def entry_hash(seq: int, at: float, kind: str, body: str, prev: str) -> Digest:
    """The hash that entry `seq` must have."""
    return digest_json({"seq": seq, "at": repr(at), "kind": kind, "body": body, "prev": prev})


def write(db: Connection, at: float, kind: str, body: Mapping[str, Any]) -> Entry:
    """Append an entry in the caller's (durable) transaction."""
    head = db.execute(select(ledger_head.c.seq, ledger_head.c.hash)).first()
    seq, prev = (head.seq + 1, head.hash) if head else (1, START)
    text = canonical_json(body)
    entry = Entry(seq, at, kind, text, prev, entry_hash(seq, at, kind, text, prev))
    db.execute(insert(ledger).values(**vars(entry)))
    if head:
        db.execute(update(ledger_head).values(seq=seq, hash=entry.hash))
    else:
        db.execute(insert(ledger_head).values(one=1, seq=seq, hash=entry.hash))
    return entry


class Ledger:
    """Reading and checking the ledger of one record."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def entries(self, after: int = 0, limit: int | None = None) -> list[Entry]:
        """Entries with `seq > after`, in order."""
        wanted = select(ledger).where(ledger.c.seq > after).order_by(ledger.c.seq)
        with self._store.read() as db:
            return [Entry(**row) for row in db.execute(wanted.limit(limit)).mappings()]

    def head(self) -> tuple[int, str]:
        """Number and hash of the last entry ever written; (0, START) if there is none."""
        with self._store.read() as db:
            row = db.execute(select(ledger_head.c.seq, ledger_head.c.hash)).first()
        return (row.seq, row.hash) if row else (0, START)

    def verify(self) -> list[Fault]:
        """Everything wrong with the ledger, the earliest entry first; empty if it is whole."""
        with self._store.read() as db:  # one moment: entries and head belong together
            entries = [Entry(**row) for row in db.execute(select(ledger).order_by(ledger.c.seq)).mappings()]
            row = db.execute(select(ledger_head.c.seq, ledger_head.c.hash)).first()
        return faults(entries, (row.seq, row.hash) if row else (0, START))


def faults(entries: Sequence[Entry], head: tuple[int, str]) -> list[Fault]:
    """What is wrong with a chain that must end in `head` (number, hash)."""
    found: list[Fault] = []
    prev: str | None = START  # what the next entry must name; None if what stood before it is not known
    expected = 1
    for entry in entries:
        if entry.seq > expected:
            found.append(_missing(expected, entry.seq - 1))
            prev = None
        wrong = _wrong(entry, prev, entries)
        if wrong is not None:
            found.append(wrong)
        moved = wrong is not None and wrong.kind == "reordered"
        prev, expected = None if moved else entry.hash, entry.seq + 1
    if head[0] >= expected:
        found.append(_missing(expected, head[0]))
    elif entries and (entries[-1].seq, entries[-1].hash) != head and not found:
        message = f"Entry {entries[-1].seq} ends the ledger, but its head was recorded as {head[1]}."
        found.append(Fault(entries[-1].seq, "tampered", message))
    return found


def _wrong(entry: Entry, prev: str | None, entries: Sequence[Entry]) -> Fault | None:
    if entry_hash(entry.seq, entry.at, entry.kind, entry.body, entry.prev) == entry.hash:
        if prev is None or entry.prev == prev:
            return None
        message = f"Entry {entry.seq} does not follow the entry before it: that one was replaced."
        return Fault(entry.seq, "tampered", message)
    place = _written_as(entry, entries)
    if place is not None:
        message = f"Entry {entry.seq} was written as entry {place}: the order was changed."
        return Fault(entry.seq, "reordered", message)
    return Fault(
        entry.seq, "tampered", f"Entry {entry.seq} (`{entry.kind}`) was changed after it was written."
    )


def _written_as(entry: Entry, entries: Sequence[Entry]) -> int | None:
    """The number under which this entry's hash is right, if it is one near enough to have been moved from."""
    for other in sorted(entries, key=lambda other: abs(other.seq - entry.seq))[:1000]:
        if entry_hash(other.seq, entry.at, entry.kind, entry.body, entry.prev) == entry.hash:
            return other.seq
    return None


def _missing(first: int, last: int) -> Fault:
    what = f"Entry {first} is" if first == last else f"Entries {first} to {last} are"
    return Fault(first, "deleted", f"{what} missing.")
