"""A pipeline's file for a command: YAML or JSON in KFP's IR, one or two documents, also packed as KFP does.

Read as the server reads what is uploaded (`spec.documents`). Parsers are imported when there is something to
parse: `--help` passes through here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneline.errors import NotFoundError, SpecError, UserError

PACKED = (".zip", ".tar.gz", ".tgz")
YAML = (".yaml", ".yml", ".json")
HEAD_BYTES = 1 << 20
MARKS = (b"pipelineInfo", b"deploymentSpec", b"pipeline_spec", b"argoproj.io/")
"""What stands in a pipeline's YAML, and in no project."""
COMPONENT = b"implementation:"


@dataclass(frozen=True)
class Package:
    """A pipeline as it is submitted."""

    document: Mapping[str, Any]
    """The spec; with a platform's document the two, as KFP's API has them."""
    path: str
    """The file it came from, for people."""

    @property
    def spec(self) -> Mapping[str, Any]:
        """The pipeline spec."""
        found: Mapping[str, Any] = self.document.get("pipeline_spec", self.document)
        return found

    @property
    def name(self) -> str:
        """The pipeline's own name."""
        return str(self.spec["pipelineInfo"]["name"])

    @property
    def inputs(self) -> Mapping[str, Mapping[str, Any]]:
        """Declared parameters by name, as the IR has them."""
        found = self.spec["root"].get("inputDefinitions", {}).get("parameters", {})
        return found if isinstance(found, Mapping) else {}

    def without_cache(self) -> "Package":
        """The same with caching off for every task of every graph in it."""
        plain = without_cache(self.spec)
        same = "pipeline_spec" not in self.document
        return Package(plain if same else {**self.document, "pipeline_spec": plain}, self.path)


def is_package(path: Path) -> bool:
    """Whether a file is a pipeline in KFP's IR rather than a project. Reads it if its name does not tell."""
    if path.name.lower().endswith(PACKED):
        return True
    if not path.is_file() or not path.name.lower().endswith(YAML):
        return False
    head = path.read_bytes()[:HEAD_BYTES]
    return any(mark in head for mark in (*MARKS, COMPONENT))


def read_package(path: Path) -> Package:
    """The pipeline in a file. Raises: NotFoundError; SpecError if it holds none."""
    from tuneline.spec.documents import read_file  # noqa: PLC0415 - see the module

    if not path.is_file():
        hint = "Give a pipeline's YAML, or a folder with tuneline.yaml."
        raise NotFoundError(f"There is no file {path}.", hint=hint)
    data = path.read_bytes()
    if COMPONENT in data and not any(mark in data for mark in MARKS):
        why = "it is a component; a pipeline loads it by `kfp.components.load_component_from_file`"
        raise _no_pipeline(str(path), why)
    return _read(str(path), lambda: read_file(path.name.lower(), data))


def of_text(text: str, path: str) -> Package:
    """The pipeline in a text. path: where it came from. Raises: SpecError if it holds none."""
    from tuneline.spec.documents import read_text  # noqa: PLC0415 - see the module

    return _read(path, lambda: read_text(text.encode()))


def without_cache(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with caching off for every task of every graph in it."""
    components = {
        name: {**body, "dag": _uncached(body["dag"])} if isinstance(body.get("dag"), Mapping) else body
        for name, body in spec.get("components", {}).items()
    }
    root = spec.get("root", {})
    plain = {**spec, "root": {**root, "dag": _uncached(root.get("dag", {}))}}
    return {**plain, "components": components} if components else plain


def _uncached(dag: Mapping[str, Any]) -> dict[str, Any]:
    tasks = {name: {**task, "cachingOptions": {}} for name, task in dag.get("tasks", {}).items()}
    return {**dag, "tasks": tasks}


def _read(path: str, read: Callable[[], dict[str, Any]]) -> Package:
    try:
        return Package(read(), path)
    except UserError as error:
        raise _no_pipeline(path, error.message) from error


def _no_pipeline(path: str, why: str) -> SpecError:
    return SpecError(
        f"{path} is no pipeline that can be run: {why.rstrip('.')}.",
        hint="`kfp dsl compile --py pipeline.py --output pipeline.yaml` makes one; so does `tuneline run"
        " pipeline.py`, and runs it.",
    )
