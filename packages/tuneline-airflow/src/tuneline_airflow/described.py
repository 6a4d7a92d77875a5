"""A pipeline as its DAG carries it: what every operator of the DAG looks things up in. It is made where the
DAG file is parsed, in the scheduler's processor as in each worker, and is never serialized."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tuneline_airflow.outline import Outline
from tuneline_ir import Pipeline, Status, convert, final_states, whole

ATTRIBUTE = "tuneline"
"""Of the DAG, under which it is found."""


@dataclass(frozen=True)
class Described:
    """What is known of a pipeline before it runs."""

    outline: Outline
    root: str
    """Where artifacts go: a folder, or a URI of a bucket."""
    on: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What the project's `on.kubernetes` says, by the task's name."""

    @property
    def pipeline(self) -> Pipeline:
        return self.outline.pipeline

    @cached_property
    def final_states(self) -> dict[Status, str]:
        return final_states(self.pipeline.sdk_version)

    def parameters(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The pipeline's inputs, from the DAG run's. One that is null has its default, or no value.

        Raises: ValueError, naming the parameter, if one does not fit.
        """
        found: dict[str, Any] = {}
        for name, spec in self.pipeline.inputs.parameters.items():
            value = params.get(name)
            if value is None:
                value = spec.default if spec.has_default else None
            if value is not None:
                try:
                    found[name] = convert(whole(value), spec.type, spec.literals)
                except ValueError as error:
                    raise ValueError(f"parameter `{name}`: {error}") from error
            elif not spec.optional:
                raise ValueError(f"parameter `{name}` is missing")
        return found
