"""Which files a runtime loads: a package's, checked one by one, or those `verify` is about to prove."""

import json
from pathlib import Path
from typing import Any

from tuneline.errors import ModelError
from tuneline.serve import package
from tuneline.serve.engine import Loadable


def from_package(base: Path, folder: Path) -> Loadable:
    """The files of a release.

    Raises: ModelError, naming the file, if the package is not what its manifest says.
    """
    found = package.load(folder)
    return Loadable(
        base=base,
        served=folder / "served",
        adapter=folder / "adapter",
        tokenizer=folder / "tokenizer",
        template=found.template,
        base_name=str(found.manifest["base"]["name"]),
        method=str(found.manifest["method"]),
        max_length=int(found.manifest["recipe"].get("max_length") or 0),
    )


def from_parts(base: Path, served: Path, adapter: Path) -> Loadable:
    """The files before there is a package. Raises: ModelError if the template is not the trained one."""
    trained = read_json(adapter / "tuneline.json")
    return Loadable(
        base=base,
        served=served,
        adapter=adapter,
        tokenizer=base,
        template=package.template_of(trained),
        base_name=str(trained["base"]["name"]),
        method=str(trained["method"]),
        max_length=int(trained["recipe"].get("max_length") or 0),
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object file. Raises: ModelError if it is missing or broken."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path} cannot be read: {error}", hint="Run the project again: it makes the file."
        ) from error
    return found
