"""The interpreter that a release's own code runs in, and what exactly is installed there.

The environments are those of tasks: one for each set of requirements, made by `execute`. What is installed
in one is part of the proof: requirements such as `scikit-learn==1.7.*` may be another version tomorrow.
"""

import json
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tuneline.errors import ModelError, TransientError
from tuneline.execute.images.environments import Environments
from tuneline.execute.images.interpreters import wanted_by
from tuneline.execute.images.lightweight import read
from tuneline.execute.layers import CannotMake, make
from tuneline.plan.own_code import python_container
from tuneline.settings import Settings
from tuneline.types import digest_json

_ASK = """
import importlib.metadata, json, platform
found = {}
for each in importlib.metadata.distributions():
    found[(each.metadata["Name"] or "").lower().replace("_", "-")] = each.version
print(json.dumps([platform.python_version(), found]))
"""
_BARE = frozenset(("", "kfp", "pip", "setuptools", "wheel"))
"""Distributions that every environment has, and that the user's code does not stand on."""


def interpreter_of(about: Mapping[str, Any], settings: Settings, note: Callable[[str], None]) -> Path:
    """The interpreter of the environment that `about` (tuneline.json of the code) asks for, made if it is not
    there. It is the one that the tasks of its code run in.

    Raises: ModelError if no Python here is new enough; TransientError, with what pip said, if it cannot be
    made.
    """
    container = python_container("", "", [str(text) for text in about["requirements"]])
    found, wanted = read([*container["command"], *container["args"]]), wanted_by(str(about["image"]))
    if found is None or wanted is None:
        raise ModelError(
            f"The release asks for {about['image']} with {about['requirements']}, which cannot be read.",
            hint="Run the project again.",
        )
    try:
        environment = Environments(settings.environments, settings.task_env).of(wanted, found.installs, {})
    except ValueError as error:
        raise ModelError(f"The release's code cannot run here: {error}.") from error
    if environment.missing is not None:
        note(f"Making the environment of the release's code: {', '.join(about['requirements'])}.")
        try:
            make(environment.missing)
        except (CannotMake, OSError) as error:
            raise TransientError(
                f"The packages that the release needs could not be installed: {error}.",
                hint="docs/tasks.md says where packages come from.",
                details=getattr(error, "details", []),
            ) from error
    return Path(environment.python)


def version_of(interpreter: Path, about: Mapping[str, Any]) -> str:
    """`3.11.7, scikit-learn 1.7.2, environment 0123456789ab`: what the proof names as the runtime's version.

    Raises: ModelError if the interpreter cannot be asked.
    """
    python, installed = _installed(interpreter)
    named = [word for word in _required(about.get("requirements") or ()) if word in installed]
    words = [python, *(f"{name} {installed[name]}" for name in named)]
    digest = digest_json([python, sorted(installed.items())]).removeprefix("sha256:")
    return f"{', '.join(words)}, environment {digest[:12]}"


def _installed(interpreter: Path) -> tuple[str, dict[str, str]]:
    """Python's version, and of every distribution there its version."""
    try:
        said = subprocess.run(
            [str(interpreter), "-I", "-c", _ASK], capture_output=True, text=True, timeout=60, check=True
        )
        python, listed = json.loads(said.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise ModelError(
            f"The release's interpreter {interpreter} cannot be asked what it has: {error}",
            hint="Its environment is made anew when the project runs again.",
        ) from error
    return str(python), {name: version for name, version in listed.items() if name not in _BARE}


def _required(requirements: Sequence[str]) -> list[str]:
    """Names of requirements, as distributions are listed: `Scikit_Learn[x]==1.7.*` is `scikit-learn`."""
    names = (re.match(r"[\w.-]*", text.strip()) for text in requirements)
    return [name[0].lower().replace("_", "-") for name in names if name]
