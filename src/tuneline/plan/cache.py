"""The key under which a task's outputs are found again: everything that could change them, and nothing else.

Names of runs and tasks, paths and times are not in it: inputs count by the digest of their content.
"""

from collections.abc import Mapping
from typing import Any

from tuneline.types import Digest, digest_json
from tuneline_ir import Component, Container, Task

KEY_VERSION = 1
"""Part of every key. Raise it when outputs of the same inputs change for a reason no digest shows."""


def cache_key(
    task: Task,
    component: Component,
    container: Container,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, Digest],
    image: str,
) -> Digest:
    """The key of a task.

    Args:
        parameters: resolved input parameters.
        inputs: content digests of input artifacts, by name.
        image: the digest of what the container's image stands for.
    A custom `cacheKey` takes the place of everything but the component's name, as Kubeflow has it.
    """
    if task.cache_key:
        return digest_json({"version": KEY_VERSION, "component": component.name, "custom": task.cache_key})
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
            "parameters": dict(parameters),
            "inputs": dict(inputs),
        }
    )
