"""`tune`: fine-tunes the base on the training rows, in this process or in several that it starts.

Torch is loaded only by a process that trains (`tuning.py`): one that starts others (`workers.py`) waits.
"""

from tuneline.steps import workers
from tuneline.steps.io import Step
from tuneline.train.recipe import Recipe


def run(step: Step) -> None:
    """Parameters of `train:`; inputs `base`, `train`, `init`; outputs `adapter`, `metrics`, `logs`."""
    recipe = Recipe.parse(step.parameters)
    if recipe.processes > 1:
        workers.run(step, recipe)
        return
    from tuneline.steps import tuning  # noqa: PLC0415 - torch, which takes seconds and memory

    tuning.tune(step, recipe)
