"""A release's package on disk: what it holds, and the check that it is what it says.

    adapter/        the adapter as PEFT wrote it (or the whole model, if all of it was trained)
    served/         what the runtime loads beyond the base: adapter.gguf for llama.cpp. Of a merged release
                    merged/, the whole model in Hugging Face's layout, and model.gguf for llama.cpp
    tokenizer/      the tokenizer's files
    template.json   how rows became text: {"format", "prompt", "completion", "hash"}
    rows.txt        the hash of every row it was trained on, sorted
    README.md       the model card
    model/          instead of adapter, tokenizer and template: what a project's own code trained
    manifest.json   all of the above by digest, and what it was made from

Nothing in it says when, by which run or as which version it was made: identical content is identical to the
byte.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tuneline.errors import ModelError
from tuneline.spec.template import Template

MANIFEST = "manifest.json"
SCHEMA = 1


@dataclass(frozen=True)
class Package:
    """A checked package."""

    folder: Path
    manifest: Mapping[str, Any]
    template: Mapping[str, Any]

    @property
    def rows(self) -> frozenset[str]:
        """The hashes of the rows it was trained on."""
        return frozenset((self.folder / "rows.txt").read_text(encoding="ascii").split())


def load(folder: Path) -> Package:
    """The package in `folder`, every file of it compared with its digest.

    Raises: ModelError, one line a file that is missing, changed or not of the package.
    """
    manifest = _read_manifest(folder)
    listed: Mapping[str, str] = manifest["files"]
    there = {path: folder / path for path in content_files(folder)}
    faults = [f"{path} is missing" for path in sorted(listed.keys() - there.keys())]
    faults += [f"{path} does not belong to it" for path in sorted(there.keys() - listed.keys())]
    faults += [
        f"{path} was changed: its digest is not the manifest's"
        for path in sorted(listed.keys() & there.keys())
        if file_digest(there[path]) != listed[path]
    ]
    if faults:
        raise ModelError(
            f"The package {folder} is not what it says: {faults[0]}.",
            hint="Do not serve it. Run the project again: an identical package is made anew.",
            details=faults,
        )
    path = folder / "template.json"  # none where the model is a project's own code
    template = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return Package(folder, manifest, template)


def content_files(folder: Path) -> list[str]:
    """Every file of a package but its manifest, as sorted paths relative to it."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if path != MANIFEST)


def file_digest(path: Path) -> str:
    """`sha256:<hex>` of a file's bytes."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def template_of(trained: Mapping[str, Any]) -> dict[str, str]:
    """template.json's content from an adapter's tuneline.json.

    Raises: ModelError if the template's text is not the one whose hash training recorded.
    """
    text = trained["template"] or {}
    named = text.get("format") or trained.get("format")
    for format_ in [named] if named else ["prompt", "messages"]:
        template = Template(text.get("prompt") or "", text.get("completion") or "", format_)
        if template.hash == trained["template_hash"]:
            return {**asdict(template), "hash": str(trained["template_hash"])}
    raise ModelError(
        "The adapter's template is not the one it was trained with: its hash is another.",
        hint="tuneline.json in the adapter's folder was changed; train again.",
    )


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{folder} is not a package: {MANIFEST} cannot be read ({error}).",
            hint="Run the project again to make it.",
        ) from error
    if manifest.get("schema") != SCHEMA:
        raise ModelError(
            f"The package {folder} has schema {manifest.get('schema')!r}; this tuneline reads {SCHEMA}.",
            hint="Use the tuneline that made it, or a newer one.",
        )
    return manifest
