"""One of several processes that train together: `python -m tuneline.steps.tune_worker EXECUTOR_INPUT`.

Started by `workers.py` with torchrun's variables and a pipe as stdin. It ends as soon as that pipe does: a
starter that was killed leaves no worker behind.
"""

import os
import signal
import sys
import threading

from tuneline.steps.io import Step
from tuneline.steps.main import main
from tuneline.train.recipe import Recipe


def run(step: Step) -> None:
    """Meet the others and train. Raises: as `tuning.tune` and `world.join`."""
    from tuneline.steps import tuning  # noqa: PLC0415 - after the watch on stdin has begun
    from tuneline.train import world  # noqa: PLC0415

    here = world.join(os.environ)
    tuning.tune(step, Recipe.parse(step.parameters), here)
    world.leave(here)


def end_with_starter() -> None:
    """Kill this process when its stdin ends, whatever it is in."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    end_with_starter()
    code = main("tune_worker", sys.argv[1])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # threads of gloo, and the watch on stdin, must not hold up the end
