"""Runs cases in kfp.local: `python -m tests.conformance.pipelines.local OUT.json NAME ...` writes outputs.

Run by the interpreter that has `kfp`, with CONFORMANCE_WITHOUT_PIP set: kfp.local installs what components
ask for into the interpreter that it runs on.
"""

import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from kfp import local
from tests.conformance.pipelines.compile import load


def outputs(case: dict[str, Any]) -> dict[str, Any]:
    """The parameters that a run of the case puts out. Raises: what kfp.local raises."""
    made, given = case["made"], case.get("parameters", {})
    done = made(**given)
    return {
        key: value
        for key, value in done.outputs.items()
        if isinstance(value, str | int | float | list | dict)
    }


def main() -> None:
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=tempfile.mkdtemp(), raise_on_error=True)
    cases, found = load(), {}
    for name in sys.argv[2:]:
        with contextlib.redirect_stdout(io.StringIO()):
            found[name] = outputs(cases[name])
    Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
