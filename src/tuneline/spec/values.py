"""One value of a project file: from its YAML node, by the kind of its key.

A number may be written `5e-4`, which YAML 1.1 takes for text. Text may be written unquoted even where YAML
sees a number.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml

from tuneline.errors import SpecError
from tuneline.spec.durations import seconds
from tuneline.spec.faults import Faults, entries, nearest, shown
from tuneline.spec.on import (
    LABEL,
    LABEL_VALUE,
    OBJECT,
    ONLY_FOR_ALL,
    OPEN_VARIABLE,
    QUANTITY,
    SECRET_KEY,
    VARIABLE,
    toleration_fault,
)
from tuneline.spec.sections import ENTRY, KEYS, Key
from tuneline.spec.serving import PLACE
from tuneline.spec.targets import KINDS, Target, fault

_NUMBER = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?")
_INTEGER = re.compile(r"[-+]?\d[\d_]*")


def value_of(key: Key, node: yaml.Node, faults: Faults) -> Any:
    """The value of a key at its node; None, and a fault, if it is none."""
    if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
        faults.note(node, f"`{key.path}` has no value")
        return None
    reader = {
        "text": _text, "integer": _number, "number": _number, "texts": _texts, "text_or_texts": _texts,
        "map": _map,
        "maps": _maps, "lists": _lists, "free": _free, "duration": _duration, "targets": targets,
        "flag": _flag, "tolerations": _tolerations, "steps": _steps,
    }[key.kind]  # fmt: skip
    return reader(key, node, faults)


def _text(key: Key, node: yaml.Node, faults: Faults) -> str | None:
    if not isinstance(node, yaml.ScalarNode):
        faults.note(node, f"`{key.path}` must be text, but is {shown(node)}")
        return None
    text = str(node.value)
    if key.choices and text not in key.choices:
        known = ", ".join(key.choices)
        faults.note(node, f"`{key.path}` is `{text}`; it can be {known}{nearest(text, key.choices)}")
        return None
    if key.pattern and text and not re.fullmatch(key.pattern, text):
        faults.note(node, f"`{key.path}` is `{text}`, which does not fit: {_meant(key.pattern)}")
        return None
    if not text.strip() and key.path in ("name", "base_model", "data.source"):
        faults.note(node, f"`{key.path}` is blank")
        return None
    return text


_MEANT = {
    "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?": "lower-case letters, digits and `-`, at most 63",
    "(sha256:)?[0-9a-fA-F]{64}": "64 hexadecimal digits",
    PLACE: "`gs://BUCKET/PATH`, `pvc://CLAIM/PATH`, `oci://IMAGE@sha256:...` or `hf://ORG/NAME@REVISION`",
    ENTRY: "a file of the project's folder and a function in it, e.g. `train.py:main`",
    OBJECT: "lower-case letters, digits, `-` and `.`",
    LABEL: "a label's key, e.g. `cloud.google.com/gke-accelerator`",
    LABEL_VALUE: "letters, digits, `-`, `_` and `.`, at most 63",
    QUANTITY: "an amount as Kubernetes writes it, e.g. `500m`, `2` or `16Gi`",
    SECRET_KEY: "a Secret of the cluster and a key in it, `name/key`; no secret is written here",
    VARIABLE: "letters, digits and `_`",
    OPEN_VARIABLE: "the name of a variable that is not secret; what is secret is named in `secret_env`",
}


def _meant(pattern: str) -> str:
    return _MEANT.get(pattern, pattern)


def _number(key: Key, node: yaml.Node, faults: Faults) -> int | float | None:
    whole = key.kind == "integer"
    plain = isinstance(node, yaml.ScalarNode) and node.style is None
    if not plain or not (_INTEGER if whole else _NUMBER).fullmatch(str(node.value)):
        faults.note(node, f"`{key.path}` must be a {'whole ' if whole else ''}number, but is {shown(node)}")
        return None
    text = str(node.value).replace("_", "")
    number = int(text) if whole else float(text)
    if (bound := _outside(key, number)) is not None:
        faults.note(node, f"`{key.path}` is {node.value}; it must be {bound}")
        return None
    return number


def _outside(key: Key, number: float) -> str | None:
    bounds = (
        (key.low is not None and number < key.low, f"at least {key.low}"),
        (key.high is not None and number > key.high, f"at most {key.high}"),
        (key.above is not None and number <= key.above, f"more than {key.above}"),
        (key.below is not None and number >= key.below, f"less than {key.below}"),
    )
    return next((what for broken, what in bounds if broken), None)


def _duration(key: Key, node: yaml.Node, faults: Faults) -> float | None:
    try:
        found = seconds(str(node.value) if isinstance(node, yaml.ScalarNode) else "")
    except SpecError:
        faults.note(
            node, f"`{key.path}` must be a time such as `90s`, `30m`, `2h` or `1d`, but is {shown(node)}"
        )
        return None
    if (bound := _outside(key, found)) is not None:
        faults.note(node, f"`{key.path}` is {node.value}; it must be {bound} seconds")
        return None
    return found


def _flag(key: Key, node: yaml.Node, faults: Faults) -> bool | None:
    plain = isinstance(node, yaml.ScalarNode) and node.style is None
    said = _FLAGS.get(str(node.value).lower()) if plain else None
    if said is None:
        faults.note(node, f"`{key.path}` must be true or false, but is {shown(node)}")
    return said


_FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
"""As YAML has them."""


def _texts(key: Key, node: yaml.Node, faults: Faults) -> Any:
    if key.kind == "text_or_texts" and isinstance(node, yaml.ScalarNode):
        return _text(key, node, faults)
    if not isinstance(node, yaml.SequenceNode):
        faults.note(node, f"`{key.path}` must be a list, but is {shown(node)}")
        return None
    read_texts = [_text(key, entry, faults) for entry in node.value]
    texts = [text for text in read_texts if text is not None]
    return ",".join(texts) if key.kind == "text_or_texts" else tuple(texts)


def _map(key: Key, node: yaml.Node, faults: Faults) -> dict[str, str] | None:
    if not isinstance(node, yaml.MappingNode):
        faults.note(node, f"`{key.path}` must be a mapping, but is {shown(node)}")
        return None
    found = {}
    for name, name_node, value in entries(node, faults):
        if not isinstance(value, yaml.ScalarNode):
            faults.note(value, f"`{key.path}.{name}` must be text, but is {shown(value)}")
        elif key.names and not re.fullmatch(key.names, name):
            faults.note(name_node, f"`{key.path}` has `{name}`, which does not fit: {_meant(key.names)}")
        elif key.entries and not re.fullmatch(key.entries, str(value.value)):
            said = "has a value" if key.entries == SECRET_KEY else f"is `{value.value}`,"
            faults.note(value, f"`{key.path}.{name}` {said} which does not fit: {_meant(key.entries)}")
        else:
            found[name] = str(value.value)
    return found


def _maps(key: Key, node: yaml.Node, faults: Faults) -> dict[str, dict[str, str]] | None:
    if not isinstance(node, yaml.MappingNode):
        faults.note(node, f"`{key.path}` must be a mapping, but is {shown(node)}")
        return None
    found = {}
    for name, _, value in entries(node, faults):
        inner = _map(Key(f"{key.path}.{name}", "map", {}, ""), value, faults)
        if inner is not None:
            found[name] = inner
            _check_inner(key, name, value, inner, faults)
    return found


def _check_inner(key: Key, name: str, node: yaml.Node, inner: Mapping[str, str], faults: Faults) -> None:
    """Faults of one inner mapping's keys, where only some are known."""
    if not key.inner:
        return
    for word, where, _ in entries(node, Faults(faults.file)) if isinstance(node, yaml.MappingNode) else ():
        if word not in key.inner:
            faults.note(where, f"unknown key `{word}` in `{key.path}.{name}`{nearest(word, key.inner)}")
    first = next(iter(key.inner))
    if not inner.get(first, "").strip():
        faults.note(node, f"`{key.path}.{name}.{first}` is missing: {key.inner[first]}")


def _lists(key: Key, node: yaml.Node, faults: Faults) -> dict[str, tuple[str, ...]] | None:
    if not isinstance(node, yaml.MappingNode):
        faults.note(node, f"`{key.path}` must be a mapping of lists, but is {shown(node)}")
        return None
    found = {}
    for name, _, value in entries(node, faults):
        texts = _texts(Key(f"{key.path}.{name}", "texts", (), ""), value, faults)
        if texts:
            found[name] = tuple(dict.fromkeys(texts))
        elif texts is not None:
            faults.note(value, f"`{key.path}.{name}` is an empty list")
    return found


def _free(key: Key, node: yaml.Node, faults: Faults) -> dict[str, Any] | None:
    if not isinstance(node, yaml.MappingNode):
        faults.note(node, f"`{key.path}` must be a mapping, but is {shown(node)}")
        return None
    return {name: _anything(value, faults) for name, _, value in entries(node, faults)}


def targets(key: Key, node: yaml.Node, faults: Faults) -> tuple[Target, ...] | None:
    """Receivers of notices. No fault quotes a URL: it may hold what is secret."""
    entries = node.value if isinstance(node, yaml.SequenceNode) else [node]
    found = [
        _target(f"target {place} of `{key.path}`", each, faults) for place, each in enumerate(entries, 1)
    ]
    return tuple(target for target in found if target is not None)


def _target(what: str, node: yaml.Node, faults: Faults) -> Target | None:
    given = {"to": node}
    if isinstance(node, yaml.MappingNode):
        given = {str(name.value): value for name, value in node.value}
    if not set(given) <= {"to", "on"}:
        faults.note(node, f"{what} has a key that it does not know; it has `to` and `on`")
        return None
    to, kinds = given.get("to"), given.get("on")
    if not isinstance(to, yaml.ScalarNode):
        faults.note(node, f"{what} needs `to`, the text of a URL")
        return None
    if wrong := fault(str(to.value)):
        faults.note(to, f"{what} {wrong}")
        return None
    if kinds is None:
        return Target(str(to.value).strip())
    on = _texts(Key("notify.on", "texts", (), "", choices=KINDS), kinds, faults)
    if isinstance(kinds, yaml.SequenceNode) and not kinds.value:
        faults.note(kinds, f"{what} is told of nothing: `on` is empty")
    return Target(str(to.value).strip(), on) if on else None


def _tolerations(key: Key, node: yaml.Node, faults: Faults) -> tuple[Mapping[str, Any], ...] | None:
    if not isinstance(node, yaml.SequenceNode):
        faults.note(node, f"`{key.path}` must be a list, but is {shown(node)}")
        return None
    found = []
    for place, each in enumerate(node.value, 1):
        what = f"toleration {place} of `{key.path}`"
        if not isinstance(each, yaml.MappingNode):
            faults.note(each, f"{what} must be a mapping, but is {shown(each)}")
            continue
        values = {}
        for name, where, value in entries(each, faults):
            if name not in _TOLERATION:
                faults.note(where, f"{what} has an unknown key `{name}`{nearest(name, _TOLERATION)}")
            else:
                one = replace(_TOLERATION[name], path=f"{key.path}[{place}].{name}")
                values[name] = value_of(one, value, faults)
        said = {name: value for name, value in values.items() if value is not None}
        if len(said) == len(values) and (wrong := toleration_fault(said)):
            faults.note(each, f"{what} {wrong}")
        found.append(said)
    return tuple(found)


_TOLERATION = {
    "key": Key("key", "text", "", "", pattern=LABEL),
    "operator": Key("operator", "text", "", "", choices=("Exists", "Equal")),
    "value": Key("value", "text", "", "", pattern=LABEL_VALUE),
    "effect": Key("effect", "text", "", "", choices=("NoSchedule", "PreferNoSchedule", "NoExecute")),
    "tolerationSeconds": Key("tolerationSeconds", "integer", 0, "", low=0),
}


def _steps(key: Key, node: yaml.Node, faults: Faults) -> Mapping[str, Mapping[str, Any]] | None:
    """Keys of the section that `key` is in, by the name of a step."""
    if not isinstance(node, yaml.MappingNode):
        faults.note(node, f"`{key.path}` must be a mapping, but is {shown(node)}")
        return None
    section = key.path.rpartition(".")[0]
    known = {path.rpartition(".")[2]: one for path, one in KEYS.items() if path.startswith(f"{section}.")}
    known = {name: one for name, one in known.items() if name not in ONLY_FOR_ALL}
    found: dict[str, Mapping[str, Any]] = {}
    for step, _, value in entries(node, faults):
        where = f"{key.path}.{step}"
        if not isinstance(value, yaml.MappingNode):
            faults.note(value, f"`{where}` must be a mapping of keys, but is {shown(value)}")
            continue
        values = {}
        for name, name_node, inner in entries(value, faults):
            if name not in known:
                faults.note(name_node, f"unknown key `{name}` in `{where}`{nearest(name, known)}")
            else:
                values[name] = value_of(replace(known[name], path=f"{where}.{name}"), inner, faults)
        found[step] = {name: one for name, one in values.items() if one is not None}
    return found


def _anything(node: yaml.Node, faults: Faults) -> Any:
    """The JSON value of a node. Only what is unquoted is a number, a truth value or null."""
    if isinstance(node, yaml.MappingNode):
        return {name: _anything(value, faults) for name, _, value in entries(node, faults)}
    if isinstance(node, yaml.SequenceNode):
        return [_anything(entry, faults) for entry in node.value]
    text = str(node.value)
    if getattr(node, "style", None) is not None:
        return text
    if node.tag == "tag:yaml.org,2002:null":
        return None
    if node.tag == "tag:yaml.org,2002:bool":
        return text.lower() in ("true", "yes", "on")
    if _INTEGER.fullmatch(text):
        return int(text.replace("_", ""))
    return float(text.replace("_", "")) if _NUMBER.fullmatch(text) else text
