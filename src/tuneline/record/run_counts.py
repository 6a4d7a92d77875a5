"""How many runs an experiment has, by storage state: kept in the transaction that changes it, so right.

A list of runs says its total; counting 100,000 rows for every page would take longer than finding the page.
"""

from sqlalchemy import Connection, insert, update

from tuneline.record.schema import run_counts as counts


def add(db: Connection, experiment: str, storage_state: str, n: int) -> None:
    """`n` runs more (or fewer, if negative)."""
    mine = (counts.c.experiment == experiment, counts.c.storage_state == storage_state)
    if n and not db.execute(update(counts).where(*mine).values(n=counts.c.n + n)).rowcount:
        db.execute(insert(counts).values(experiment=experiment, storage_state=storage_state, n=n))


def move(db: Connection, experiment: str, before: str, after: str, n: int) -> None:
    """`n` runs changed their storage state."""
    add(db, experiment, before, -n)
    add(db, experiment, after, n)
