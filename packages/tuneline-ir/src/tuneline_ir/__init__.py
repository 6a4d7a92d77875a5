"""Kubeflow Pipelines IR, read: parsing and placeholders. Standard library and PyYAML alone."""

from tuneline_ir.model import (
    ArtifactInput,
    ArtifactSpec,
    Component,
    Constant,
    Container,
    Interface,
    IRError,
    ParameterInput,
    ParameterSpec,
    Pipeline,
    PipelineInput,
    RetryPolicy,
    Task,
    TaskOutput,
)
from tuneline_ir.parse import parse
from tuneline_ir.placeholders import PIPELINE_KEYS, resolve
from tuneline_ir.values import convert, from_file, to_text

__all__ = [
    "PIPELINE_KEYS",
    "ArtifactInput",
    "ArtifactSpec",
    "Component",
    "Constant",
    "Container",
    "IRError",
    "Interface",
    "ParameterInput",
    "ParameterSpec",
    "Pipeline",
    "PipelineInput",
    "RetryPolicy",
    "Task",
    "TaskOutput",
    "convert",
    "from_file",
    "parse",
    "resolve",
    "to_text",
]
