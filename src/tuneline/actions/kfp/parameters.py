"""Whether a run's parameters fit its pipeline, asked as KFP's backend asks: before anything is stored."""

from collections.abc import Mapping
from typing import Any

from tuneline.errors import UserError

_WANTED: Mapping[str, tuple[Any, str, str]] = {
    "STRING": (str, "string", "string"),
    "NUMBER_DOUBLE": ((int, float), "double or integer", "number"),
    "NUMBER_INTEGER": ((int, float), "double or integer", "number"),
    "BOOLEAN": (bool, "bool", "bool"),
    "LIST": (list, "list", "list"),
    "STRUCT": (dict, "struct", "struct"),
}
"""Type -> Python's, and KFP's two words for it in a refusal."""


def checked(document: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that were given, without nulls for optional ones.

    Raises: UserError for one that is missing, unknown, of another type, or none of its literals.
    """
    spec = document.get("pipeline_spec", document)
    declared = _declared(spec)
    unknown = sorted(set(given) - set(declared))
    if unknown:
        raise UserError(
            f"parameter(s) provided are not required by pipeline: {', '.join(unknown)}",
            hint=f"It has: {', '.join(sorted(declared)) or 'none'}.",
        )
    missing = [name for name in declared if name not in given and not _may_miss(declared[name])]
    if missing:
        raise UserError(
            "; ".join(
                f"parameter {name} is not optional, yet has neither default value nor user provided value"
                for name in missing
            )
        )
    kept = {
        name: value for name, value in given.items() if value is not None or not _may_miss(declared[name])
    }
    for name, value in kept.items():
        _check(name, declared[name], value)
    return kept


def _declared(spec: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    found: Any = spec
    for key in ("root", "inputDefinitions", "parameters"):
        found = found.get(key) or {} if isinstance(found, Mapping) else {}
    if not isinstance(found, Mapping):
        return {}  # reading the pipeline as a whole says what is wrong with it
    return {name: body for name, body in found.items() if isinstance(body, Mapping)}


def _may_miss(body: Mapping[str, Any]) -> bool:
    return bool(body.get("isOptional")) or "defaultValue" in body


def _check(name: str, body: Mapping[str, Any], value: Any) -> None:
    kind = str(body.get("parameterType") or "")
    if kind not in _WANTED:
        raise UserError(f"input parameter {name} has unspecified type")
    wanted, word, short = _WANTED[kind]
    wrong_bool = isinstance(value, bool) and kind != "BOOLEAN"
    if wrong_bool or not isinstance(value, wanted):
        raise UserError(
            f"input parameter {name} requires type {word}, but the parameter value is not of {short} value"
            " type"
        )
    if kind == "NUMBER_INTEGER" and not float(value).is_integer():
        raise UserError(
            f"input parameter {name} requires type integer, but the parameter value is a fraction"
        )
    literals = body.get("literals")
    if isinstance(literals, list) and literals and value not in literals:
        said = ", ".join(map(repr, literals))
        raise UserError(f"input parameter {name} is none of the values it may have: {said}")
