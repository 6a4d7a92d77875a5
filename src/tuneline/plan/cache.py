"""The key under which a task's outputs are found again: everything that could change them, and nothing else.

Names of runs and tasks, paths and times are not in it: inputs count by the digest of their content. Only what
an importer names, which nobody has read yet, counts by its sizes and times.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tuneline.types import Digest, digest_json
from tuneline_ir import Component, Container, Task

KEY_VERSION = 2
"""Part of every key. Raise it when outputs of the same inputs change for a reason no digest shows."""


def cache_key(
    task: Task,
    component: Component,
    container: Container,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, Sequence[str]],
    image: str,
    pipeline: str,
    provided: Mapping[str, Any] | None = None,
) -> Digest:
    """The key of a task.

    Args:
        parameters: resolved input parameters.
        inputs: what the task can see of its input artifacts, by name.
        image: the digest of what the container's image stands for.
        pipeline: its name.
        provided: what the platform document gives it: names of secrets, config maps and volumes; for an
            importer, sizes and times of what it names.
    A custom `cacheKey` takes the place of everything but the pipeline's and the component's names, as
    Kubeflow has it.
    """
    if task.cache_key:
        names = {"pipeline": pipeline, "component": component.name, "custom": task.cache_key}
        return digest_json({"version": KEY_VERSION, **names})
    return digest_json(
        {
            "version": KEY_VERSION,
            "outputs": {
                "parameters": {name: spec.type for name, spec in component.outputs.parameters.items()},
                "artifacts": {
                    name: [spec.type, spec.version] for name, spec in component.outputs.artifacts.items()
                },
            },
            "image": image,
            "command": [*container.command, *container.args],
            "env": dict(container.env),
            "parameters": json.dumps(dict(parameters), sort_keys=True),  # a task may put out Infinity
            "inputs": {name: list(listed) for name, listed in inputs.items()},
            **({"provided": dict(provided)} if provided else {}),
        }
    )
