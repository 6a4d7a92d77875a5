"""What happened: events in, views out; artifacts and lineage; releases; endpoints; the ledger; on SQLite.

One writer at a time, short transactions, no network or child process inside one. Nothing here decides: it
stores what others decided, and refuses what would contradict what is stored (a void lease, a live release
that moved).
"""
