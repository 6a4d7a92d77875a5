"""Pieces of Kubeflow's IR as its SDK compiles them, and the environments that `make test` makes."""

import os
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
TASK_ENV = Path(os.environ.get("TUNELINE_TASK_ENV") or ROOT / ".venv-task")
"""What Python components run in."""
SDK = Path(os.environ.get("TUNELINE_TEST_KFP_PYTHON") or ROOT / ".venv-kfp" / "bin" / "python")
"""An interpreter with all of Kubeflow's SDK, which pins what others need newer."""

PREAMBLE = """
if ! [ -x "$(command -v pip)" ]; then
    python3 -m ensurepip || python3 -m ensurepip --user || apt-get install python3-pip
fi

PIP_DISABLE_PIP_VERSION_CHECK=1 {installs} && "$0" "$@"
"""
KFP_INSTALL = (
    "python3 -m pip install --quiet --no-warn-script-location {options}'kfp=={version}' '--no-deps'"
    " 'typing-extensions>=3.7.4,<5; python_version<\"3.9\"'"
)
VENV = """
export PIP_DISABLE_PIP_VERSION_CHECK=1
tmp=$(mktemp -d)
python3 -m venv "$tmp/venv" --system-site-packages
. "$tmp/venv/bin/activate"
"""
PROGRAM = """program_path=$(mktemp -d)

printf "%s" "$0" > "$program_path/ephemeral_component.py"
_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main                         --component_module_path \
                        "$program_path/ephemeral_component.py"                         "$@"
"""
HEAD = "\nimport kfp\nfrom kfp import dsl\nfrom kfp.dsl import *\nfrom typing import *\n\n"


def preamble(*packages: str, options: str = "", version: str = "2.17.0", venv: bool = False) -> str:
    """What installs packages before a component starts."""
    first = f"python3 -m pip install --quiet --no-warn-script-location {options}"
    installs = [first + " ".join(map(repr, packages))] if packages else []
    installs.append((VENV if venv else "") + KFP_INSTALL.format(options=options, version=version))
    return PREAMBLE.format(installs="  &&  ".join(installs))


def component(
    function: str, source: str, *packages: str, image: str = "python:3.11", **options: Any
) -> dict[str, Any]:
    """A lightweight Python component's container: `source` defines `function`."""
    command = ["sh", "-c", preamble(*packages, **options), "sh", "-ec", PROGRAM, HEAD + source]
    args = ["--executor_input", "{{$}}", "--function_to_execute", function]
    return {"image": image, "command": command, "args": args}
