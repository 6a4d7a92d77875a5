"""Which pipeline a DAG was exported from: its name in Airflow, and the tag by which the copy there is known.

The tag covers the pipeline spec but for the defaults of its own parameters, as a run gives all of those: what
else a changed project changes is another pipeline. Where tasks run (the platform document) does not count.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from tuneline_ir.parse import documents

PREFIX = "tuneline:"
_UNSAFE = re.compile(r"[^\w.-]+", re.ASCII)


def safe(name: str) -> str:
    """A name as Airflow takes it: of a pipeline, its DAG's id."""
    return _UNSAFE.sub("_", name)


def tag_of(ir: str | Mapping[str, Any]) -> str:
    """`tuneline:` and 12 hexadecimal digits. Raises: IRError if it is no IR at all."""
    spec, _ = documents(ir)
    body = json.loads(json.dumps(spec))
    inputs = ((body.get("root") or {}).get("inputDefinitions") or {}).get("parameters") or {}
    for parameter in inputs.values():
        parameter.pop("defaultValue", None)
        parameter.pop("isOptional", None)
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return PREFIX + hashlib.sha256(text.encode()).hexdigest()[:12]
