"""The values of a pipeline's own parameters: what was given, converted and checked, else defaults. Pure."""

import difflib
from collections.abc import Mapping
from typing import Any

from tuneline.errors import SpecError
from tuneline.plan.secrets import is_secret
from tuneline_ir import ParameterSpec, Pipeline, convert, whole


def root_values(pipeline: Pipeline, given: Mapping[str, Any]) -> dict[str, Any]:
    """The pipeline's inputs by name. One that is optional, not given and without a default has none.

    Raises: SpecError with every fault: unknown, missing, of another type, none of the allowed literals.
    """
    declared = pipeline.inputs.parameters
    faults = [_unknown(name, declared) for name in given if name not in declared]
    values: dict[str, Any] = {}
    for name, spec in declared.items():
        value = given.get(name)
        if value is not None:
            try:
                values[name] = convert(whole(value), spec.type, spec.literals)
            except ValueError as error:
                said = f"a value that is no {spec.type}, or not allowed" if is_secret(name) else error
                faults.append(f"parameter `{name}`: {said}")
        elif spec.has_default and spec.default is not None:
            values[name] = spec.default
        elif not spec.optional:
            faults.append(f"parameter `{name}` is missing")
    if faults:
        known = ", ".join(sorted(declared)) or "none"
        raise SpecError("The parameters do not fit the pipeline.", hint=f"It has: {known}.", details=faults)
    return values


def _unknown(name: str, declared: Mapping[str, ParameterSpec]) -> str:
    near = difflib.get_close_matches(name, declared, 1)
    return f"the pipeline has no parameter `{name}`" + (f"; nearest: `{near[0]}`" if near else "")
