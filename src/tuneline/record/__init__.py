"""What happened: events in, views out; artifacts, lineage, releases and the ledger, on SQLAlchemy."""
