"""What the record got for recurring runs, as SQL for SQLite and PostgreSQL. Never changed."""

STATEMENTS: tuple[str, ...] = (
    """
    CREATE TABLE recurring_runs (
        id TEXT NOT NULL,
        display_name TEXT NOT NULL,
        description TEXT NOT NULL,
        experiment TEXT NOT NULL,
        enabled INTEGER NOT NULL,
        max_concurrency BIGINT NOT NULL,
        no_catchup INTEGER NOT NULL,
        trigger_body TEXT,
        parameters TEXT,
        spec TEXT,
        pipeline_id TEXT NOT NULL,
        pipeline_version_id TEXT NOT NULL,
        pipeline_root TEXT NOT NULL,
        service_account TEXT NOT NULL,
        plugins_input TEXT,
        project TEXT NOT NULL,
        project_text TEXT NOT NULL,
        project_path TEXT NOT NULL,
        project_digest TEXT NOT NULL,
        created_at DOUBLE PRECISION NOT NULL,
        updated_at DOUBLE PRECISION NOT NULL,
        origin BIGINT NOT NULL,
        mark BIGINT NOT NULL,
        made BIGINT NOT NULL,
        last_tick BIGINT,
        error TEXT,
        PRIMARY KEY (id),
        FOREIGN KEY (spec) REFERENCES pipelines (digest)
    )
    """,
    "CREATE INDEX recurring_runs_by_creation ON recurring_runs (created_at, id)",
    "CREATE INDEX recurring_runs_by_experiment ON recurring_runs (experiment, created_at, id)",
    "CREATE INDEX recurring_runs_by_project ON recurring_runs (project)",
)
