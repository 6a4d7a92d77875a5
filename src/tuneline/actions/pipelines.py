"""What a submitted pipeline must be before it becomes a run, and what the run is called."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tuneline.errors import SpecError
from tuneline.types import RunId
from tuneline_ir import IRError, Pipeline, documents, parse

SECRET_WARNING = (
    "Parameter `{name}` is named like a secret: it is masked here and kept in a file of this machine. "
    "Better give tasks secrets by the platform document (`kubernetes.use_secret_as_env`)."
)


def project_name(ir: Mapping[str, Any], project: Mapping[str, Any]) -> str:
    """The name under which only one run may be active: the project's or the pipeline's. Raises SpecError."""
    spec, _ = _documents(ir)
    info = spec.get("pipelineInfo")
    name = str(project.get("name") or (info.get("name") if isinstance(info, Mapping) else "") or "")
    if not name:
        hint = "Give `project.name`, or `pipelineInfo.name` in the IR."
        raise SpecError("The pipeline has no name.", hint=hint)
    return name


def _documents(ir: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    try:
        return documents(ir)
    except IRError as error:
        raise SpecError(f"The pipeline cannot be run: {error.faults[0]}") from error


def readable(ir: Mapping[str, Any]) -> Pipeline:
    """The pipeline of an IR. Raises SpecError, with every fault, if it is none that can be run."""
    try:
        return parse(ir)
    except IRError as error:
        raise SpecError(
            f"The pipeline cannot be run: {error.faults[0]}",
            hint="Nothing ran. Every fault is listed.",
            details=list(error.faults),
        ) from error


def new_run_id(at: float) -> RunId:
    """A run's id: when it was made (`at`, Unix seconds), and six hexadecimal digits by chance."""
    return RunId(f"{datetime.fromtimestamp(at, UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}")
