"""A step that counts with checkpoints, and notices if it ever runs twice at once."""

import fcntl
import hashlib
import os
import time
from pathlib import Path

from tuneline.steps.io import Step

STEPS = 50


def main(executor_input: str) -> int:
    step = Step.parse(executor_input, os.environ)
    with (step.state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            (step.state.parent / "overlap").touch()
            return 1
        return _count(step)


def _count(step: Step) -> int:
    checkpoint = step.state / "checkpoint"
    done, value = (checkpoint.read_text() if checkpoint.exists() else "0 ").split(" ")
    for number in range(int(done), STEPS):
        time.sleep(0.01)
        seen = [path.read_text() for path in step.inputs.values()]
        value = hashlib.sha256(repr((number, value, seen)).encode()).hexdigest()
        scratch = Path(f"{checkpoint}.tmp")
        scratch.write_text(f"{number + 1} {value}")
        scratch.replace(checkpoint)
        step.progress(number + 1, STEPS, "steps")
    step.outputs["f"].write_text(value)
    step.finish()
    return 0
