"""Made-up numbers for every name a rule reads: its expression is tried before there are any. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from tuneline.plan.rule_names import LATENCY, METRICS, ROOTS, TABLES

Paths = Sequence[tuple[str, ...]]


def sample(paths: Paths) -> dict[str, Any]:
    """The variables of a rule that reads these names; shares are 0.5, rows 100."""
    own = [path[-1] for path in paths if len(path) <= 2 and path[-1] not in (*ROOTS, *METRICS)]
    own += [path[-1] for path in paths if len(path) in (3, 4) and path[-3] == "sets"]
    numbers: dict[str, Any] = dict.fromkeys((*METRICS, *(name for name in own if name not in ROOTS)), 0.5)
    measured = {"latency": {**dict.fromkeys(LATENCY, 0.5), "prompts": 64, "requests": 64}}
    found: dict[str, Any] = {"rows": 100, "left_out": 0, **_sample(paths, ()), **numbers, **measured}
    found["sets"] = _sample_sets(paths, (), numbers)
    for who in ("base", "live"):
        found[who] = {**_sample(paths, (who,)), **numbers, **measured}
        found[who]["sets"] = _sample_sets(paths, (who,), numbers)
    return found


def _sample(paths: Paths, who: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in (p[len(who) :] for p in paths if p[: len(who)] == who):
        if path and path[0] == "slices":
            column, value = (*path[1:3], "column", "value")[:2] if len(path) < 3 else path[1:3]
            last = {path[3]: 0.5} if len(path) > 3 else {}
            some = found.setdefault(column, {}).setdefault(value, {**dict.fromkeys(METRICS, 0.5)})
            some.update({**last, "rows": 100})
    tables: dict[str, Any] = {"confusion_matrix": {}, "classes": {}}
    for path in (p[len(who) :] for p in paths if p[: len(who)] == who):
        if len(path) == 3 and path[0] in TABLES:
            whole = path[0] == "confusion_matrix" or path[2] == "rows"
            tables[path[0]].setdefault(path[1], {})[path[2]] = 100 if whole else 0.5
    return {"slices": found, **tables}


def _sample_sets(paths: Paths, who: tuple[str, ...], numbers: Mapping[str, Any]) -> dict[str, Any]:
    names = {
        path[len(who) + 1]
        for path in paths
        if path[: len(who)] == who and path[len(who) : len(who) + 1] == ("sets",) and len(path) > len(who) + 1
    }
    rows = {"rows": 100, "left_out": 0}
    return {name: {**_sample(paths, (*who, "sets", name)), **numbers, **rows} for name in names or ("name",)}
