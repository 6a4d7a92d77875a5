"""What is written under `on:`, as JSON values; and the file of defaults under it, `TUNELINE_ON`.

That file is shaped as a project's `on:` is, for whoever runs the cluster: the namespace, the image, the
service account, the nodes. Only the file itself is read. Its steps are not checked: it serves many projects.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tuneline.errors import SettingError
from tuneline.spec.faults import Faults
from tuneline.spec.reading import Reading, read

_SECTIONS = ("kubernetes", "airflow")


def written(reading: Reading) -> Mapping[str, Any]:
    """`{"kubernetes": {...}, "airflow": {...}}` with what a file says under `on`; durations in seconds."""
    return {
        section: {
            path.rpartition(".")[2]: _plain(value)
            for path, value in reading.values.items()
            if path.startswith(f"on.{section}.")
        }
        for section in _SECTIONS
    }


def read_defaults(path: Path | None) -> Mapping[str, Any]:
    """The defaults in a file, as `written` gives them; nothing without a path.

    Raises: SettingError with every fault of the file in `details`.
    """
    if path is None:
        return written(Reading({}, {}))
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise SettingError(
            f"The file that TUNELINE_ON names cannot be read: {said}.",
            hint="Give a YAML file shaped as a project's `on:`, or unset TUNELINE_ON.",
        ) from error
    if node is None:
        return written(Reading({}, {}))
    faults, start = Faults(str(path)), yaml.Mark(str(path), 0, 0, 0, None, 0)
    key = yaml.ScalarNode("tag:yaml.org,2002:str", "on", start, start)
    found = read(yaml.MappingNode("tag:yaml.org,2002:map", [(key, node)], start, start), faults)
    if faults.found:
        count = len(faults.lines)
        raise SettingError(
            f"The file that TUNELINE_ON names has {'a fault' if count == 1 else f'{count} faults'}.",
            hint="docs/pods.md has its keys: those of a project's `on:`.",
            details=faults.lines,
        )
    return written(found)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
