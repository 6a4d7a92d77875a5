"""The record's tables as they are now. `migrations.py` is how a database gets here; a test compares the two.

The same on SQLite and PostgreSQL, and a test writes and reads every column on both. So keys are allocated by
us, JSON is text (it may hold Infinity), times are Unix seconds, flags are integers 0 and 1 (never a bool), a
list ordered by a column that may be null says `nulls_first()` or `nulls_last()`, and `LIKE` is written as
`func.lower(column).like(...)` where case shall not matter (SQLite ignores it, PostgreSQL does not). A text
that is a key or has an index is shorter than 2,600 bytes. After an error inside a transaction nothing more
can be done in it.
"""

import json
from typing import Any

from sqlalchemy import (
    DOUBLE_PRECISION,
    BigInteger,
    Column,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    TypeDecorator,
    UniqueConstraint,
    types,
)


class Text(TypeDecorator[str]):
    """Text as both databases take it: NUL is kept as its picture, half a surrogate pair as U+FFFD."""

    impl = types.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Python to text."""
        if value is None:
            return None
        if "\0" in value:  # which PostgreSQL cannot hold, and at which SQLite's own functions stop reading
            value = value.replace("\0", "\u2400")
        try:
            value.encode()
        except UnicodeEncodeError:
            value = "".join("\ufffd" if "\ud800" <= sign <= "\udfff" else sign for sign in value)
        return value


class JsonText(TypeDecorator[Any]):
    """A JSON value stored as text; SQL NULL is None."""

    impl = types.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Python to text."""
        if value is None:
            return None
        said = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        try:
            said.encode()
        except UnicodeEncodeError:  # half of a surrogate pair, which no database takes but as its escape
            return json.dumps(value, separators=(",", ":"))
        return said

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Text to Python."""
        return None if value is None else json.loads(value)


tables = MetaData()


def _text(name: str, *, null: bool = False) -> "Column[str]":
    return Column(name, Text, nullable=null)


def _json(name: str) -> "Column[Any]":
    return Column(name, JsonText, nullable=True)


def _time(name: str, *, null: bool = True) -> "Column[float]":
    return Column(name, DOUBLE_PRECISION, nullable=null)


def _count(name: str) -> "Column[int]":
    return Column(name, BigInteger, nullable=False)


migrations = Table(
    "migrations", tables, Column("name", Text, primary_key=True), _time("applied_at", null=False)
)

holders = Table(  # who holds a thing that only one process may have, e.g. the home
    "holders", tables,
    Column("name", Text, primary_key=True), _text("host"), _count("pid"), _time("pid_started", null=False),
    _time("since", null=False),
)  # fmt: skip

pipelines = Table("pipelines", tables, Column("digest", Text, primary_key=True), _json("ir"))

runs = Table(
    "runs", tables,
    Column("id", Text, primary_key=True), _count("ordinal"), _text("name"), _text("project"),
    Column("pipeline", Text, ForeignKey("pipelines.digest"), nullable=False),
    _json("parameters"), _text("project_text"), _text("project_path"), _text("project_digest"),
    _text("state"), _json("error"),
    _time("created_at", null=False), _time("started_at"), _time("finished_at"),
    _count("last_seq"), _count("lease_token"),
    _json("outputs"),  # what the pipeline puts out
    _json("warnings"),  # texts: what its user should know although it runs
    _text("retries", null=True),  # the run it goes on from with a changed pipeline
    _text("display_name"), _text("description"), _text("experiment"), _text("storage_state"),
    _text("pipeline_id"), _text("pipeline_version_id"), _text("service_account"), _text("pipeline_root"),
    _time("scheduled_at"), _text("recurring_run"),
    _json("history"),  # [{"at", "state"}, ...]: its states in order
    _json("plugins_input"),
    _text("project_commit", null=True),  # of the project's repository; see cli/loading.py
    _json("runner"),  # {"kind", "url", "id", "link", "options"} if another engine executes it, or did
    Index("runs_by_experiment", "experiment", "created_at", "id"),
    Index("runs_by_experiment_and_state", "experiment", "state", "created_at", "id", "storage_state"),
    Index("runs_by_creation", "created_at", "id"), Index("runs_by_pipeline", "pipeline"),
    Index("runs_by_recurring", "recurring_run", "created_at", "id"),
    Index("runs_by_ordinal", "ordinal", unique=True), Index("runs_by_project", "project", "ordinal"),
    Index("runs_by_state", "state", "ordinal"),
)  # fmt: skip

events = Table(
    "events", tables,
    Column("run", Text, ForeignKey("runs.id"), nullable=False), _count("seq"), _time("at", null=False),
    _text("kind"), _json("body"), PrimaryKeyConstraint("run", "seq"),
)  # fmt: skip

tasks = Table(
    "tasks", tables,
    Column("run", Text, ForeignKey("runs.id"), nullable=False), _text("name"), _count("ordinal"),
    _text("state"),
    _count("attempts"), _time("started_at"), _time("finished_at"), Column("cached", Integer, nullable=False),
    _json("error"), _text("reason"), _json("outputs"), _json("progress"), _text("folder", null=True),
    Column("pid", BigInteger, nullable=True), _text("cache_key", null=True), _time("retry_at"),
    _text("parent", null=True),  # the path of the graph it stands in; NULL: the pipeline itself
    _text("kind", null=True),  # task, importer, dag, loop, iteration
    Column("iteration", BigInteger, nullable=True), _text("display_name", null=True),
    _json("inputs"),  # {"parameters": {key: value, secrets masked}, "artifacts": {key: [artifact id]}}
    _json("notes"),  # texts: what this machine does otherwise than the pipeline asks for
    PrimaryKeyConstraint("run", "name"),
)  # fmt: skip

series = Table(
    "series", tables,
    Column("run", Text, ForeignKey("runs.id"), nullable=False), _text("task"), _count("n"), _json("body"),
    PrimaryKeyConstraint("run", "task", "n"),
)  # fmt: skip

executions = Table(
    "executions", tables,
    Column("id", Text, primary_key=True), Column("run", Text, ForeignKey("runs.id"), nullable=False),
    _text("task"), _count("attempt"), _text("state"), _text("cache_key", null=True), _json("outputs"),
    _time("started_at"), _time("finished_at"),
    _text("code", null=True),  # the digest of what its image stood for: a step's import closure
    Index("executions_by_task", "run", "task"), Index("executions_by_key", "cache_key", "finished_at"),
)  # fmt: skip

artifacts = Table(
    "artifacts", tables,
    Column("id", Text, primary_key=True), Column("run", Text, ForeignKey("runs.id"), nullable=False),
    _text("task"), _text("name"), _text("type"), _text("uri"), _text("digest"), _count("size_bytes"),
    _json("metadata"), _time("created_at", null=False), _text("custom_path", null=True),
    _text("schema_version", null=True), _count("number"),  # of all artifacts: how KFP's API names one
    Index("artifacts_by_digest", "digest"), Index("artifacts_by_task", "run", "task"),
    Index("artifacts_by_number", "number", unique=True),
)  # fmt: skip

links = Table(
    "links", tables,
    Column("execution", Text, ForeignKey("executions.id"), nullable=False), _text("direction"), _text("key"),
    Column("artifact", Text, ForeignKey("artifacts.id"), nullable=False),
    PrimaryKeyConstraint("execution", "direction", "key"),
    Index("links_by_artifact", "artifact", "direction"),
)  # fmt: skip

experiments = Table(  # groups of runs; one is the default
    "experiments", tables,
    Column("id", Text, primary_key=True), _text("name"), _text("name_key"), _text("description"),
    _text("storage_state"), Column("is_default", Integer, nullable=False),
    _time("created_at", null=False), _time("last_run_at"),
    Index("experiments_by_name", "name_key", unique=True),
)  # fmt: skip

run_counts = Table(  # kept by whatever makes, moves or deletes a run: counting for every page is too slow
    "run_counts", tables,
    _text("experiment"), _text("storage_state"), _count("n"),
    PrimaryKeyConstraint("experiment", "storage_state"),
)  # fmt: skip

uploaded_pipelines = Table(
    "uploaded_pipelines", tables,
    Column("id", Text, primary_key=True), _text("name"), _text("name_key"), _text("display_name"),
    _text("description"), _time("created_at", null=False),
    Index("uploaded_pipelines_by_name", "name_key", unique=True),
    Index("uploaded_pipelines_by_creation", "created_at", "id"),
)  # fmt: skip

uploaded_versions = Table(
    "uploaded_versions", tables,
    Column("id", Text, primary_key=True),
    Column("pipeline", Text, ForeignKey("uploaded_pipelines.id"), nullable=False),
    _text("name"), _text("name_key"), _text("display_name"), _text("description"),
    _time("created_at", null=False), Column("spec", Text, ForeignKey("pipelines.digest"), nullable=False),
    _text("package_url"), _text("code_source_url"),
    Index("uploaded_versions_by_name", "pipeline", "name_key", unique=True),
    Index("uploaded_versions_by_creation", "pipeline", "created_at", "id"),
)  # fmt: skip

tags = Table(  # of an uploaded pipeline or version
    "tags", tables,
    _text("owner"), _text("key"), _text("value"), PrimaryKeyConstraint("owner", "key"),
    Index("tags_by_value", "key", "value"),
)  # fmt: skip

recurring_runs = Table(
    "recurring_runs", tables,
    Column("id", Text, primary_key=True), _text("display_name"), _text("description"), _text("experiment"),
    Column("enabled", Integer, nullable=False), _count("max_concurrency"),
    Column("no_catchup", Integer, nullable=False), _json("trigger_body"),
    _json("parameters"), Column("spec", Text, ForeignKey("pipelines.digest"), nullable=True),
    _text("pipeline_id"), _text("pipeline_version_id"), _text("pipeline_root"), _text("service_account"),
    _json("plugins_input"), _text("project"), _text("project_text"), _text("project_path"),
    _text("project_digest"), _time("created_at", null=False), _time("updated_at", null=False),
    _count("origin"), _count("mark"),  # the first mark; up to where every tick was dealt with
    _count("made"), Column("last_tick", BigInteger, nullable=True), _json("error"),
    _text("project_commit", null=True),
    Index("recurring_runs_by_creation", "created_at", "id"),
    Index("recurring_runs_by_experiment", "experiment", "created_at", "id"),
    Index("recurring_runs_by_project", "project"),
)  # fmt: skip

models = Table(
    "models", tables,
    Column("name", Text, primary_key=True), _time("created_at", null=False),
    Column("kind", Text, nullable=False, server_default="model"),  # model, or app: see plan/apps.py
)  # fmt: skip

releases = Table(
    "releases", tables,
    Column("model", Text, ForeignKey("models.name"), nullable=False), _text("version"),
    _count("major"), _count("minor"), _count("patch"), _text("state"), _text("reason"),
    _text("package_uri"), _text("package_digest"), _text("base_uri"), _text("base_digest"),
    _json("manifest"), _json("verdict"), _json("proof"), _json("report"), _json("deploy"), _json("data"),
    _text("run"), _text("project_digest"), _time("created_at", null=False),
    _text("compared_with", null=True),  # the package that was live when it was judged; "" for none
    _json("approval"),  # `plan.approval.Approval`; NULL: nobody was asked
    _text("ledger_head", null=True),  # SEQ:HASH when it was made: what came before cannot be cut unseen
    PrimaryKeyConstraint("model", "version"), UniqueConstraint("model", "package_digest"),
)  # fmt: skip

endpoints = Table(
    "endpoints", tables,
    Column("name", Text, primary_key=True),
    _count("generation"), _text("desired", null=True), _json("deploy"),
    _text("why"), _text("by"), _time("desired_at", null=False), _json("observed"), _time("observed_at"),
)  # fmt: skip

intervals = Table(
    "intervals", tables,
    Column("endpoint", Text, ForeignKey("endpoints.name"), nullable=False), _count("n"),
    _text("model"), _text("version"), _text("digest"), _time("from_at", null=False), _time("to_at"),
    _text("why"), _text("by"), _text("end_why"),
    PrimaryKeyConstraint("endpoint", "n"),
    ForeignKeyConstraint(["model", "version"], ["releases.model", "releases.version"]),
)  # fmt: skip

rollouts = Table(
    "rollouts", tables,
    Column("id", Text, primary_key=True),
    Column("endpoint", Text, ForeignKey("endpoints.name"), nullable=False), _count("n"),
    _text("release"), _text("stable"), _text("stable_digest"),  # `model@version` of both
    _json("plan"), _json("state"), _json("cursor"),  # what was read of request lines and feedback
    Column("weight", DOUBLE_PRECISION, nullable=False), Column("shadow", Integer, nullable=False),
    _text("status"),  # running, promoted, rolled_back, replaced
    _text("code"), _text("reason"), _json("numbers"), Column("alert", Integer, nullable=False),
    _time("next_at"), _count("looks"), Column("forced", Integer, nullable=False), _text("why"), _text("by"),
    _time("started_at", null=False), _time("looked_at"), _time("ended_at"),
    Index("rollouts_by_endpoint", "endpoint", "n", unique=True),
)  # fmt: skip

rollout_decisions = Table(
    "rollout_decisions", tables,
    Column("rollout", Text, ForeignKey("rollouts.id"), nullable=False), _count("n"),
    _time("at", null=False), _text("kind"), _text("code"), _text("reason"),
    Column("weight", DOUBLE_PRECISION, nullable=False), Column("shadow", Integer, nullable=False),
    _json("numbers"), _text("by"), PrimaryKeyConstraint("rollout", "n"),
)  # fmt: skip

drift_watches = Table(
    "drift_watches", tables,
    Column("endpoint", Text, ForeignKey("endpoints.name"), primary_key=True),
    _count("spell"), _text("release"), _time("looked_at", null=False),
    _json("state"), _json("reference"), _json("settings"),
)  # fmt: skip

drift_windows = Table(
    "drift_windows", tables,
    Column("endpoint", Text, ForeignKey("endpoints.name"), nullable=False), _count("spell"), _count("n"),
    _text("release"), _time("at", null=False), _time("from_at", null=False), _time("to_at", null=False),
    _count("requests"), Column("drifted", Integer, nullable=False), _json("counts"), _json("findings"),
    PrimaryKeyConstraint("endpoint", "spell", "n"),
)  # fmt: skip

drift_alerts = Table(
    "drift_alerts", tables,
    Column("id", Text, primary_key=True),
    Column("endpoint", Text, ForeignKey("endpoints.name"), nullable=False), _count("spell"), _count("n"),
    _text("release"), _time("at", null=False), _time("ended_at"), _json("detectors"), _text("why"),
    _text("run"), _time("run_at"), _text("note"),
    Index("drift_alerts_by_endpoint", "endpoint", "at"),
)  # fmt: skip

ledger = Table(
    "ledger", tables,
    Column("seq", BigInteger, primary_key=True, autoincrement=False), _time("at", null=False), _text("kind"),
    _text("body"), _text("prev"), _text("hash"),
)  # fmt: skip

ledger_head = Table(
    "ledger_head", tables,
    Column("one", Integer, primary_key=True, autoincrement=False), _count("seq"), _text("hash"),
)  # fmt: skip

tokens = Table(
    "tokens", tables,
    Column("id", Text, primary_key=True), _text("name"), _text("digest"),
    Column("read_only", Integer, nullable=False),
    _time("created_at", null=False), _time("expires_at"), _time("revoked_at"), _time("used_at"),
    Index("tokens_by_name", "name"),
)  # fmt: skip

notices = Table(
    "notices", tables,
    Column("n", BigInteger, primary_key=True, autoincrement=False), _text("key"), _text("kind"),
    _time("at", null=False), _text("project"), _text("run"), _json("about"),
    Column("addressed", Integer, nullable=False),  # whether its deliveries were made
    Index("notices_by_key", "key", unique=True), Index("notices_by_run", "run"),
    Index("notices_to_address", "addressed", "n"),
)  # fmt: skip

deliveries = Table(
    "deliveries", tables,
    Column("notice", BigInteger, ForeignKey("notices.n"), nullable=False), _text("target"), _text("state"),
    _count("attempts"), _time("next_at"), _text("error"), _text("missing"), _time("delivered_at"),
    PrimaryKeyConstraint("notice", "target"), Index("deliveries_by_state", "state", "target", "notice"),
)  # fmt: skip

feedback = Table(
    "feedback", tables,
    _text("endpoint"), _text("request_id"), _text("by"),  # who scored it; one score each
    Column("score", DOUBLE_PRECISION, nullable=False), _text("comment"), _time("at", null=False),
    _count("n"),  # increasing within an endpoint; a score that is given anew gets a new one
    PrimaryKeyConstraint("endpoint", "request_id", "by"),
    Index("feedback_by_n", "endpoint", "n", unique=True), Index("feedback_by_request", "request_id"),
)  # fmt: skip
