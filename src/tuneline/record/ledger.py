"""The ledger: which version was live when, why and by whom, in entries chained by hash.

An entry holds digests, names and verdicts' summaries; no bodies, no secrets. Its hash covers its number,
time, kind, body and the hash before it, so a changed, deleted or moved entry shows; the head is kept apart,
so a cut tail shows too. Every release keeps the head of its making and of its approval, so a tail that was
cut together with the head shows as well. Triggers refuse updates and deletions. Limits: whoever may write the
file can write a whole new chain and new heads; keep a head (`tuneline ledger verify` prints it) elsewhere and
give it back with `--head` to find that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from tuneline.errors import UserError
from tuneline.record.schema import ledger, ledger_head, releases
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
    """What is wrong with entry `seq`. `kind`: `tampered`, `deleted`, `reordered` or `replaced`."""

    seq: int
    kind: str
    message: str


@dataclass(frozen=True)
class Kept:
    """A head that was kept outside the chain: entry `seq` had this hash."""

    seq: int
    hash: str
    where: str
    """Who kept it, as in `reviews@1.0.0 was made`."""

    @classmethod
    def parse(cls, text: str, where: str) -> "Kept":
        """A head as it is printed, `SEQ:sha256:...`. Raises UserError."""
        seq, _, digest = text.strip().partition(":")
        hexes = digest.removeprefix("sha256:").lower()
        if not seq.isascii() or not seq.isdigit() or len(hexes) != 64 or set(hexes) - set("0123456789abcdef"):
            raise UserError(
                f"`{text}` is no head of a ledger.",
                hint="Write SEQ:HASH as `tuneline ledger verify` printed it, e.g. 12:sha256:4f2a...",
            )
        return cls(int(seq), f"sha256:{hexes}", where)


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


def head_of(db: Connection) -> str:
    """The head as it is kept elsewhere, `SEQ:HASH`."""
    row = db.execute(select(ledger_head.c.seq, ledger_head.c.hash)).first()
    return f"{row.seq}:{row.hash}" if row else f"0:{START}"


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

    def verify(self, head: str = "") -> list[Fault]:
        """Everything wrong with the ledger, the earliest entry first; empty if it is whole.

        It must hold every head that a release keeps, and `head` (`SEQ:HASH`), if given. Raises: UserError.
        """
        given = [Kept.parse(head, "the head that was given was kept")] if head else []
        with self._store.read() as db:  # one moment: entries and heads belong together
            entries = [Entry(**row) for row in db.execute(select(ledger).order_by(ledger.c.seq)).mappings()]
            row = db.execute(select(ledger_head.c.seq, ledger_head.c.hash)).first()
            kept = _kept(db)
        return faults(entries, (row.seq, row.hash) if row else (0, START), [*given, *kept])


def _kept(db: Connection) -> list[Kept]:
    """The heads in the releases' rows."""
    names = (releases.c.model, releases.c.version, releases.c.ledger_head, releases.c.approval)
    found = []
    for row in db.execute(select(*names).order_by(releases.c.created_at)):
        name = f"{row.model}@{row.version}"
        heads = ((row.ledger_head, "made"), ((row.approval or {}).get("ledger"), "decided about"))
        found += [_read(head, f"{name} was {what}") for head, what in heads if head]
    return found


def _read(head: str, where: str) -> Kept:
    try:
        return Kept.parse(head, where)
    except UserError:  # somebody changed the row: no entry has that hash
        return Kept(1, head, where)


def faults(entries: Sequence[Entry], head: tuple[int, str], kept: Sequence[Kept] = ()) -> list[Fault]:
    """What is wrong with a chain that must end in `head` (number, hash) and hold every kept one."""
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
    return found + _lost(entries, max(expected - 1, head[0]), kept, found)


def _lost(entries: Sequence[Entry], last: int, kept: Sequence[Kept], found: Sequence[Fault]) -> list[Fault]:
    """Kept heads beyond the end, `last`, or that other entries stand in the place of."""
    hashes = {entry.seq: entry.hash for entry in entries}
    known = {fault.seq for fault in found}
    more: list[Fault] = []
    beyond = max((each for each in kept if each.seq > last), key=lambda each: each.seq, default=None)
    if beyond is not None:
        missing = _missing(last + 1, beyond.seq)
        message = f"{missing.message} The ledger reached {beyond.seq} when {beyond.where}."
        more.append(Fault(missing.seq, missing.kind, message))
    for each in sorted(kept, key=lambda each: each.seq):
        if 0 < each.seq <= last and hashes.get(each.seq, each.hash) != each.hash and each.seq not in known:
            known.add(each.seq)
            message = f"Entry {each.seq} is not the one that was the head when {each.where}: it, or more, was"
            more.append(Fault(each.seq, "replaced", f"{message} cut off and written anew."))
    return more


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
