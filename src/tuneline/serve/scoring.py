"""MLflow's scoring protocol: a request's body becomes rows and parameters. Pure: no HTTP, no model.

    {"dataframe_split": {"columns": [...], "data": [[...]]}}    {"dataframe_records": [{...}]}
    {"instances": [...]}                                        {"inputs": [...] or {column: [...]}}

Exactly one of the four; `params` may stand beside it. Tables become a list of objects, column to value, as
`predict` got them in training. What is no table is given on as it is.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuneline.serve.openai import RequestRefused

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


@dataclass(frozen=True)
class Scoring:
    """What one request asks."""

    rows: Any
    """A list of objects; for tensors whatever the client sent."""
    params: Mapping[str, Any] | None = None

    @property
    def count(self) -> int:
        """How many rows it has."""
        return len(self.rows) if isinstance(self.rows, list) else 1


def parse_scoring(body: bytes, content_type: str) -> Scoring:
    """The rows of a request. Raises: RequestRefused, naming what is wrong."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in ("", "application/json"):
        raise RequestRefused(f"The body is `{kind}`; send application/json.", status=415)
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestRefused(f"The body is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise RequestRefused(f"The body must be a JSON object with one of {', '.join(FORMS)}.")
    given = [name for name in FORMS if name in found]
    if len(given) != 1:
        there = f"has {' and '.join(given)}" if given else f"has none (but {', '.join(found) or 'nothing'})"
        raise RequestRefused(f"The body must have exactly one of {', '.join(FORMS)}; it {there}.")
    params = found.get("params")
    if params is not None and not isinstance(params, dict):
        raise RequestRefused("`params` must be an object.", param="params")
    return Scoring(_READERS[given[0]](found[given[0]]), params)


def _split(found: Any) -> list[dict[str, Any]]:
    where = "dataframe_split"
    columns, data = (found.get("columns"), found.get("data")) if isinstance(found, dict) else (None, None)
    if not isinstance(columns, list) or not isinstance(data, list):
        raise RequestRefused(
            f"`{where}` must be an object with `columns` and `data`, both lists.", param=where
        )
    names = [str(name) for name in columns]
    if len(set(names)) < len(names):
        raise RequestRefused(f"`{where}.columns` has a name twice.", param=where)
    for at, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(names):
            size = len(row) if isinstance(row, list) else type(row).__name__
            raise RequestRefused(
                f"`{where}.data[{at}]` has {size} values for {len(names)} columns.", param=where
            )
    return [dict(zip(names, row, strict=True)) for row in data]


def _records(found: Any) -> list[dict[str, Any]]:
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise RequestRefused("`dataframe_records` must be a list of objects.", param="dataframe_records")
    return found


def _instances(found: Any) -> Any:
    if not isinstance(found, list):
        raise RequestRefused("`instances` must be a list.", param="instances")
    return found


def _inputs(found: Any) -> Any:
    if not isinstance(found, Mapping):
        return found
    columns = list(found.values())
    if not columns or not all(isinstance(column, list) for column in columns):
        return found
    if len({len(column) for column in columns}) > 1:
        sizes = ", ".join(f"{name} {len(column)}" for name, column in found.items())
        raise RequestRefused(f"Columns of `inputs` are of unequal length: {sizes}.", param="inputs")
    return [dict(zip(found, row, strict=True)) for row in zip(*columns, strict=True)]


_READERS = {
    "dataframe_split": _split, "dataframe_records": _records, "instances": _instances, "inputs": _inputs,
}  # fmt: skip
