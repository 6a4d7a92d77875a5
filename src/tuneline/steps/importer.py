"""`importer`: names an artifact that already exists somewhere, so that tasks read it and lineage knows it.

Nothing is copied: the artifact's uri is the one given. A path on this machine must exist; what is elsewhere
(`gs://...`) is named as it is, and fetched by the task that reads it. Only what is to be in the run's
workspace is copied into it.
"""

import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tuneline.errors import DataError
from tuneline.steps.io import Step


def run(step: Step) -> None:
    """Point the one output to the uri, with the metadata given. Raises: DataError if a path is not there."""
    uri = str(step.parameters["uri"])
    if uri.startswith("file://"):  # KFP's SDK would take it for a path as it stands
        uri = unquote(urlsplit(uri).path)
    if "://" not in uri and not Path(uri).exists():
        raise DataError(
            f"There is nothing at {uri}, which the pipeline imports.",
            hint="Give a path on this machine, or a URL.",
        )
    if step.parameters.get("workspace"):
        uri = str(_into_workspace(uri, Path(str(step.parameters["workspace"]))))
    for output in step.outputs:
        step.point_to(output, uri)
        step.describe(output, step.parameters["metadata"])


def _into_workspace(uri: str, workspace: Path) -> Path:
    """A copy in the run's workspace, where Kubeflow has it. Raises: DataError for what is not here."""
    if "://" in uri:
        raise DataError(
            f"{uri} cannot be copied into the run's workspace.",
            hint="Import it without `download_to_workspace`, or from a path on this machine.",
        )
    source = Path(uri)
    place = workspace / ".artifacts" / uri.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, place, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, place)
    return place
