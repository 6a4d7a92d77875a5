"""What a task of another engine put out: from its API, else from the bucket, else said to be absent.

Artifacts are names of what lies there; the small files that a run's report is read from are brought here and
digested. Limits: output parameters that an engine does not tell are nowhere else, but for those of `propose`,
which the record knows.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tuneline.errors import TunelineError
from tuneline.execute import objects
from tuneline.execute.files import digest_path
from tuneline.execute.stores import Stores
from tuneline.plan.engine import Engine
from tuneline.plan.events import ArtifactRef, Outputs
from tuneline.plan.remote import Made
from tuneline.types import Digest, digest_json
from tuneline_ir import Pipeline

LOG = logging.getLogger("tuneline.control")

REPORTS = frozenset((("evaluate", "report"), ("gate", "verdict"), ("verify", "proof"), ("prepare", "report")))
"""(task, output) of the files that a run's report is read from."""
MOST_BYTES = 16 * 1024 * 1024
_HERE = ("127.0.0.1", "localhost", "::1")

Released = Callable[[str], Mapping[str, Any] | None]
"""The release that a run of the record proposed: `release`, `state`, `reason`."""


class Found:
    """Completes what engines tell. Thread-safe."""

    def __init__(self, stores: Stores, released: Released) -> None:
        self._stores = stores
        self._released = released

    def completed(self, run: str, id: str, engine: Engine, pipeline: Pipeline, task: str, told: Made) -> Made:
        """A task's outputs as far as they can be had. id: of the run there. Never raises for what cannot."""
        if told.missing:
            told = self._from_bucket(id, engine, pipeline, task, told)
        parameters = dict(told.outputs.parameters)
        if task == "propose" and not parameters.get("release"):
            parameters |= self._released(run) or {}
        artifacts = {
            key: tuple(self._located(engine, task, ref) for ref in refs)
            for key, refs in told.outputs.artifacts.items()
        }
        return Made(Outputs(parameters, artifacts), told.missing)

    def _from_bucket(self, id: str, engine: Engine, pipeline: Pipeline, task: str, told: Made) -> Made:
        """Outputs at `<root>/<pipeline>/<run>/<task>/<execution>/<name>`, where Kubeflow puts them."""
        root = engine.options.get("root") or pipeline.default_root
        if not root or not objects.is_object(root):
            return replace(told, missing=f"{told.missing}, and there is no bucket to look into")
        uri = f"{root.rstrip('/')}/{pipeline.name}/{id}/{task}"
        try:
            listed = objects.find(uri)
        except TunelineError as error:
            return replace(told, missing=f"{told.missing}, and {error.message}")
        newest: dict[str, str] = {}
        for each in listed:
            execution, _, rest = each.relative.partition("/")
            name = rest.partition("/")[0]
            if name:
                newest[name] = f"{uri}/{execution}/{name}"
        declared = pipeline.component_of(pipeline.tasks[task]).outputs.artifacts
        artifacts = {
            name: (ArtifactRef(name, declared[name].type, found, Digest(digest_json({"uri": found})), 0),)
            for name, found in newest.items()
            if name in declared
        }
        rest = "its artifacts were found in the bucket, its output parameters nowhere"
        return Made(Outputs({}, artifacts), f"{told.missing}: {rest}")

    def _located(self, engine: Engine, task: str, ref: ArtifactRef) -> ArtifactRef:
        """An artifact with what this machine knows of it."""
        if "://" not in ref.uri:
            host = urlsplit(engine.url).hostname or ""
            if host not in _HERE:  # a path of that machine; here something else may be at it
                return replace(ref, uri=f"{engine.kind}://{host}{ref.uri}", custom_path="")
            return self._digested(ref, Path(ref.custom_path or ref.uri))
        if objects.is_object(ref.uri) and (task, ref.name) in REPORTS:
            try:
                found = objects.find(ref.uri)
                if found and sum(each.size_bytes for each in found) <= MOST_BYTES:
                    fetched = self._stores.fetch(ref.uri)
                    return replace(ref, digest=fetched.digest, size_bytes=fetched.size_bytes)
            except TunelineError as error:
                LOG.warning("%s of %s is not shown: %s", ref.name, task, error.message)
        return ref

    def _digested(self, ref: ArtifactRef, path: Path) -> ArtifactRef:
        if ref.digest != digest_json({"uri": ref.uri}) or not path.exists():
            return ref
        digest, size_bytes = digest_path(path)
        return replace(ref, digest=digest, size_bytes=size_bytes)
