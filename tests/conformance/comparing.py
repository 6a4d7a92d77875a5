"""How a run is compared with what its case expects. Pure, but for the contents of artifacts."""

import json
import re
from pathlib import Path
from typing import Any


def differences(run: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """What in a run is not as expected, one line each."""
    found = []
    tasks = {task["name"]: task for task in run["tasks"]}
    if run["state"] != expected.get("state", "SUCCEEDED"):
        found.append(f"the run is {run['state']}: {run.get('error')}")
    if "tasks" in expected:
        states = {name: task["state"] for name, task in tasks.items()}
        for name in sorted({*states, *expected["tasks"]}):
            want, have = expected["tasks"].get(name, "not there"), states.get(name, "not there")
            if want != have:
                reason = tasks[name].get("error") or tasks[name].get("reason") if name in tasks else ""
                found.append(f"task {name} is {have}, expected {want}; {reason or ''}")
    whole = run.get("outputs") or {}
    found += _values("outputs", whole.get("parameters", {}), expected.get("outputs", {}), run)
    found += _artifacts("artifacts", whole.get("artifacts", {}), expected.get("artifacts", {}), run)
    for part, kind, side in (
        ("task_outputs", "parameters", "outputs"),
        ("task_inputs", "parameters", "inputs"),
        ("task_artifacts", "artifacts", "outputs"),
    ):
        for name, want in expected.get(part, {}).items():
            have = (tasks.get(name, {}).get(side) or {}).get(kind, {})
            compare = _artifacts if kind == "artifacts" else _values
            found += compare(f"{part} of {name}", have, want, run)
    for name, pattern in expected.get("errors", {}).items():
        error = run.get("error") if name == "" else tasks.get(name, {}).get("error")
        if not re.search(pattern, json.dumps(error or {}), re.DOTALL):
            found.append(f"the error of {name or 'the run'} is {error}, expected /{pattern}/")
    for name, count in expected.get("attempts", {}).items():
        if tasks.get(name, {}).get("attempts") != count:
            found.append(f"{name} had {tasks.get(name, {}).get('attempts')} attempts, expected {count}")
    for name, text in expected.get("display", {}).items():
        if tasks.get(name, {}).get("display_name") != text:
            found.append(f"{name} is shown as {tasks.get(name, {}).get('display_name')}, expected {text}")
    return found


def _values(where: str, have: dict[str, Any], want: dict[str, Any], run: dict[str, Any]) -> list[str]:
    return [
        f"{where}: {key} is {have.get(key)!r}, expected {value!r}"
        for key, value in want.items()
        if key not in have or not matches(have[key], value, run)
    ]


def _artifacts(where: str, have: dict[str, Any], want: dict[str, Any], run: dict[str, Any]) -> list[str]:
    found = []
    for key, expected in want.items():
        listed = have.get(key, [])
        if len(listed) != len(expected):
            found.append(f"{where}: {key} has {len(listed)} artifacts, expected {len(expected)}")
        for number, (one, other) in enumerate(zip(listed, expected, strict=False)):
            found += [f"{where}: {key}[{number}] {fault}" for fault in _artifact(one, other, run)]
    return found


def _artifact(have: dict[str, Any], want: dict[str, Any], run: dict[str, Any]) -> list[str]:
    found = []
    for key, value in want.items():
        if key == "text":
            path = Path(have["uri"])
            text = path.read_text() if path.is_file() else None
            if text != value:
                found.append(f"holds {text!r}, expected {value!r}")
        elif key == "metadata":
            found += _values("metadata", have.get("metadata", {}), value, run)
        elif not matches(have.get(key), value, run):
            found.append(f"{key} is {have.get(key)!r}, expected {value!r}")
    return found


def matches(have: Any, want: Any, run: dict[str, Any]) -> bool:
    """Whether a value is the expected one: 1, 1.0 and true are three things.

    `{"$match": pattern}` for a text, `{"$json": value}` for a text that is JSON, `{"$json_in": value}` for
    the `repr` of such a text, `{"$run": key}` for a field of the run, `{"$any": true}` for whatever.
    """
    if isinstance(want, dict) and len(want) == 1:
        key, value = next(iter(want.items()))
        if key == "$match":
            return isinstance(have, str) and re.search(value, have) is not None
        if key == "$json":
            return isinstance(have, str) and same(json.loads(have), value)
        if key == "$json_in":
            return isinstance(have, str) and same(json.loads(have.strip("'")), value)
        if key == "$run":
            return bool(have == run[value])
        if key == "$any":
            return True
    if isinstance(want, list) and isinstance(have, list):
        return len(want) == len(have) and all(
            matches(one, other, run) for one, other in zip(have, want, strict=True)
        )
    return same(have, want)


def same(one: Any, other: Any) -> bool:
    """Whether both are the same JSON, numbers as they are written, keys in any order."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
