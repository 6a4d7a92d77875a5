"""Apps in the record: a version is a row among releases, approved as it comes; its endpoint wants it.

What stands in such a row: the source's folder and the digest of the manifest as package, no base, no proof
and no verdict.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import semver
from sqlalchemy import Connection, RowMapping, insert, select, update

from tuneline.errors import NotFoundError
from tuneline.plan import apps
from tuneline.record import endpoints, ledger
from tuneline.record.changes import Changes
from tuneline.record.releases import name_model
from tuneline.record.schema import endpoints as endpoint_rows
from tuneline.record.schema import releases
from tuneline.record.store import Store
from tuneline.types import digest_json


@dataclass(frozen=True)
class AppVersion:
    """An app as somebody wants it, its source stored."""

    name: str
    source: str
    """The folder that holds its files."""
    manifest: Mapping[str, Any]
    deploy: Mapping[str, Any]
    """`{"runtime", "port", "keep_s"}`."""
    why: str
    by: str
    run: str = ""


@dataclass(frozen=True)
class Wanted:
    """What became of it."""

    release: str
    """`name@version`."""
    created: bool
    """False if the same content was there before."""
    reason: str


class Apps:
    """The apps of one record."""

    def __init__(self, store: Store, changes: Changes) -> None:
        self._store, self._changes = store, changes

    def put(self, app: AppVersion, at: float) -> Wanted:
        """Want this version at the endpoint of the app's name: version, desired state and ledger, at once.

        Identical content that is wanted already changes nothing, unless it failed: then it is tried again.
        Raises: ConflictError if the name, or the endpoint, is a model's.
        """
        with self._store.write(durable=True) as db:
            existing = _same_content(db, app)
            wanted = _create(db, app, at) if existing is None else _known(db, app, existing)
            if existing is None or not _is_wanted(db, app.name, wanted.release):
                live = endpoints.open_interval(db, app.name)
                digest = live["digest"] if live else ""
                endpoints.desire(db, app.name, wanted.release, app.deploy, digest, app.why, app.by, at)
        self._changes.notify(endpoints.TOPIC)
        return wanted

    def remove(self, name: str, why: str, by: str, at: float) -> None:
        """Want nothing any more where the app is. Raises: NotFoundError if no app is wanted there."""
        with self._store.write(durable=True) as db:
            row = _endpoint(db, name)
            if row is None or row["desired"] is None or (row["deploy"] or {}).get("runtime") != apps.KIND:
                raise NotFoundError(
                    f"No app runs at endpoint `{name}`.", hint="`tuneline status` shows the endpoints."
                )
            endpoints.desire(db, name, None, row["deploy"], "", why, by, at)
        self._changes.notify(endpoints.TOPIC)


def _same_content(db: Connection, app: AppVersion) -> RowMapping | None:
    same = (releases.c.model == app.name, releases.c.package_digest == digest_json(app.manifest))
    return db.execute(select(releases).where(*same)).mappings().first()


def _known(db: Connection, app: AppVersion, existing: RowMapping) -> Wanted:
    name = f"{existing['model']}@{existing['version']}"
    again = "" if _is_wanted(db, app.name, name) else "; it is started again"
    return Wanted(name, False, f"identical to {name}{again}")


def _is_wanted(db: Connection, name: str, release: str) -> bool:
    """Whether the endpoint has that version, or is getting it."""
    row = _endpoint(db, name)
    return row is not None and row["desired"] == release and (row["observed"] or {}).get("phase") != "failed"


def _endpoint(db: Connection, name: str) -> RowMapping | None:
    return db.execute(select(endpoint_rows).where(endpoint_rows.c.name == name)).mappings().first()


def _create(db: Connection, app: AppVersion, at: float) -> Wanted:
    name_model(db, app.name, apps.KIND, at)
    rows = db.execute(select(releases.c.version, releases.c.manifest).where(releases.c.model == app.name))
    version, reason = apps.next_version([(row.version, row.manifest) for row in rows], app.manifest)
    parsed, digest = semver.Version.parse(version), digest_json(app.manifest)
    db.execute(
        insert(releases).values(
            model=app.name,
            version=version,
            major=parsed.major,
            minor=parsed.minor,
            patch=parsed.patch,
            state="approved",
            reason=reason,
            package_uri=app.source,
            package_digest=digest,
            base_uri="",
            base_digest="",
            manifest=dict(app.manifest),
            deploy={"endpoint": app.name, **app.deploy},
            run=app.run,
            project_digest="",
            created_at=at,
        )
    )
    release = f"{app.name}@{version}"
    body = {"release": release, "digest": digest, "run": app.run, "reason": reason, "by": app.by}
    ledger.write(db, at, "app", body)
    mine = (releases.c.model == app.name, releases.c.version == version)
    db.execute(update(releases).where(*mine).values(ledger_head=ledger.head_of(db)))
    return Wanted(release, True, reason)
