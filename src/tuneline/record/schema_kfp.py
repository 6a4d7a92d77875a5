"""What the record got for Kubeflow Pipelines' API, as SQL for SQLite and PostgreSQL. Never changed.

`m003_kfp` runs `STATEMENTS`, then `fill`.
"""

import uuid

from sqlalchemy import Connection, text

STATEMENTS: tuple[str, ...] = (
    "ALTER TABLE runs ADD COLUMN display_name TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE runs ADD COLUMN description TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE runs ADD COLUMN experiment TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE runs ADD COLUMN storage_state TEXT NOT NULL DEFAULT 'AVAILABLE'",
    "ALTER TABLE runs ADD COLUMN pipeline_id TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE runs ADD COLUMN pipeline_version_id TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE runs ADD COLUMN service_account TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE runs ADD COLUMN pipeline_root TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE runs ADD COLUMN scheduled_at DOUBLE PRECISION",
    "ALTER TABLE runs ADD COLUMN recurring_run TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE runs ADD COLUMN history TEXT",
    "ALTER TABLE runs ADD COLUMN plugins_input TEXT",
    "CREATE INDEX runs_by_experiment ON runs (experiment, created_at, id)",
    "CREATE INDEX runs_by_experiment_and_state ON runs (experiment, state, created_at, id, storage_state)",
    "CREATE INDEX runs_by_creation ON runs (created_at, id)",
    "CREATE INDEX runs_by_pipeline ON runs (pipeline)",
    "CREATE INDEX runs_by_recurring ON runs (recurring_run, created_at, id)",
    "ALTER TABLE artifacts ADD COLUMN number BIGINT NOT NULL DEFAULT 0",
    """
    CREATE TABLE experiments (
        id TEXT NOT NULL,
        name TEXT NOT NULL,
        name_key TEXT NOT NULL,
        description TEXT NOT NULL,
        storage_state TEXT NOT NULL,
        is_default INTEGER NOT NULL,
        created_at DOUBLE PRECISION NOT NULL,
        last_run_at DOUBLE PRECISION,
        PRIMARY KEY (id)
    )
    """,
    "CREATE UNIQUE INDEX experiments_by_name ON experiments (name_key)",
    """
    CREATE TABLE run_counts (
        experiment TEXT NOT NULL,
        storage_state TEXT NOT NULL,
        n BIGINT NOT NULL,
        PRIMARY KEY (experiment, storage_state)
    )
    """,
    """
    CREATE TABLE uploaded_pipelines (
        id TEXT NOT NULL,
        name TEXT NOT NULL,
        name_key TEXT NOT NULL,
        display_name TEXT NOT NULL,
        description TEXT NOT NULL,
        created_at DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    "CREATE UNIQUE INDEX uploaded_pipelines_by_name ON uploaded_pipelines (name_key)",
    "CREATE INDEX uploaded_pipelines_by_creation ON uploaded_pipelines (created_at, id)",
    """
    CREATE TABLE uploaded_versions (
        id TEXT NOT NULL,
        pipeline TEXT NOT NULL,
        name TEXT NOT NULL,
        name_key TEXT NOT NULL,
        display_name TEXT NOT NULL,
        description TEXT NOT NULL,
        created_at DOUBLE PRECISION NOT NULL,
        spec TEXT NOT NULL,
        package_url TEXT NOT NULL,
        code_source_url TEXT NOT NULL,
        PRIMARY KEY (id),
        FOREIGN KEY (pipeline) REFERENCES uploaded_pipelines (id),
        FOREIGN KEY (spec) REFERENCES pipelines (digest)
    )
    """,
    "CREATE UNIQUE INDEX uploaded_versions_by_name ON uploaded_versions (pipeline, name_key)",
    "CREATE INDEX uploaded_versions_by_creation ON uploaded_versions (pipeline, created_at, id)",
    """
    CREATE TABLE tags (
        owner TEXT NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (owner, key)
    )
    """,
    "CREATE INDEX tags_by_value ON tags (key, value)",
)


def fill(db: Connection) -> None:
    """Make the default experiment, bring the runs on record into it, and number the artifacts."""
    at = db.scalar(text("SELECT max(applied_at) FROM migrations")) or 0.0
    default = str(uuid.uuid4())
    db.execute(
        text(
            "INSERT INTO experiments (id, name, name_key, description, storage_state, is_default, created_at)"
            " VALUES (:id, 'Default', 'default', 'All runs created without specifying an experiment.',"
            " 'AVAILABLE', 1, :at)"
        ),
        {"id": default, "at": at},
    )
    db.execute(
        text("UPDATE runs SET experiment = :id, display_name = name, scheduled_at = created_at"),
        {"id": default},
    )
    db.execute(
        text("UPDATE experiments SET last_run_at = (SELECT max(created_at) FROM runs) WHERE id = :id"),
        {"id": default},
    )
    db.execute(
        text(
            "INSERT INTO run_counts (experiment, storage_state, n)"
            " SELECT experiment, storage_state, count(*) FROM runs GROUP BY experiment, storage_state"
        )
    )
    ids = db.scalars(text("SELECT id FROM artifacts ORDER BY created_at, id")).all()
    numbered = [{"id": id, "number": number} for number, id in enumerate(ids, 1)]
    if numbered:
        db.execute(text("UPDATE artifacts SET number = :number WHERE id = :id"), numbered)
    db.execute(text("CREATE UNIQUE INDEX artifacts_by_number ON artifacts (number)"))
