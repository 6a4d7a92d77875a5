"""Pipeline specs, stored once per digest: of runs and of uploaded versions."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert, select

from tuneline.record.schema import pipelines
from tuneline.types import digest_json


def keep_spec(db: Connection, spec: Mapping[str, Any]) -> str:
    """Store a pipeline's document if it is new; its digest."""
    digest = digest_json(spec)
    if db.scalar(select(pipelines.c.digest).where(pipelines.c.digest == digest)) is None:
        db.execute(insert(pipelines).values(digest=digest, ir=dict(spec)))
    return digest
