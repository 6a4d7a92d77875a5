"""A pipeline's inputs as Airflow's Params, so that the form that triggers a run shows and checks them."""

from typing import Any

from airflow.sdk import Param

from tuneline_ir import Interface, ParameterSpec

_TYPES = {
    "STRING": "string",
    "NUMBER_INTEGER": "integer",
    "NUMBER_DOUBLE": "number",
    "BOOLEAN": "boolean",
    "LIST": "array",
}


def params_of(inputs: Interface) -> dict[str, Any]:
    """By name. One without a default must be given, unless it is optional, when it may be null."""
    return {name: _param(spec) for name, spec in inputs.parameters.items()}


def _param(spec: ParameterSpec) -> Param:
    type = _TYPES.get(spec.type, "object")
    optional = spec.optional and (not spec.has_default or spec.default is None)
    schema: dict[str, Any] = {"type": ["null", type] if optional else type}
    if spec.literals:
        schema["enum"] = [None, *spec.literals] if optional else list(spec.literals)
    if spec.description:
        schema["description"] = spec.description
    if spec.has_default and spec.default is not None:
        return Param(spec.default, **schema)
    return Param(None, **schema) if optional else Param(**schema)
