"""A task that is a Python module of an environment, such as the executor of Kubeflow's SDK: run as
`python -m` runs it, in the shim's child.

Standard library only: the interpreter is that of the task's environment.
"""

import importlib
import json
import os
import sys
from typing import Any, NoReturn


def become_module(folder: str) -> NoReturn:
    """Run the module that `task.json` in `folder` names, and end as an interpreter does."""
    with open(os.path.join(folder, "task.json"), encoding="utf-8") as file:
        run_module(json.load(file))
    sys.exit(0)


def run_module(task: dict[str, Any]) -> None:
    """Run `task["module"]` with `task["args"]`; `constants` of the SDK are set before."""
    sys.argv = ["-m", *task["args"]]
    sys.path[0] = os.getcwd()
    for place, value in task.get("constants", {}).items():
        name, _, constant = place.partition(":")
        try:
            setattr(importlib.import_module(name), constant, value)
        except ModuleNotFoundError:  # an older SDK has no such thing
            continue
    if task.get("secrets"):
        _hide(task["secrets"])
    runpy = importlib.import_module("runpy")  # not for every task's shim to load
    runpy.run_module(task["module"], run_name="__main__", alter_sys=True)


def wait_for_threads() -> None:
    """Wait for threads that are no daemons, as an interpreter does at its end."""
    if "threading" in sys.modules:
        sys.modules["threading"]._shutdown()


def _hide(secrets: list[str]) -> None:
    """Keep secrets out of what the SDK's executor logs by itself, which is all that the task is given."""
    logging = importlib.import_module("logging")
    texts = [text for secret in secrets for text in (secret, json.dumps(secret)[1:-1])]

    def masked(record: Any) -> bool:
        for text in texts:
            record.msg = str(record.msg).replace(text, "***")
        return True

    logging.getLogger().addFilter(masked)
