"""A bundle: all that a release is, in one folder, for a server that could not be asked when it was made.

    bundle.json     what `propose` would have said: verdict, proof, report, deploy; the digests of its inputs
    package/        the release's package (`serve.package`)

`propose` writes it where it runs without a server; `tuneline import URI` reads it (`actions.importing`). The
base is named by its digest and not in it. Limits: of the run, `propose` knows what it read and no more.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tuneline
from tuneline.errors import DataError, ModelError
from tuneline.execute.files import digest_path
from tuneline.serve import package
from tuneline.steps.io import Step
from tuneline.types import Digest, digest_json

FILE, PACKAGE = "bundle.json", "package"
SCHEMA = 1


@dataclass(frozen=True)
class Bundle:
    """A checked bundle."""

    folder: Path
    digest: Digest
    """Of bundle.json's content, which holds the digest of everything else."""
    run: str
    """The run's id where it ran."""
    proposal: Mapping[str, Any]
    """As `POST /api/v1/releases:propose` takes it, without places of files."""
    inputs: Mapping[str, Mapping[str, Any]]
    """What `propose` read, by input: `digest`, `size_bytes`, `type`, `metadata`."""


def write(step: Step, proposal: Mapping[str, Any], run: str, folder: Path) -> None:
    """Leave a bundle in `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(step.inputs["package"], folder / PACKAGE, dirs_exist_ok=True)
    inputs = {}
    for name, path in sorted(step.inputs.items()):
        known = {"package": proposal["package_digest"], "base": proposal["base_digest"]}.get(name)
        digest, size = (known, 0) if name == "base" else digest_path(path)
        metadata = dict(step.input_metadata.get(name, {}))
        inputs[name] = {"digest": digest, "size_bytes": size, "metadata": metadata}
    said = {key: value for key, value in proposal.items() if key not in ("package", "base", "run")}
    body = {
        "schema": SCHEMA,
        "tuneline": tuneline.__version__,
        "run": run,
        "proposal": said,
        "inputs": inputs,
    }
    text = json.dumps({**body, "digest": digest_json(body)}, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> Bundle:
    """The bundle in `folder`, with every file compared with its digest.

    Raises: DataError if it is none, or of another schema; ModelError, one line a file, if it was changed.
    """
    body = _body(folder)
    said = body.pop("digest", "")
    if digest_json(body) != said:
        raise ModelError(
            f"{folder / FILE} was changed: its content is not what its digest says.",
            hint="Do not import it. Take it again from where the run put it, or run the pipeline again.",
        )
    proposal = body["proposal"]
    package.load(folder / PACKAGE)  # file by file, so that the one that was changed is named
    digest, _ = digest_path(folder / PACKAGE)
    if digest != proposal.get("package_digest"):
        raise ModelError(
            f"The package in {folder} has the digest {digest}, not {proposal.get('package_digest')}.",
            hint="Do not import it. Run the pipeline again.",
        )
    extra = sorted(path.name for path in folder.iterdir() if path.name not in (FILE, PACKAGE))
    if extra:
        raise ModelError(f"{folder} holds what no bundle has: {', '.join(extra)}.", hint="Do not import it.")
    return Bundle(folder, Digest(said), str(body.get("run", "")), proposal, body.get("inputs", {}))


def _body(folder: Path) -> dict[str, Any]:
    path = folder / FILE
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder} is no bundle: {FILE} cannot be read ({error}).",
            hint="Give the folder that `propose` left: its output `bundle`.",
        ) from error
    if not isinstance(body, dict) or body.get("schema") != SCHEMA or "proposal" not in body:
        found = body.get("schema") if isinstance(body, dict) else type(body).__name__
        raise DataError(
            f"The bundle {folder} has schema {found!r}; this tuneline reads {SCHEMA}.",
            hint="Use the tuneline that made it, or a newer one.",
        )
    return body
