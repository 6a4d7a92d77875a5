"""How any earlier record becomes today's: an append-only list of functions, each run once, in order.

To change the schema: change `schema.py`, add `m00N_what` at the end of `MIGRATIONS`; never touch an earlier
one. All that are due run in one transaction, on SQLite and on PostgreSQL: they are done together or not at
all. A statement that is not the same on both asks `db.dialect.name`.
"""

from collections.abc import Callable

from sqlalchemy import Connection, inspect, select, text

from tuneline.errors import ConflictError
from tuneline.record import schema_kfp, schema_recurring, schema_rollouts, schema_v1
from tuneline.record.schema import migrations
from tuneline.record.store import Store
from tuneline.types import Clock

Migration = Callable[[Connection], None]


def m001_first(db: Connection) -> None:
    """Runs, tasks, artifacts, releases, endpoints and the ledger."""
    triggers = {
        "sqlite": schema_v1.LEDGER_TRIGGERS_SQLITE,
        "postgresql": schema_v1.LEDGER_TRIGGERS_POSTGRESQL,
    }
    for statement in (*schema_v1.STATEMENTS, *triggers[db.dialect.name]):
        db.execute(text(statement))


def m002_nested(db: Connection) -> None:
    """Tasks in tasks; what runs put out; what tasks were given."""
    for statement in (
        "ALTER TABLE runs ADD COLUMN outputs TEXT",
        "ALTER TABLE runs ADD COLUMN warnings TEXT",
        "ALTER TABLE runs ADD COLUMN retries TEXT",
        "ALTER TABLE tasks DROP COLUMN reads",
        "ALTER TABLE tasks ADD COLUMN parent TEXT",
        "ALTER TABLE tasks ADD COLUMN kind TEXT",
        "ALTER TABLE tasks ADD COLUMN iteration BIGINT",
        "ALTER TABLE tasks ADD COLUMN display_name TEXT",
        "ALTER TABLE tasks ADD COLUMN inputs TEXT",
        "ALTER TABLE tasks ADD COLUMN notes TEXT",
        "ALTER TABLE artifacts ADD COLUMN custom_path TEXT",
        "ALTER TABLE artifacts ADD COLUMN schema_version TEXT",
    ):
        db.execute(text(statement))


def m003_kfp(db: Connection) -> None:
    """Experiments, uploaded pipelines, and what Kubeflow Pipelines' API says of a run."""
    for statement in schema_kfp.STATEMENTS:
        db.execute(text(statement))
    schema_kfp.fill(db)


def m004_recurring(db: Connection) -> None:
    """Recurring runs."""
    for statement in schema_recurring.STATEMENTS:
        db.execute(text(statement))


def m005_tokens(db: Connection) -> None:
    """Tokens for whoever asks from elsewhere."""
    db.execute(
        text(
            "CREATE TABLE tokens (id TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL,"
            " read_only INTEGER NOT NULL, created_at DOUBLE PRECISION NOT NULL, expires_at DOUBLE PRECISION,"
            " revoked_at DOUBLE PRECISION, used_at DOUBLE PRECISION, PRIMARY KEY (id))"
        )
    )
    db.execute(text("CREATE INDEX tokens_by_name ON tokens (name)"))


def m006_apps(db: Connection) -> None:
    """Apps stand among models, told apart by their kind."""
    db.execute(text("ALTER TABLE models ADD COLUMN kind TEXT NOT NULL DEFAULT 'model'"))


def m007_feedback(db: Connection) -> None:
    """Scores that people and programs gave to answers."""
    for statement in (
        'CREATE TABLE feedback (endpoint TEXT NOT NULL, request_id TEXT NOT NULL, "by" TEXT NOT NULL,'
        " score DOUBLE PRECISION NOT NULL, comment TEXT NOT NULL, at DOUBLE PRECISION NOT NULL,"
        ' n BIGINT NOT NULL, PRIMARY KEY (endpoint, request_id, "by"))',
        "CREATE UNIQUE INDEX feedback_by_n ON feedback (endpoint, n)",
        "CREATE INDEX feedback_by_request ON feedback (request_id)",
    ):
        db.execute(text(statement))


def m008_rollouts(db: Connection) -> None:
    """Rollouts and their decisions."""
    for statement in schema_rollouts.STATEMENTS:
        db.execute(text(statement))


def m009_approvals(db: Connection) -> None:
    """Approvals of releases, the ledger's head in each, and which code ran."""
    for statement in (
        "ALTER TABLE releases ADD COLUMN compared_with TEXT",
        "ALTER TABLE releases ADD COLUMN approval TEXT",
        "ALTER TABLE releases ADD COLUMN ledger_head TEXT",
        "ALTER TABLE runs ADD COLUMN project_commit TEXT",
        "ALTER TABLE recurring_runs ADD COLUMN project_commit TEXT",
        "ALTER TABLE executions ADD COLUMN code TEXT",
    ):
        db.execute(text(statement))


def m010_drift(db: Connection) -> None:
    """What is watched for drift, the windows looked at, and alerts."""
    for statement in (
        "CREATE TABLE drift_watches (endpoint TEXT NOT NULL, spell BIGINT NOT NULL, release TEXT NOT NULL,"
        " looked_at DOUBLE PRECISION NOT NULL, state TEXT, reference TEXT, settings TEXT,"
        " PRIMARY KEY (endpoint), FOREIGN KEY (endpoint) REFERENCES endpoints (name))",
        "CREATE TABLE drift_windows (endpoint TEXT NOT NULL, spell BIGINT NOT NULL, n BIGINT NOT NULL,"
        " release TEXT NOT NULL, at DOUBLE PRECISION NOT NULL, from_at DOUBLE PRECISION NOT NULL,"
        " to_at DOUBLE PRECISION NOT NULL, requests BIGINT NOT NULL, drifted INTEGER NOT NULL, counts TEXT,"
        " findings TEXT, PRIMARY KEY (endpoint, spell, n),"
        " FOREIGN KEY (endpoint) REFERENCES endpoints (name))",
        "CREATE TABLE drift_alerts (id TEXT NOT NULL, endpoint TEXT NOT NULL, spell BIGINT NOT NULL,"
        " n BIGINT NOT NULL, release TEXT NOT NULL, at DOUBLE PRECISION NOT NULL, ended_at DOUBLE PRECISION,"
        " detectors TEXT, why TEXT NOT NULL, run TEXT NOT NULL, run_at DOUBLE PRECISION, note TEXT NOT NULL,"
        " PRIMARY KEY (id), FOREIGN KEY (endpoint) REFERENCES endpoints (name))",
        "CREATE INDEX drift_alerts_by_endpoint ON drift_alerts (endpoint, at)",
    ):
        db.execute(text(statement))


def m011_notices(db: Connection) -> None:
    """What people are told, and whether it reached them."""
    for statement in (
        "CREATE TABLE notices (n BIGINT NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL,"
        " at DOUBLE PRECISION NOT NULL, project TEXT NOT NULL, run TEXT NOT NULL, about TEXT,"
        " addressed INTEGER NOT NULL, PRIMARY KEY (n))",
        "CREATE UNIQUE INDEX notices_by_key ON notices (key)",
        "CREATE INDEX notices_by_run ON notices (run)",
        "CREATE INDEX notices_to_address ON notices (addressed, n)",
        "CREATE TABLE deliveries (notice BIGINT NOT NULL, target TEXT NOT NULL, state TEXT NOT NULL,"
        " attempts BIGINT NOT NULL, next_at DOUBLE PRECISION, error TEXT NOT NULL, missing TEXT NOT NULL,"
        " delivered_at DOUBLE PRECISION, PRIMARY KEY (notice, target),"
        " FOREIGN KEY (notice) REFERENCES notices (n))",
        "CREATE INDEX deliveries_by_state ON deliveries (state, target, notice)",
    ):
        db.execute(text(statement))


def m012_runners(db: Connection) -> None:
    """Runs that another engine executes."""
    db.execute(text("ALTER TABLE runs ADD COLUMN runner TEXT"))


MIGRATIONS: tuple[Migration, ...] = (
    m001_first, m002_nested, m003_kfp, m004_recurring, m005_tokens, m006_apps,
    m007_feedback,
    m008_rollouts,
    m009_approvals,
    m010_drift,
    m011_notices,
    m012_runners,
)  # fmt: skip


def migrate(store: Store, clock: Clock) -> list[str]:
    """Bring the record to today's schema; the names of what was applied.

    Raises: ConflictError if a newer program wrote it; then nothing is touched.
    """
    known = [migration.__name__ for migration in MIGRATIONS]
    with store.read() as db:
        done = _applied(db)
    _refuse_newer(store, done, known)
    if done == known:
        return []
    with store.write(durable=True) as db:
        migrations.create(db, checkfirst=True)
        done = _applied(db)  # another process may have been first
        _refuse_newer(store, done, known)
        todo = [migration for migration in MIGRATIONS if migration.__name__ not in done]
        for migration in todo:
            migration(db)
            db.execute(migrations.insert().values(name=migration.__name__, applied_at=clock()))
        store.database.settle(db)
    return [migration.__name__ for migration in todo]


def _applied(db: Connection) -> list[str]:
    if not inspect(db).has_table("migrations"):
        return []
    return list(db.scalars(select(migrations.c.name).order_by(migrations.c.name)))


def _refuse_newer(store: Store, done: list[str], known: list[str]) -> None:
    newer = [name for name in done if name not in known]
    if newer:
        raise ConflictError(
            f"The record {store.place} was written by a newer tuneline: it has {', '.join(newer)},"
            f" this program knows up to {known[-1]}.",
            hint="Upgrade tuneline, or set TUNELINE_HOME to another folder. Nothing was changed.",
        )
