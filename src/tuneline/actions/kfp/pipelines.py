"""Uploaded pipelines and versions: from a file's bytes, an address, or a spec given as it is."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from tuneline.actions.kfp.fetching import fetch, shown_url
from tuneline.actions.kfp.names import checked_name, checked_tags
from tuneline.errors import UserError
from tuneline.plan.listing import Listing
from tuneline.record.record import Record
from tuneline.record.uploads import NewPipeline, NewVersion
from tuneline.spec.documents import checked, name_of, read_file
from tuneline.types import Clock

Row = dict[str, Any]
MAX_VERSION_NAME = 127


@dataclass(frozen=True)
class Described:
    """What a request says of a pipeline or version beside its spec."""

    name: str = ""
    display_name: str = ""
    description: str = ""
    code_source_url: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


class Pipelines:
    """The uploaded pipelines of one home. Thread-safe."""

    def __init__(self, record: Record, clock: Clock) -> None:
        self._record = record.uploads
        self._clock = clock

    def create(self, said: Described) -> Row:
        """A pipeline without versions. Raises: UserError, AlreadyExistsError."""
        new = _new_pipeline(said, "")
        self._record.create(new, self._clock())
        return self._record.get(new.id)

    def upload(self, said: Described, file: str, data: bytes) -> Row:
        """A pipeline and its first version, from a file. Raises: SpecError, UserError, AlreadyExistsError."""
        return self._create_both(said, said, read_file(file, data), file, "")

    def create_from_url(self, said: Described, version: Described, url: str) -> Row:
        """A pipeline and its first version, from an address. Raises: as `upload`; NetworkError."""
        return self._create_both(said, version, _fetched(url), "", url)

    def upload_version(self, pipeline: str, said: Described, file: str, data: bytes) -> Row:
        """A version, from a file. Raises: as `upload`; NotFoundError."""
        self._record.get(pipeline)  # before the file is read: the id is what is wrong
        return self._add(pipeline, said, read_file(file, data), file, "")

    def create_version(
        self, pipeline: str, said: Described, url: str, spec: Mapping[str, Any] | None = None
    ) -> Row:
        """A version, from an address or a spec. Raises: as `upload`; NotFoundError, NetworkError."""
        self._record.get(pipeline)
        if spec is None and not url:
            raise UserError("Pipeline version needs a package_url.pipeline_url or a pipeline_spec.")
        document = checked(spec) if spec is not None else _fetched(url)
        return self._add(pipeline, said, document, name_of(document), url)

    def get(self, id: str) -> Row:
        """Raises: NotFoundError."""
        return self._record.get(id)

    def named(self, name: str) -> Row:
        """Raises: NotFoundError."""
        return self._record.named(name)

    def page(self, listing: Listing) -> tuple[list[Row], str, int]:
        """A page of pipelines, the next page's token, how many there are."""
        return self._record.page(listing)

    def version(self, id: str) -> Row:
        """A version with its `spec_text`, by its id alone, as KFP has it. Raises: NotFoundError."""
        return self._record.version(id)

    def page_of_versions(self, pipeline: str, listing: Listing) -> tuple[list[Row], str, int]:
        """A page of a pipeline's versions. Raises: NotFoundError."""
        return self._record.page_of_versions(pipeline, listing)

    def update(self, id: str, said: Mapping[str, Any]) -> Row:
        """Change display name, description or tags; the pipeline. Raises: NotFoundError, UserError."""
        self._record.update(id, *_changes("Pipeline", said))
        return self._record.get(id)

    def update_version(self, id: str, said: Mapping[str, Any]) -> Row:
        """Change display name, description or tags; the version. Raises: NotFoundError, UserError."""
        self._record.update_version(id, *_changes("PipelineVersion", said))
        return self._record.version(id)

    def delete(self, id: str, cascade: bool) -> None:
        """Raises: NotFoundError; UserError if it has versions and `cascade` is false."""
        self._record.delete(id, cascade)

    def delete_version(self, id: str) -> None:
        """Raises: NotFoundError."""
        self._record.delete_version(id)

    def _create_both(
        self, said: Described, version: Described, document: Mapping[str, Any], file: str, url: str
    ) -> Row:
        first = said.name or said.display_name or file or version.name or version.display_name
        new = _new_pipeline(said, first or name_of(document))
        first_version = _new_version(new.id, version, new.name, new.display_name, document, url)
        self._record.create(new, self._clock(), first_version)
        return self._record.get(new.id)

    def _add(
        self, pipeline: str, said: Described, document: Mapping[str, Any], fallback: str, url: str
    ) -> Row:
        new = _new_version(pipeline, said, fallback, "", document, url)
        self._record.add_version(new, self._clock())
        return self._record.version(new.id)


def _new_pipeline(said: Described, fallback: str) -> NewPipeline:
    name = checked_name("Pipeline", said.name or said.display_name or fallback)
    display = checked_name("Pipeline", said.display_name or name)
    return NewPipeline(str(uuid.uuid4()), name, display, said.description, checked_tags(said.tags))


def _new_version(
    pipeline: str,
    said: Described,
    fallback: str,
    fallback_display: str,
    document: Mapping[str, Any],
    url: str,
) -> NewVersion:
    own = said.name or said.display_name
    name = checked_name("PipelineVersion", own or fallback[:MAX_VERSION_NAME], MAX_VERSION_NAME)
    return NewVersion(
        id=str(uuid.uuid4()),
        pipeline=pipeline,
        name=name,
        spec=document,
        display_name=said.display_name or (name if own else fallback_display or name),
        description=said.description,
        package_url=shown_url(url),
        code_source_url=said.code_source_url,
        tags=checked_tags(said.tags),
    )


def _changes(thing: str, said: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str] | None]:
    values = {key: said[key] for key in ("display_name", "description") if said.get(key)}
    if "display_name" in values:
        checked_name(thing, values["display_name"])
    return values, checked_tags(said["tags"]) if "tags" in said else None


def _fetched(url: str) -> dict[str, Any]:
    if not url:
        raise UserError("Pipeline version needs a package_url.pipeline_url.")
    data = fetch(url)
    name = PurePosixPath(urlsplit(url).path).name
    packed = data[:2] in (b"PK", b"\x1f\x8b")
    return read_file(name if packed else "pipeline.yaml", data)
