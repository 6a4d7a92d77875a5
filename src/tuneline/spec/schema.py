"""The project file's JSON Schema, for editors: made from the table of keys, so it cannot say anything
else."""

import json
from typing import Any

from tuneline.spec.sections import KEYS, REQUIRED, SECTIONS, SHORT, Key
from tuneline.spec.targets import KINDS


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the project file."""
    body = _object("")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tuneline project",
        "description": "One project file takes data through fine-tuning and a gate to a served release.",
        **body,
        "if": {"properties": {"train": {"required": ["entry"]}}, "required": ["train"]},
        "else": {"required": ["base_model"]},
    }


def schema_text() -> str:
    """The schema as the file `docs/project.schema.json` has it."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _object(section: str) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required = []
    for path in [*KEYS, *SECTIONS]:
        parent, _, name = path.rpartition(".")
        if not path or parent != section:
            continue
        if path in SECTIONS:
            properties[name] = {"description": _first_line(path), **_object(path)}
            if path in SHORT:
                properties[name]["type"] = ["object", "string"]
            if any(key.default is REQUIRED and key.path.startswith(f"{path}.") for key in KEYS.values()):
                required.append(name)
        else:
            properties[name] = _property(KEYS[path])
            if KEYS[path].default is REQUIRED:
                required.append(name)
    made: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**made, "required": required} if required else made


def _first_line(path: str) -> str:
    return (SECTIONS[path].__doc__ or "").splitlines()[0]


def _property(key: Key) -> dict[str, Any]:
    text: dict[str, Any] = {"type": "string"}
    if key.choices:
        text["enum"] = list(key.choices)
    if key.pattern:
        text["pattern"] = f"^({key.pattern})?$"
    scalar = {"type": ["string", "number", "boolean"]}
    kinds: dict[str, dict[str, Any]] = {
        "text": text,
        "integer": {"type": "integer", **_bounds(key)},
        "number": {"type": "number", **_bounds(key)},
        "texts": {"type": "array", "items": text},
        "text_or_texts": {"anyOf": [text, {"type": "array", "items": text}]},
        "map": {"type": "object", "additionalProperties": scalar},
        "maps": {
            "type": "object",
            "additionalProperties": {"type": "object", "additionalProperties": scalar},
        },
        "lists": {"type": "object", "additionalProperties": {"type": "array", "items": scalar}},
        "free": {"type": "object"},
        "flag": {"type": "boolean"},
        "duration": {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "pattern": r"^\d+(\.\d+)?\s*[smhd]?$"},
            ]
        },
        "tolerations": {"type": "array", "items": {"type": "object"}},
        "steps": {"type": "object", "additionalProperties": _STEP},
        "targets": {"anyOf": [text, {"type": "array", "items": {"anyOf": [text, _TARGET]}}]},
    }
    if key.inner:
        inner = {name: {"description": doc, **scalar} for name, doc in key.inner.items()}
        needed = list(key.inner)[:1]
        one = {"type": "object", "additionalProperties": False, "properties": inner, "required": needed}
        kinds["maps"] = {"type": "object", "additionalProperties": one}
    made = {"description": key.doc, **kinds[key.kind]}
    if key.default is REQUIRED:
        return made
    return {**made, "default": list(key.default) if isinstance(key.default, tuple) else key.default}


_STEP = {"type": "object", "description": "Keys of `on.kubernetes` but `namespace` and `steps`."}
_TARGET = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "to": {"type": "string", "description": "A URL that apprise takes, its secrets named."},
        "on": {"type": "array", "items": {"type": "string", "enum": list(KINDS)}, "default": list(KINDS)},
    },
    "required": ["to"],
}


def _bounds(key: Key) -> dict[str, Any]:
    found = {
        "minimum": key.low, "maximum": key.high, "exclusiveMinimum": key.above, "exclusiveMaximum": key.below,
    }  # fmt: skip
    return {name: bound for name, bound in found.items() if bound is not None}
