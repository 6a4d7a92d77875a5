"""The step `measure` of a project with own code: how fast `pyfunc` answers a row, beside what is live.

The counterpart of `measure`; see there. Each release runs in the environment of its own requirements.
"""

import json
import os
import time
from pathlib import Path

from tuneline.errors import ModelError
from tuneline.serve.interpreters import interpreter_of
from tuneline.serve.loading import read_json
from tuneline.serve.pyfunc import ABOUT
from tuneline.serve.pyfunc_program import CODE
from tuneline.serve.timing import Plan, invocation
from tuneline.settings import Settings
from tuneline.steps.io import Step
from tuneline.steps.measure import Words, measured, write


def run(step: Step) -> None:
    """Inputs: model, served, test, live; puts out latency.

    Raises: ModelError if a runtime does not start or stops answering; DataError if there are too few rows.
    """
    inputs, live = step.inputs, step.inputs["live"]
    common: Words = ["--runtime", "pyfunc", "--model", "measure"]
    python = _interpreter(inputs["served"], step)
    commands: dict[str, Words] = {
        "candidate": [*common, "--served", inputs["served"], "--adapter", inputs["model"], "--python", python]
    }
    if any(live.iterdir()):
        if not (live / "served" / CODE / ABOUT).is_file():
            raise ModelError(
                f"The live release's package {live} is no own code's: it cannot be measured here.",
                hint="Take the rules of `live.latency` out of the gate for this once.",
            )
        commands["live"] = [*common, "--package", live, "--python", _interpreter(live / "served", step)]
    info = read_json(inputs["test"] / "info.json")
    with (inputs["test"] / "rows.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    shown = [
        {name: value for name, value in rows[at].items() if name != info["label"]} for at in info["proof"]
    ]
    write(step, measured(step, commands, [invocation(row, time.perf_counter) for row in shown], Plan()))


def _interpreter(served: Path, step: Step) -> Path:
    return interpreter_of(read_json(served / CODE / ABOUT), Settings.from_env(os.environ), step.note)
