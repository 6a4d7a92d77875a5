"""Uploaded pipelines and their versions. A version's spec is stored once per digest, beside those of runs.

Names are unique whatever their case: a pipeline's on this server, a version's in its pipeline.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Text,
    delete,
    exists,
    func,
    insert,
    select,
    type_coerce,
    update,
)

from tuneline.errors import AlreadyExistsError, NotFoundError, UserError
from tuneline.plan.listing import Fields, Kind, Listing
from tuneline.record.experiments import name_key
from tuneline.record.listing import Columns, count, page
from tuneline.record.schema import pipelines, tags, uploaded_pipelines, uploaded_versions
from tuneline.record.specs import keep_spec
from tuneline.record.store import Store

_P, _V = uploaded_pipelines.c, uploaded_versions.c

_KINDS: Mapping[str, Kind] = {
    "id": "id", "name": "text", "display_name": "text", "description": "text", "created_at": "time",
}  # fmt: skip
PIPELINES = Fields("pipelines", {**_KINDS, "pipeline_id": "id", "namespace": "text"}, tags=True)
VERSIONS = Fields(
    "pipeline versions",
    {**_KINDS, "pipeline_version_id": "id", "pipeline_id": "id", "code_source_url": "text"},
    tags=True,
)
_PIPELINE_COLUMNS: Columns = {
    **{name: _P[name] for name in _KINDS}, "pipeline_id": _P.id,
    "namespace": func.substr(_P.id, 1, 0),  # a server without namespaces
}  # fmt: skip
_VERSION_COLUMNS: Columns = {
    **{name: _V[name] for name in _KINDS}, "pipeline_version_id": _V.id, "pipeline_id": _V.pipeline,
    "code_source_url": _V.code_source_url,
}  # fmt: skip
_SPEC = type_coerce(pipelines.c.ir, Text).label("spec_text")
"""The spec as its JSON text: it goes into answers as it stands."""


@dataclass(frozen=True)
class NewPipeline:
    """What an uploaded pipeline is made of."""

    id: str
    name: str
    display_name: str = ""
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NewVersion:
    """What a version is made of. spec: as KFP answers it, alone or `{"pipeline_spec", "platform_spec"}`."""

    id: str
    pipeline: str
    name: str
    spec: Mapping[str, Any]
    display_name: str = ""
    description: str = ""
    package_url: str = ""
    code_source_url: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


class Uploads:
    """The uploaded pipelines of one record. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, new: NewPipeline, at: float, version: NewVersion | None = None) -> None:
        """Store a pipeline, and its first version in the same transaction. Raises: AlreadyExistsError."""
        with self._store.write() as db:
            if db.scalar(select(_P.id).where(_P.name_key == name_key(new.name))) is not None:
                raise AlreadyExistsError(
                    f"The name {new.name} already exists for a pipeline.", hint="Please specify a new name."
                )
            values = {"id": new.id, "name": new.name, "name_key": name_key(new.name), "created_at": at}
            values |= {"display_name": new.display_name or new.name, "description": new.description}
            db.execute(insert(uploaded_pipelines).values(**values))
            _tag(db, new.id, new.tags)
            if version is not None:
                _insert_version(db, version, at)

    def add_version(self, new: NewVersion, at: float) -> None:
        """Store a version. Raises: NotFoundError, AlreadyExistsError."""
        with self._store.write() as db:
            _pipeline(db, _P.id == new.pipeline, f"Pipeline {new.pipeline}")
            mine = (_V.pipeline == new.pipeline, _V.name_key == name_key(new.name))
            if db.scalar(select(_V.id).where(*mine)) is not None:
                raise AlreadyExistsError(
                    f"The name {new.name} already exists for a version of pipeline {new.pipeline}.",
                    hint="Please specify a new name.",
                )
            _insert_version(db, new, at)

    def get(self, id: str) -> dict[str, Any]:
        """A pipeline with its tags. Raises: NotFoundError."""
        with self._store.read() as db:
            return _tagged_rows(db, [_pipeline(db, _P.id == id, f"Pipeline {id}")])[0]

    def named(self, name: str) -> dict[str, Any]:
        """A pipeline by its name. Raises: NotFoundError."""
        with self._store.read() as db:
            return _tagged_rows(db, [_pipeline(db, _P.name_key == name_key(name), f"Pipeline {name}")])[0]

    def version(self, id: str) -> dict[str, Any]:
        """A version with its tags and spec, whatever its pipeline. Raises: NotFoundError."""
        wanted = _versions().where(_V.id == id)
        with self._store.read() as db:
            return _tagged_rows(db, [_version(db, wanted, f"PipelineVersion {id}")])[0]

    def document(self, version: str) -> dict[str, Any]:
        """A version's spec as a value. Raises: NotFoundError."""
        wanted = select(pipelines.c.ir).join(uploaded_versions, _V.spec == pipelines.c.digest)
        with self._store.read() as db:
            found = db.scalar(wanted.where(_V.id == version))
        if found is None:
            raise NotFoundError(f"PipelineVersion {version} not found.")
        return dict(found)

    def newest_version(self, pipeline: str) -> dict[str, Any]:
        """The version that was made last. Raises: NotFoundError if there is none."""
        newest = _versions().where(_V.pipeline == pipeline)
        newest = newest.order_by(_V.created_at.desc(), _V.id.desc()).limit(1)
        with self._store.read() as db:
            _pipeline(db, _P.id == pipeline, f"Pipeline {pipeline}")
            return _tagged_rows(db, [_version(db, newest, f"PipelineVersion of pipeline {pipeline}")])[0]

    def page(self, listing: Listing) -> tuple[list[dict[str, Any]], str, int]:
        """A page of pipelines, the next page's token, how many there are."""
        query = select(uploaded_pipelines)
        with self._store.read() as db:
            rows, token = page(db, query, listing, _PIPELINE_COLUMNS, _P.id, _has_tag(_P.id))
            total = count(db, query, listing, _PIPELINE_COLUMNS, _has_tag(_P.id))
            return _tagged_rows(db, rows), token, total

    def page_of_versions(self, pipeline: str, listing: Listing) -> tuple[list[dict[str, Any]], str, int]:
        """A page of a pipeline's versions. Raises: NotFoundError."""
        mine = _V.pipeline == pipeline
        with self._store.read() as db:
            _pipeline(db, _P.id == pipeline, f"Pipeline {pipeline}")
            rows, token = page(db, _versions().where(mine), listing, _VERSION_COLUMNS, _V.id, _has_tag(_V.id))
            total = count(db, select(_V.id).where(mine), listing, _VERSION_COLUMNS, _has_tag(_V.id))
            return _tagged_rows(db, rows), token, total

    def update(self, id: str, values: Mapping[str, str], new_tags: Mapping[str, str] | None) -> None:
        """Change what a pipeline says of itself. Raises: NotFoundError."""
        with self._store.write() as db:
            _pipeline(db, _P.id == id, f"Pipeline {id}")
            if values:
                db.execute(update(uploaded_pipelines).where(_P.id == id).values(**values))
            if new_tags is not None:
                _tag(db, id, new_tags)

    def update_version(self, id: str, values: Mapping[str, str], new_tags: Mapping[str, str] | None) -> None:
        """Change what a version says of itself. Raises: NotFoundError."""
        with self._store.write() as db:
            _version(db, select(_V.id).where(_V.id == id), f"PipelineVersion {id}")
            if values:
                db.execute(update(uploaded_versions).where(_V.id == id).values(**values))
            if new_tags is not None:
                _tag(db, id, new_tags)

    def delete(self, id: str, cascade: bool) -> None:
        """Forget a pipeline. Raises: NotFoundError; UserError if it has versions and `cascade` is false."""
        with self._store.write() as db:
            _pipeline(db, _P.id == id, f"Pipeline {id}")
            versions = list(db.scalars(select(_V.id).where(_V.pipeline == id).order_by(_V.created_at.desc())))
            if versions and not cascade:
                raise UserError(
                    f"Failed to delete pipeline with id {id} as it has existing pipeline versions"
                    f" (e.g. {versions[0]}).",
                    hint="Delete them first, or ask with cascade=true.",
                )
            for owner in (*versions, id):
                db.execute(delete(tags).where(tags.c.owner == owner))
            db.execute(delete(uploaded_versions).where(_V.pipeline == id))
            db.execute(delete(uploaded_pipelines).where(_P.id == id))

    def delete_version(self, id: str) -> None:
        """Forget a version. Raises: NotFoundError."""
        with self._store.write() as db:
            _version(db, select(_V.id).where(_V.id == id), f"PipelineVersion {id}")
            db.execute(delete(tags).where(tags.c.owner == id))
            db.execute(delete(uploaded_versions).where(_V.id == id))


def _versions() -> Any:
    return select(uploaded_versions, _SPEC).join(pipelines, pipelines.c.digest == _V.spec)


def _insert_version(db: Connection, new: NewVersion, at: float) -> None:
    digest = keep_spec(db, new.spec)
    db.execute(
        insert(uploaded_versions).values(
            id=new.id,
            pipeline=new.pipeline,
            name=new.name,
            name_key=name_key(new.name),
            display_name=new.display_name or new.name,
            description=new.description,
            created_at=at,
            spec=digest,
            package_url=new.package_url,
            code_source_url=new.code_source_url,
        )
    )
    _tag(db, new.id, new.tags)


def _tag(db: Connection, owner: str, wanted: Mapping[str, str]) -> None:
    db.execute(delete(tags).where(tags.c.owner == owner))
    if wanted:
        rows = [{"owner": owner, "key": key, "value": value} for key, value in wanted.items()]
        db.execute(insert(tags), rows)


def _has_tag(id: ColumnElement[str]) -> Any:
    def tagged(key: str, value: str) -> ColumnElement[bool]:
        return exists().where(tags.c.owner == id, tags.c.key == key, tags.c.value == value)

    return tagged


def _tagged_rows(db: Connection, rows: Sequence[RowMapping]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, str]] = {row["id"]: {} for row in rows}
    wanted = select(tags).where(tags.c.owner.in_(found)).order_by(tags.c.key)
    for tag in db.execute(wanted) if found else ():
        found[tag.owner][tag.key] = tag.value
    return [{**row, "tags": found[row["id"]]} for row in rows]


def _pipeline(db: Connection, condition: ColumnElement[bool], what: str) -> RowMapping:
    row = db.execute(select(uploaded_pipelines).where(condition)).mappings().first()
    if row is None:
        raise NotFoundError(f"{what} not found.", hint="`kfp pipeline list` shows all of them.")
    return row


def _version(db: Connection, wanted: Any, what: str) -> RowMapping:
    row: RowMapping | None = db.execute(wanted).mappings().first()
    if row is None:
        raise NotFoundError(f"{what} not found.", hint="`kfp pipeline list-versions` shows a pipeline's.")
    return row
