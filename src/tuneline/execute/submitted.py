"""A run as it was submitted: what the runner needs to begin it, or to go on with it after a restart.

Secrets among its parameters are in `secrets.json` of the run's folder, which only the user may read; the
parameters that come from the record have `***` in their place.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuneline.errors import SpecError
from tuneline.plan.secrets import MASK, is_secret
from tuneline.types import RunId
from tuneline_ir import Pipeline

SECRETS = "secrets.json"
LOGIN = "runner-login.json"
"""In the run's folder: by what the engine that executes it knows this user."""
WORKSPACE_FOLDER = "workspace"
"""In the run's folder: what the pipeline's workspace is."""


@dataclass(frozen=True)
class Submitted:
    """A run to execute."""

    run: RunId
    ir: Mapping[str, Any]
    parameters: Mapping[str, Any]
    created_at: float
    """Unix seconds."""
    title: str = ""
    """Its display name; empty: the pipeline's name and the run's id."""
    scheduled_at: float | None = None
    """The tick of a schedule that it was started for, Unix seconds."""
    images: str = ""
    """`host` or `containers`, where the user chose for this run; see `Settings.images`."""
    root: str = ""
    """Where its artifacts go; empty: the folder of the run."""
    retries: RunId | None = None
    """The run it goes on from with a changed pipeline: what is unchanged there is taken over."""
    retries_ir: Mapping[str, Any] = field(default_factory=dict)
    runner: Mapping[str, Any] | None = None
    """The engine that executes it, as the record has it; None: this machine."""


def write_secrets(folder: Path, secrets: Mapping[str, Any], file_name: str = SECRETS) -> None:
    """Keep a run's secrets in its folder, where only the user may read them. Raises: OSError."""
    if not secrets:
        return
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / f"{file_name}.tmp"
    with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(dict(secrets), file)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(folder / file_name)


def read_secrets(folder: Path, file_name: str = SECRETS) -> dict[str, Any]:
    """The secrets of a run; none if it has none."""
    try:
        found = json.loads((folder / file_name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return dict(found)


def check_secrets(new: Submitted, secrets: Mapping[str, Any]) -> None:
    """A task is never given the mask in a secret's place. Raises: SpecError."""
    gone = [name for name, value in new.parameters.items() if value == MASK and is_secret(name)]
    gone = [name for name in gone if name not in secrets]
    if gone:
        raise SpecError(
            f"The value of the secret parameter `{gone[0]}` is not known: all there is is {MASK}.",
            hint="Start a run that is given it: records, pages and answers show only the mask.",
        )


def names_of(new: Submitted, pipeline: Pipeline, folder: Path) -> dict[str, str]:
    """Values of pipeline-level placeholders."""
    created = _utc(new.created_at)
    return {
        "pipeline_job_name": new.title or f"{pipeline.name}-{new.run}",
        "pipeline_job_resource_name": f"{pipeline.name}-{new.run}",
        "pipeline_job_uuid": new.run,
        "pipeline_root": new.root or str(folder),
        "pipeline_job_create_time_utc": created,
        "pipeline_job_schedule_time_utc": created if new.scheduled_at is None else _utc(new.scheduled_at),
        "workspace_path": str(folder / WORKSPACE_FOLDER),
    }


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
