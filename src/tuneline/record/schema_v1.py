"""The record's first schema, as SQL for SQLite and PostgreSQL. Never changed: migrations follow."""

STATEMENTS: tuple[str, ...] = (
    """
    CREATE TABLE endpoints (
        name TEXT NOT NULL,
        generation BIGINT NOT NULL,
        desired TEXT,
        deploy TEXT,
        why TEXT NOT NULL,
        by TEXT NOT NULL,
        desired_at DOUBLE PRECISION NOT NULL,
        observed TEXT,
        observed_at DOUBLE PRECISION,
        PRIMARY KEY (name)
    )
    """,
    """
    CREATE TABLE holders (
        name TEXT NOT NULL,
        host TEXT NOT NULL,
        pid BIGINT NOT NULL,
        pid_started DOUBLE PRECISION NOT NULL,
        since DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (name)
    )
    """,
    """
    CREATE TABLE ledger (
        seq BIGINT NOT NULL,
        at DOUBLE PRECISION NOT NULL,
        kind TEXT NOT NULL,
        body TEXT NOT NULL,
        prev TEXT NOT NULL,
        hash TEXT NOT NULL,
        PRIMARY KEY (seq)
    )
    """,
    """
    CREATE TABLE ledger_head (
        one INTEGER NOT NULL,
        seq BIGINT NOT NULL,
        hash TEXT NOT NULL,
        PRIMARY KEY (one)
    )
    """,
    """
    CREATE TABLE models (
        name TEXT NOT NULL,
        created_at DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (name)
    )
    """,
    """
    CREATE TABLE pipelines (
        digest TEXT NOT NULL,
        ir TEXT,
        PRIMARY KEY (digest)
    )
    """,
    """
    CREATE TABLE releases (
        model TEXT NOT NULL,
        version TEXT NOT NULL,
        major BIGINT NOT NULL,
        minor BIGINT NOT NULL,
        patch BIGINT NOT NULL,
        state TEXT NOT NULL,
        reason TEXT NOT NULL,
        package_uri TEXT NOT NULL,
        package_digest TEXT NOT NULL,
        base_uri TEXT NOT NULL,
        base_digest TEXT NOT NULL,
        manifest TEXT,
        verdict TEXT,
        proof TEXT,
        report TEXT,
        deploy TEXT,
        data TEXT,
        run TEXT NOT NULL,
        project_digest TEXT NOT NULL,
        created_at DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (model, version),
        UNIQUE (model, package_digest),
        FOREIGN KEY(model) REFERENCES models (name)
    )
    """,
    """
    CREATE TABLE runs (
        id TEXT NOT NULL,
        ordinal BIGINT NOT NULL,
        name TEXT NOT NULL,
        project TEXT NOT NULL,
        pipeline TEXT NOT NULL,
        parameters TEXT,
        project_text TEXT NOT NULL,
        project_path TEXT NOT NULL,
        project_digest TEXT NOT NULL,
        state TEXT NOT NULL,
        error TEXT,
        created_at DOUBLE PRECISION NOT NULL,
        started_at DOUBLE PRECISION,
        finished_at DOUBLE PRECISION,
        last_seq BIGINT NOT NULL,
        lease_token BIGINT NOT NULL,
        PRIMARY KEY (id),
        FOREIGN KEY(pipeline) REFERENCES pipelines (digest)
    )
    """,
    "CREATE UNIQUE INDEX runs_by_ordinal ON runs (ordinal)",
    "CREATE INDEX runs_by_project ON runs (project, ordinal)",
    "CREATE INDEX runs_by_state ON runs (state, ordinal)",
    """
    CREATE TABLE artifacts (
        id TEXT NOT NULL,
        run TEXT NOT NULL,
        task TEXT NOT NULL,
        name TEXT NOT NULL,
        type TEXT NOT NULL,
        uri TEXT NOT NULL,
        digest TEXT NOT NULL,
        size_bytes BIGINT NOT NULL,
        metadata TEXT,
        created_at DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (id),
        FOREIGN KEY(run) REFERENCES runs (id)
    )
    """,
    "CREATE INDEX artifacts_by_digest ON artifacts (digest)",
    "CREATE INDEX artifacts_by_task ON artifacts (run, task)",
    """
    CREATE TABLE events (
        run TEXT NOT NULL,
        seq BIGINT NOT NULL,
        at DOUBLE PRECISION NOT NULL,
        kind TEXT NOT NULL,
        body TEXT,
        PRIMARY KEY (run, seq),
        FOREIGN KEY(run) REFERENCES runs (id)
    )
    """,
    """
    CREATE TABLE executions (
        id TEXT NOT NULL,
        run TEXT NOT NULL,
        task TEXT NOT NULL,
        attempt BIGINT NOT NULL,
        state TEXT NOT NULL,
        cache_key TEXT,
        outputs TEXT,
        started_at DOUBLE PRECISION,
        finished_at DOUBLE PRECISION,
        PRIMARY KEY (id),
        FOREIGN KEY(run) REFERENCES runs (id)
    )
    """,
    "CREATE INDEX executions_by_key ON executions (cache_key, finished_at)",
    "CREATE INDEX executions_by_task ON executions (run, task)",
    """
    CREATE TABLE intervals (
        endpoint TEXT NOT NULL,
        n BIGINT NOT NULL,
        model TEXT NOT NULL,
        version TEXT NOT NULL,
        digest TEXT NOT NULL,
        from_at DOUBLE PRECISION NOT NULL,
        to_at DOUBLE PRECISION,
        why TEXT NOT NULL,
        by TEXT NOT NULL,
        end_why TEXT NOT NULL,
        PRIMARY KEY (endpoint, n),
        FOREIGN KEY(model, version) REFERENCES releases (model, version),
        FOREIGN KEY(endpoint) REFERENCES endpoints (name)
    )
    """,
    """
    CREATE TABLE series (
        run TEXT NOT NULL,
        task TEXT NOT NULL,
        n BIGINT NOT NULL,
        body TEXT,
        PRIMARY KEY (run, task, n),
        FOREIGN KEY(run) REFERENCES runs (id)
    )
    """,
    """
    CREATE TABLE tasks (
        run TEXT NOT NULL,
        name TEXT NOT NULL,
        ordinal BIGINT NOT NULL,
        state TEXT NOT NULL,
        attempts BIGINT NOT NULL,
        started_at DOUBLE PRECISION,
        finished_at DOUBLE PRECISION,
        cached INTEGER NOT NULL,
        error TEXT,
        reason TEXT NOT NULL,
        outputs TEXT,
        progress TEXT,
        folder TEXT,
        pid BIGINT,
        cache_key TEXT,
        retry_at DOUBLE PRECISION,
        reads TEXT,
        PRIMARY KEY (run, name),
        FOREIGN KEY(run) REFERENCES runs (id)
    )
    """,
    """
    CREATE TABLE links (
        execution TEXT NOT NULL,
        direction TEXT NOT NULL,
        key TEXT NOT NULL,
        artifact TEXT NOT NULL,
        PRIMARY KEY (execution, direction, key),
        FOREIGN KEY(execution) REFERENCES executions (id),
        FOREIGN KEY(artifact) REFERENCES artifacts (id)
    )
    """,
    "CREATE INDEX links_by_artifact ON links (artifact, direction)",
)

NO_CHANGE = "the ledger is append-only"

LEDGER_TRIGGERS_SQLITE: tuple[str, ...] = (
    f"CREATE TRIGGER ledger_no_update BEFORE UPDATE ON ledger BEGIN SELECT RAISE(ABORT, '{NO_CHANGE}'); END",
    f"CREATE TRIGGER ledger_no_delete BEFORE DELETE ON ledger BEGIN SELECT RAISE(ABORT, '{NO_CHANGE}'); END",
)

LEDGER_TRIGGERS_POSTGRESQL: tuple[str, ...] = (
    "CREATE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS"
    f" $$ BEGIN RAISE EXCEPTION '{NO_CHANGE}'; END $$",
    "CREATE TRIGGER ledger_no_update BEFORE UPDATE ON ledger FOR EACH ROW EXECUTE FUNCTION ledger_refuse()",
    "CREATE TRIGGER ledger_no_delete BEFORE DELETE ON ledger FOR EACH ROW EXECUTE FUNCTION ledger_refuse()",
    "CREATE TRIGGER ledger_no_truncate BEFORE TRUNCATE ON ledger"
    " FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse()",
)
