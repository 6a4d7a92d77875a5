"""What a submitted pipeline must be before it becomes a run, and what the run is called."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tuneline.errors import SpecError
from tuneline.types import RunId
from tuneline_ir import IRError, parse


def project_name(ir: Mapping[str, Any], project: Mapping[str, Any]) -> str:
    """The name under which only one run may be active: the project's or the pipeline's. Raises SpecError."""
    name = str(project.get("name") or ir.get("pipelineInfo", {}).get("name") or "")
    if not name:
        hint = "Give `project.name`, or `pipelineInfo.name` in the IR."
        raise SpecError("The pipeline has no name.", hint=hint)
    return name


def refuse_unreadable(ir: Mapping[str, Any]) -> None:
    """Raises SpecError, with every fault, if `ir` is no pipeline that can be run."""
    try:
        parse(ir)
    except IRError as error:
        raise SpecError(
            f"The pipeline cannot be run: {error.faults[0]}",
            hint="Nothing ran. Every fault is listed.",
            details=list(error.faults),
        ) from error


def new_run_id(at: float) -> RunId:
    """A run's id: when it was made (`at`, Unix seconds), and six hexadecimal digits by chance."""
    return RunId(f"{datetime.fromtimestamp(at, UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}")
