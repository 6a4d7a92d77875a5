"""What happened: events in, views out; artifacts and lineage; releases; endpoints; the ledger.

On a SQLite file, or on a PostgreSQL server.

One writer at a time, short transactions, no network or child process inside one. Nothing here decides: it
stores what others decided, and refuses what would contradict what is stored (a void lease, a live release
that moved).
"""
