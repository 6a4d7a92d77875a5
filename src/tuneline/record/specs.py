"""Pipeline specs, stored once per digest: of runs and of uploaded versions."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert, select

from tuneline.errors import SpecError
from tuneline.record.schema import pipelines
from tuneline.types import digest_json


def keep_spec(db: Connection, spec: Mapping[str, Any]) -> str:
    """Store a pipeline's document if it is new; its digest.

    Raises: SpecError for a number that JSON lacks: the text goes into answers as it is kept.
    """
    digest = digest_json(spec)
    if db.scalar(select(pipelines.c.digest).where(pipelines.c.digest == digest)) is None:
        try:
            json.dumps(spec, allow_nan=False)
        except ValueError as error:
            raise SpecError(f"The pipeline cannot be kept: {error}.") from error
        db.execute(insert(pipelines).values(digest=digest, ir=dict(spec)))
    return digest
