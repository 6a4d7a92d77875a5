"""What the record got for rollouts, as SQL for SQLite and PostgreSQL. Never changed."""

STATEMENTS: tuple[str, ...] = (
    """
    CREATE TABLE rollouts (
        id TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        n BIGINT NOT NULL,
        release TEXT NOT NULL,
        stable TEXT NOT NULL,
        stable_digest TEXT NOT NULL,
        plan TEXT,
        state TEXT,
        cursor TEXT,
        weight DOUBLE PRECISION NOT NULL,
        shadow INTEGER NOT NULL,
        status TEXT NOT NULL,
        code TEXT NOT NULL,
        reason TEXT NOT NULL,
        numbers TEXT,
        alert INTEGER NOT NULL,
        next_at DOUBLE PRECISION,
        looks BIGINT NOT NULL,
        forced INTEGER NOT NULL,
        why TEXT NOT NULL,
        by TEXT NOT NULL,
        started_at DOUBLE PRECISION NOT NULL,
        looked_at DOUBLE PRECISION,
        ended_at DOUBLE PRECISION,
        PRIMARY KEY (id),
        FOREIGN KEY (endpoint) REFERENCES endpoints (name)
    )
    """,
    "CREATE UNIQUE INDEX rollouts_by_endpoint ON rollouts (endpoint, n)",
    """
    CREATE TABLE rollout_decisions (
        rollout TEXT NOT NULL,
        n BIGINT NOT NULL,
        at DOUBLE PRECISION NOT NULL,
        kind TEXT NOT NULL,
        code TEXT NOT NULL,
        reason TEXT NOT NULL,
        weight DOUBLE PRECISION NOT NULL,
        shadow INTEGER NOT NULL,
        numbers TEXT,
        by TEXT NOT NULL,
        PRIMARY KEY (rollout, n),
        FOREIGN KEY (rollout) REFERENCES rollouts (id)
    )
    """,
)
