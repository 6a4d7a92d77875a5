"""A job: one task of one run whose needs are met, with all that an attempt of it needs.

What it is given is found by `plan.inputs`; here it meets its executor and its image. An importer is a job of
our own image: the step `importer`, which is given what the importer says instead of the component's inputs.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneline.execute.images import Image, Images, RefusedImage
from tuneline.execute.kept import state_of
from tuneline.execute.provisions import SEEN
from tuneline.execute.submitted import WORKSPACE_FOLDER
from tuneline.plan.cache import cache_key
from tuneline.plan.compile import IMAGE
from tuneline.plan.components import ACTING
from tuneline.plan.decisions import read
from tuneline.plan.events import ArtifactRef, Artifacts, Read
from tuneline.plan.nodes import Node
from tuneline.plan.schedule import RunState
from tuneline.plan.secrets import Masker
from tuneline.types import digest_json
from tuneline_ir import WORKSPACE, Component, Container, Given, Importer, Task, given, platform, resolve
from tuneline_ir.passthrough import inputs_of, task_config
from tuneline_ir.wire import IMPORTING, importing


@dataclass(frozen=True)
class Job:
    """One task of one run."""

    run: str
    path: str
    task: Task
    component: Component
    container: Container
    image: Image
    parameters: Mapping[str, Any]
    inputs: Artifacts
    names: Mapping[str, str]
    """Pipeline-level placeholders."""
    folder: Path
    """The task's: `runs/<run>/<path>`."""
    pipeline: str
    read: Read
    """Its inputs as they are recorded."""
    cached: bool = False
    importer: Importer | None = None
    platform: Mapping[str, Any] = field(default_factory=dict)
    """What the platform document says of its executor, with values in place of parameters."""
    workspace: Path | None = None
    """The run's, if the pipeline has one."""
    secrets: tuple[str, ...] = ()
    """Those among its parameters."""

    @property
    def code(self) -> str:
        """The digest of the code it runs: of a step of ours its import closure, else image and words."""
        image = self.image.digest(self.container)
        if self.container.image == IMAGE:
            return image
        return digest_json({"image": image, "words": [*self.container.command, *self.container.args]})

    @property
    def key(self) -> str | None:
        """The cache key; None if the task is not cached."""
        if not self.cached:
            return None
        digests = {name: [_content(ref) for ref in refs] for name, refs in self.inputs.items()}
        image = self.image.digest(self.container)
        provided: dict[str, Any] = {key: value for key, value in self.platform.items() if key in SEEN}
        if self.importer is not None:
            provided["here"] = _found(str(self.parameters["uri"]))
        return cache_key(
            self.task,
            self.component,
            self.container,
            self.parameters,
            digests,
            image,
            self.pipeline,
            provided,
        )


def job_of(
    state: RunState,
    path: str,
    run: str,
    images: Images,
    folder: Path,
    masker: Masker,
    *,
    under_way: bool = False,
) -> Job:
    """The job of a task whose needs are met. folder: the run's.

    under_way: an attempt of it runs already, or has run, whatever has become of its image since.
    Raises: ValueError if an input does not fit, or its image is not to be had.
    """
    node, context = state.tasks[path], state.context
    found, names = given(context, state.tasks, node), context.names_of(node)
    executor = context.pipeline.executors[node.component.executor]
    importer = executor if isinstance(executor, Importer) else None
    container = executor if isinstance(executor, Container) else IMPORTING
    parameters = importing(importer, found.parameters, names) if importer else found.parameters
    name = resolve(container.image, {"inputs": {"parameterValues": dict(found.parameters)}}, names)
    image = images.get(name)
    if not under_way:
        _check(image, name, container)
    asked = platform(context, state.tasks, node, container.platform) if container.platform else {}
    workspace = folder / WORKSPACE_FOLDER if context.pipeline.workspace is not None else None
    configs = inputs_of(node.component)
    if configs:
        config = task_config(node.component, container, asked)
        parameters = {**parameters, **dict.fromkeys(configs, config)}
    return Job(
        run=run,
        path=path,
        task=node.task,
        component=node.component,
        container=container,
        image=image or RefusedImage(name, ""),
        parameters=parameters,
        inputs=found.artifacts,
        names=names,
        folder=folder / path,
        pipeline=context.pipeline.name,
        read=read(found, masker),
        cached=_cached(node, container, importer) and not _shares(container, parameters, found, workspace),
        importer=importer,
        platform=asked,
        workspace=workspace,
        secrets=masker.among(parameters),
    )


def _check(image: Image | None, name: str, container: Container) -> None:
    """As before the run started, where the name was known by then. Raises: ValueError."""
    if image is None:
        raise ValueError(f"there is no image `{name}` on this machine")
    faults = image.faults(container)
    if faults:
        raise ValueError("; ".join(faults))


def _cached(node: Node, container: Container, importer: Importer | None) -> bool:
    """Whether an earlier task's outputs may take the place of this one's."""
    if importer is not None:
        return not importer.reimport
    words = [*container.command, *container.args]
    acts = container.image == IMAGE and words[:2] == ["tuneline", "step"] and words[2] in ACTING
    return node.task.cached and not node.uncached and not acts


def _shares(
    container: Container, parameters: Mapping[str, Any], found: Given, workspace: Path | None
) -> bool:
    """Whether a task has to do with the run's workspace: what it does there is no output that could be taken
    over."""
    if workspace is None:
        return False
    texts = [*container.command, *container.args, *container.env.values(), repr(dict(parameters))]
    texts += [ref.uri for refs in found.artifacts.values() for ref in refs]
    return any(name in text for text in texts for name in (str(workspace), WORKSPACE, "workspace_path"))


def _found(uri: str) -> list[list[Any]]:
    """What changes when somebody writes to an imported path of this machine; nothing of what is elsewhere."""
    path = Path(uri.removeprefix("file://"))
    try:
        return state_of(path) if path.is_absolute() else []
    except OSError:  # the importer will say that it is not there
        return []


def _content(ref: ArtifactRef) -> str:
    """What of an artifact a task can see: its content, and its metadata if it has any."""
    if not ref.metadata:
        return ref.digest
    return f"{ref.digest} {json.dumps(ref.metadata, sort_keys=True)}"
