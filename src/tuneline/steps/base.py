"""`base`: finds the model that is fine-tuned, checks it, and converts it once to what every later step maps
into memory."""

import os
import shutil

from tuneline.steps.io import Step
from tuneline.train.base_models import make_base


def run(step: Step) -> None:
    """Parameter `base_model` (`base_digest` is there for the cache); output `base`, a folder."""
    folder = step.outputs["base"]
    scratch = folder.with_name(folder.name + ".part")
    for left_over in (scratch, folder):  # of an attempt that was killed
        shutil.rmtree(left_over, ignore_errors=True)
    offline = os.environ.get("TUNELINE_OFFLINE", "") not in ("", "0")
    facts = make_base(str(step.parameters["base_model"]), scratch, step.note, offline=offline)
    scratch.rename(folder)
    step.describe("base", {key: facts[key] for key in ("name", "architecture", "quantization", "license")})
