"""Our steps as components for other pipelines: the YAML that `kfp.components.load_component_from_file` reads.

A parameter that has a default in the project file has the same one here. Pure.
"""

from collections.abc import Mapping
from typing import Any

import yaml

from tuneline.errors import NotFoundError
from tuneline.plan.compile import IMAGE
from tuneline.plan.components import APP, LINE, Component, Param
from tuneline.spec.sections import KEYS, REQUIRED
from tuneline.types import canonical_json

TYPES: Mapping[str, str] = {
    "STRING": "String",
    "NUMBER_INTEGER": "Integer",
    "NUMBER_DOUBLE": "Float",
    "BOOLEAN": "Boolean",
    "LIST": "JsonArray",
    "STRUCT": "JsonObject",
}
"""Types of parameters in the IR -> in a component's YAML."""
OWN_DEFAULTS: Mapping[tuple[str, str], Any] = {
    ("base", "base_model"): REQUIRED,
    ("fetch", "base_model"): "",
    ("base", "base_digest"): "",
    ("evaluate", "live_digest"): "",
    ("evaluate", "live_base"): "",
    ("gate", "live_release"): "",
    ("gate", "live_digest"): "",
    ("propose", "live_digest"): "",
    ("propose", "monitor"): {},
    ("app", "entry"): "",
    ("app", "command"): [],
    ("app", "env"): {},
    ("app", "uses"): "",
    ("app", "probe"): "/",
    ("app", "port"): 0,
    ("app", "keep_s"): 1800.0,
    ("app", "wait_s"): 150.0,
}
"""What a parameter is if it is not given, where the project file does not say it: by step and parameter."""
STEPS: Mapping[str, Component] = {step.name: step for step in (*LINE, APP)}


def component_yaml(name: str) -> str:
    """The component of step `name`. Raises: NotFoundError with the names there are."""
    if name not in STEPS:
        raise NotFoundError(f"There is no step `{name}`.", hint=f"Steps: {', '.join(STEPS)}.")
    step = STEPS[name]
    body = {
        "name": step.name,
        "description": f"The step `{step.name}` of tuneline.",
        "inputs": [
            *(_parameter(step, param) for param in step.params),
            *({"name": each.name, "type": _artifact(each.type)} for each in step.inputs),
        ],
        "outputs": [
            *({"name": key, "type": TYPES[type]} for key, type in step.returns),
            *({"name": each.name, "type": _artifact(each.type)} for each in step.outputs),
        ],
        "implementation": {
            "container": {
                "image": IMAGE,
                "command": ["tuneline", "step", step.name],
                "args": ["--executor-input", {"executorInput": None}],
            }
        },
    }
    kept = {key: value for key, value in body.items() if value}
    return yaml.safe_dump(kept, sort_keys=False, width=110, allow_unicode=True)


def _parameter(step: Component, param: Param) -> dict[str, Any]:
    body: dict[str, Any] = {"name": param.name, "type": TYPES[param.type]}
    key = KEYS.get(param.field)
    if key is not None:
        body["description"] = key.doc
    default = REQUIRED if key is None else key.default
    default = OWN_DEFAULTS.get((step.name, param.name), default)
    return body if default is REQUIRED else {**body, "default": _text(default)}


def _text(value: Any) -> str:
    """A default as such YAML has it: text, whatever its type."""
    if isinstance(value, str):
        return value
    return canonical_json(list(value) if isinstance(value, tuple) else value)


def _artifact(type: str) -> str:
    return type.removeprefix("system.")
