"""The project file: read, checked as a whole, and given as one frozen value. Where every run begins.

All faults are reported at once, each as `file:line: what`, with the nearest known key where there is one.
Only the file itself is read, and the project's own code where an entry names it; whether sources and models
exist is found out by the steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from tuneline.errors import NotFoundError, SpecError
from tuneline.spec.checks import check
from tuneline.spec.code import read_code
from tuneline.spec.faults import Faults, nearest
from tuneline.spec.on_defaults import written
from tuneline.spec.reading import Reading, read
from tuneline.spec.schema import schema
from tuneline.spec.sections import KEYS, REQUIRED, SAFETY_METRIC, SECTIONS, SHOWN, SPELLED, Project

__all__ = ["FILE", "Loaded", "Project", "apply", "load", "parse", "schema"]

FILE = "tuneline.yaml"


@dataclass(frozen=True)
class Loaded:
    """A project with the text it was read from."""

    project: Project
    text: str
    folder: Path
    """What relative paths in the text were resolved against."""
    file: str = FILE
    overrides: Mapping[str, str] = field(default_factory=dict)
    """What `-p` changed: dotted path to the text given."""


def load(path: Path) -> Loaded:
    """The project in a folder (its `tuneline.yaml`) or in a file.

    Raises: NotFoundError if there is none; SpecError with every fault in `details`.
    """
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise NotFoundError(
            f"There is no project file {file}.",
            hint="Make one with `tuneline init NAME`, or give another path.",
        )
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = file.read_bytes()[: error.start].count(b"\n") + 1
        raise SpecError(
            f"{file.name}:{line}: not UTF-8 (byte {error.start}).", hint="Save the file as UTF-8."
        ) from None
    return parse(text, file.parent.absolute(), file.name)


def parse(text: str, folder: Path, file: str = FILE, overrides: Mapping[str, str] | None = None) -> Loaded:
    """The project of a text; relative paths are meant from `folder`. Raises SpecError with every fault in
    `details`."""
    faults = Faults(file)
    root = _compose(text, file)
    reading = read(root, faults)
    reading = _overridden(reading, overrides or {}, faults)
    for key in KEYS.values():
        if key.default is REQUIRED and key.path not in reading.nodes:
            faults.note(_line_of(reading, key.path), f"`{key.path}` is missing: {key.doc}")
    blanks = {
        key.path: "" for key in KEYS.values() if key.default is REQUIRED
    }  # so that all other faults are seen too
    project = _resolved(_build("", {**blanks, **reading.values}), folder, reading)
    project = replace(project, code=read_code(folder, project, reading, faults))
    project = replace(project, on=replace(project.on, written=written(reading)))
    check(project, reading, faults)
    if faults.found:
        raise _faulty(faults.lines)
    return Loaded(project, text, folder, file, dict(overrides or {}))


def apply(loaded: Loaded, overrides: Mapping[str, str]) -> Loaded:
    """The project with values changed as by `-p train.r=16`: written as in the file, checked in the same way.

    Raises: SpecError with every fault in `details`.
    """
    return parse(loaded.text, loaded.folder, loaded.file, {**loaded.overrides, **overrides})


def _compose(text: str, file: str) -> yaml.Node | None:
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise _one_fault(f"{file}:{line}: not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise _one_fault(f"{file}: not YAML: {error}") from None
    return node


def _overridden(reading: Reading, overrides: Mapping[str, str], faults: Faults) -> Reading:
    """The reading with overrides in place of what was written. A fault of an override names `-p`, not a
    line."""
    values, nodes = dict(reading.values), dict(reading.nodes)
    for path, text in overrides.items():
        if path == "notify":  # the record keeps the file's text, and its targets are read from there
            faults.note(0, "-p notify: who is told is not changed for one run; write it in the file")
            continue
        if path.startswith(_FREE):
            values[_FREE[:-1]] = {**values.get(_FREE[:-1], {}), **_free_value(path, text, faults)}
            continue
        if path not in KEYS:
            faults.note(0, f"-p {path}={text}: `{path}` is not a key{nearest(path, KEYS)}")
            continue
        mine = Faults(faults.file)
        one = read(_nested(path, _override_node(text, KEYS[path].kind)), mine)
        faults.found += [(0, f"-p {path}={text}: {what}") for _, what in mine.found]
        values.pop(path, None)
        values.update(one.values)
        nodes.update({name: node for name, node in one.nodes.items() if name == path})
    return Reading(values, nodes)


_FREE = "train.params."
"""Below it any name may be set."""


def _free_value(path: str, text: str, faults: Faults) -> Mapping[str, Any]:
    name = path.removeprefix(_FREE)
    node = _nested("train.params", _nested(name, _override_node(text, "free")))
    found: Mapping[str, Any] = read(node, Faults(faults.file)).values.get("train.params", {})
    return found


def _override_node(text: str, kind: str) -> yaml.Node:
    scalar = yaml.ScalarNode("tag:yaml.org,2002:str", text, _START, _START)
    if kind == "text":
        return scalar
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader) or scalar
    except yaml.YAMLError:
        return scalar


_START = yaml.Mark("-p", 0, -1, 0, None, 0)


def _nested(path: str, node: yaml.Node) -> yaml.Node:
    for part in reversed(path.split(".")):
        key = yaml.ScalarNode("tag:yaml.org,2002:str", part, _START, _START)
        node = yaml.MappingNode("tag:yaml.org,2002:map", [(key, node)], _START, _START)
    return node


def _line_of(reading: Reading, path: str) -> int:
    section = path.rpartition(".")[0]
    while section and section not in reading.nodes:
        section = section.rpartition(".")[0]
    node = reading.nodes.get(section)
    return 1 if node is None or not section else node.start_mark.line + 1


def _build(section: str, values: Mapping[str, Any]) -> Any:
    kind = SECTIONS[section]
    given = {}
    for entry in fields(kind):
        path = f"{section}.{SPELLED.get(entry.name, entry.name)}".lstrip(".")
        if path in SECTIONS:
            given[entry.name] = _build(path, values)
        elif path in values:
            given[entry.name] = values[path]
    return kind(**given)


def _resolved(project: Project, folder: Path, reading: Reading) -> Project:
    """Defaults that depend on other keys, and absolute paths."""
    evaluate = project.evaluate
    safety = replace(evaluate.safety, metric=evaluate.safety.metric or SAFETY_METRIC[evaluate.task])
    sets = {
        name: {
            "source": _absolute(one["source"], folder, always=True) if one.get("source") else "",
            "where": one.get("where", ""),
            "sha256": one.get("sha256", "").removeprefix("sha256:").lower(),
        }
        for name, one in evaluate.sets.items()
    }
    slices = tuple(dict.fromkeys((*evaluate.slices, *safety.slices)))
    evaluate = replace(evaluate, sets=sets, safety=safety, slices=slices)
    data = replace(
        project.data,
        source=_absolute(project.data.source, folder, always=True),
        sha256=project.data.sha256.removeprefix("sha256:").lower(),
        keep=tuple(dict.fromkeys(project.data.keep + evaluate.slices)),
    )
    base = _absolute(project.base_model, folder, always=project.base_model.endswith(".gguf"))
    deploy = replace(project.deploy, endpoint=project.deploy.endpoint or project.name)
    if "train.entry" in reading.nodes and "deploy.runtime" not in reading.nodes:
        deploy = replace(deploy, runtime="pyfunc")
    if "evaluate.metrics" not in reading.nodes:
        evaluate = replace(evaluate, metrics=SHOWN[evaluate.task])
    train = replace(project.train, init_adapter=_absolute(project.train.init_adapter, folder, always=False))
    return replace(project, data=data, base_model=base, train=train, evaluate=evaluate, deploy=deploy)


def _absolute(place: str, folder: Path, *, always: bool) -> str:
    """A path made absolute; addresses with a scheme, and names, stay as they are."""
    if "://" in place:
        return place
    if place.startswith("~"):
        return str(Path(place).expanduser())
    if always or place.startswith(("./", "../", "/")) or place in (".", ".."):
        return (
            str(Path(folder, place).absolute()) if ".." not in place else str(Path(folder, place).resolve())
        )
    return place


def _one_fault(line: str) -> SpecError:
    return _faulty([line])


def _faulty(lines: list[str]) -> SpecError:
    count = "a fault" if len(lines) == 1 else f"{len(lines)} faults"
    return SpecError(
        f"The project has {count}; nothing ran.", hint="docs/project-file.md has every key.", details=lines
    )
