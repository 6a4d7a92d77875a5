"""Compiles every case with the SDK: `python -m tests.conformance.pipelines.compile OUT.json`.

Run by the interpreter that has `kfp`. OUT.json: by case its IR as `kfp.Client` sends it, and what is
expected.
"""

import copy
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from tests.conformance.pipelines.common import CASES

HERE = Path(__file__).parent


def load() -> dict[str, dict[str, Any]]:
    """All cases, their modules imported."""
    for path in sorted(HERE.glob("*.py")):
        if path.stem not in ("common", "compile", "local", "__init__"):
            importlib.import_module(f"tests.conformance.pipelines.{path.stem}")
    return CASES


def compiled(made: Any) -> dict[str, Any]:
    """The IR of a pipeline or component, as `kfp.Client` sends it."""
    spec = json_format.MessageToDict(made.pipeline_spec)
    platform = json_format.MessageToDict(made.platform_spec) if hasattr(made, "platform_spec") else {}
    return {"pipeline_spec": spec, "platform_spec": platform} if platform else spec


def uncached(spec: dict[str, Any]) -> None:
    """Switch caching off: two cases with a task in common would take each other's outputs."""
    for component in (spec["root"], *spec.get("components", {}).values()):
        for task in component.get("dag", {}).get("tasks", {}).values():
            task["cachingOptions"] = {}


def main() -> None:
    found = {}
    for name, case in load().items():
        ir = copy.deepcopy(compiled(case["made"]))
        if not case.get("cached"):
            uncached(ir.get("pipeline_spec", ir))
        if "change" in case:
            case["change"](ir.get("pipeline_spec", ir))
        expected = {key: value for key, value in case.items() if key not in ("made", "change")}
        found[name] = {"ir": ir, "expected": expected}
    Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
