"""`-p NAME=VALUE` for a pipeline: typed by what the pipeline declares, every fault told at once. Pure."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from tuneline.errors import SpecError

EXAMPLES = {
    "NUMBER_INTEGER": "3", "NUMBER_DOUBLE": "0.5", "BOOLEAN": "true", "LIST": "'[1, 2]'",
    "STRUCT": """'{"a": 1}'""",
}  # fmt: skip
_OLD = {"INT": "NUMBER_INTEGER", "DOUBLE": "NUMBER_DOUBLE", "STRING": "STRING"}
"""`type`, which `parameterType` took the place of."""


def typed(
    declared: Mapping[str, Mapping[str, Any]], written: Mapping[str, str], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The pipeline's parameters. written: texts of `-p`; given: values of a file, which `-p` overrides.

    A value is never in a fault: it may be a secret. Raises: SpecError with every fault.
    """
    faults: list[str] = []
    values = {}
    for name, value in {**given, **written}.items():
        if name not in declared:
            faults.append(_unknown(name, declared))
            continue
        try:
            values[name] = _value(declared[name], value, text=name in written)
        except ValueError:
            faults.append(_wrong(name, declared[name]))
    faults += [
        f"`{name}` ({_type(body)}) must be given: -p {name}={_example(body)}"
        for name, body in declared.items()
        if name not in values and name not in written and name not in given and _required(body)
    ]
    if faults:
        count = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise SpecError(f"The parameters have {count}; nothing ran.", hint=_hint(declared), details=faults)
    return values


def read_values(path: Any) -> dict[str, Any]:
    """The mapping in a YAML or JSON file of parameters. Raises: SpecError."""
    import yaml  # noqa: PLC0415 - parsers are imported when there is something to parse

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        why = " ".join(str(getattr(error, "problem", None) or error).split())
        raise SpecError(
            f"{path} cannot be read as parameters: {why}.", hint="Write `name: value` lines."
        ) from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise SpecError(f"{path} is no mapping of names to values.", hint="Write `name: value` lines.")
    return found


def _value(body: Mapping[str, Any], value: Any, *, text: bool) -> Any:
    from tuneline_ir import convert, from_file  # noqa: PLC0415 - see above

    kind = _type(body)
    converted = convert(from_file(value, kind) if text else value, kind)
    literals = body.get("literals") or ()
    if literals and converted not in literals:
        raise ValueError(kind)
    return converted


def _unknown(name: str, declared: Mapping[str, Any]) -> str:
    near = get_close_matches(name, list(declared), 1)
    return f"unknown parameter `{name}`" + (f"; nearest: `{near[0]}`" if near else "")


def _wrong(name: str, body: Mapping[str, Any]) -> str:
    literals = body.get("literals") or ()
    if literals:
        return f"`{name}` must be one of {', '.join(str(literal) for literal in literals)}"
    return f"`{name}` must be a {_type(body)}, e.g. -p {name}={_example(body)}"


def _required(body: Mapping[str, Any]) -> bool:
    return not body.get("isOptional") and "defaultValue" not in body


def _type(body: Mapping[str, Any]) -> str:
    return str(body.get("parameterType") or _OLD.get(str(body.get("type")), "STRING"))


def _example(body: Mapping[str, Any]) -> str:
    literals = body.get("literals") or ()
    return str(literals[0]) if literals else EXAMPLES.get(_type(body), "...")


def _hint(declared: Mapping[str, Mapping[str, Any]]) -> str:
    if not declared:
        return "The pipeline has no parameters."
    return "Parameters: " + ", ".join(f"{name} ({_type(body)})" for name, body in declared.items()) + "."
