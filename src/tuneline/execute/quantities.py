"""Quantities as Kubernetes writes them (`500m`, `1.5`, `16Gi`, `2G`), as numbers."""

import re

_FORM = re.compile(r"([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)(m|[kKMGTPE]i?)?")
_DECIMAL = "kMGTPE"


def quantity(text: str) -> float:
    """The number. Raises: ValueError."""
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no quantity such as 500m, 2 or 16Gi")
    number, unit = float(found.group(1)), found.group(2) or ""
    if unit == "m":
        return number / 1000
    if not unit:
        return number
    power = _DECIMAL.index("k" if unit[0] == "K" else unit[0]) + 1
    return number * (1024.0 if unit.endswith("i") else 1000.0) ** power
