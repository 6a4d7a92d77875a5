"""`importer`: names an artifact that already exists somewhere, so that tasks read it and lineage knows it.

Nothing is copied: the artifact's uri is the one given. A path on this machine must exist; what is elsewhere
(`gs://...`) is named as it is, and fetched by the task that reads it.
"""

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
    for output in step.outputs:
        step.point_to(output, uri)
        step.describe(output, step.parameters["metadata"])
