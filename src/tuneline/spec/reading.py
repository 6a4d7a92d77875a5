"""From YAML to values: the file's nodes walked beside the table of keys, every fault noted with its file and
line.

Nothing here raises for a fault of the file's content; `Faults` gathers them, and `project.load` raises once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from tuneline.spec.faults import Faults, entries, nearest, shown
from tuneline.spec.sections import KEYS, SECTIONS, SHORT
from tuneline.spec.values import value_of


@dataclass(frozen=True)
class Reading:
    """What a file gave: values by dotted path, and the node each was written at."""

    values: Mapping[str, Any]
    nodes: Mapping[str, yaml.Node]


def read(root: yaml.Node | None, faults: Faults) -> Reading:
    """The values of a composed file. Keys that are not written are not in it."""
    values: dict[str, Any] = {}
    nodes: dict[str, yaml.Node] = {}
    if not isinstance(root, yaml.MappingNode):
        faults.note(root or 1, "the file must be a mapping of keys, e.g. `name: my-model`")
        return Reading(values, nodes)
    _section("", root, values, nodes, faults)
    return Reading(values, nodes)


def _section(
    section: str, node: yaml.MappingNode, values: dict[str, Any], nodes: dict[str, yaml.Node], faults: Faults
) -> None:
    nodes[section] = node
    for name, key_node, value in entries(node, faults):
        path = f"{section}.{name}".lstrip(".")
        if path in SECTIONS:
            if isinstance(value, yaml.MappingNode):
                _section(path, value, values, nodes, faults)
            elif path in SHORT and isinstance(value, yaml.ScalarNode):
                _key(SHORT[path], value, values, nodes, faults)
            else:
                faults.note(value, f"`{path}` must be a mapping of keys, but is {shown(value)}")
        elif path in KEYS:
            _key(path, value, values, nodes, faults)
        else:
            faults.note(key_node, _unknown(section, name))


def _key(
    path: str, node: yaml.Node, values: dict[str, Any], nodes: dict[str, yaml.Node], faults: Faults
) -> None:
    nodes[path] = node
    value = value_of(KEYS[path], node, faults)
    if value is not None:
        values[path] = value


def _unknown(section: str, name: str) -> str:
    here = {
        path.removeprefix(f"{section}.") for path in KEYS if path.startswith(f"{section}.") or not section
    }
    here = {path.split(".")[0] for path in here}
    elsewhere = [path for path in KEYS if path.split(".")[-1] == name]
    where = f" in `{section}`" if section else ""
    if elsewhere and name not in here:
        return f"unknown key `{name}`{where}; nearest: `{elsewhere[0]}`"
    return f"unknown key `{name}`{where}{nearest(_FAMILIAR.get(name, name), here)}"


_FAMILIAR = {
    "lr": "learning_rate", "epochs": "num_train_epochs", "batch_size": "per_device_train_batch_size",
    "micro_batch_size": "per_device_train_batch_size", "rank": "r", "lora_r": "r", "lora_rank": "r",
    "alpha": "lora_alpha", "dropout": "lora_dropout", "scheduler": "lr_scheduler_type",
    "warmup": "warmup_ratio",
    "cutoff_len": "max_length", "sequence_len": "max_length", "lora_target": "target_modules",
    "lora_target_modules": "target_modules", "model_name_or_path": "base_model", "model": "base_model",
    "dataset": "data", "dataset_name": "data", "filter": "where", "template": "prompt", "eval": "evaluate",
    "response": "completion", "output": "completion",
}  # fmt: skip
"""What other tools call our keys."""
