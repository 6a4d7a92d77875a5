"""`base`: finds the model that is fine-tuned, checks it, and converts it once to what every later step maps
into memory."""

import os
import shutil

from tuneline.settings import Settings
from tuneline.steps.base_source import is_remote
from tuneline.steps.downloads import Desk
from tuneline.steps.fetch import Seldom
from tuneline.steps.io import Step
from tuneline.steps.remote_base import make_remote_base
from tuneline.train.base_models import make_base


def run(step: Step) -> None:
    """Parameter `base_model` (`base_digest` is there for the cache); output `base`, a folder."""
    folder = step.outputs["base"]
    scratch = folder.with_name(folder.name + ".part")
    for left_over in (scratch, folder):  # of an attempt that was killed
        shutil.rmtree(left_over, ignore_errors=True)
    offline = os.environ.get("TUNELINE_OFFLINE", "") not in ("", "0")
    base_model = str(step.parameters["base_model"])
    if is_remote(base_model):
        settings = Settings.from_env(os.environ)
        desk = Desk(settings.downloads, os.environ, offline=offline, note=step.note, progress=Seldom(step))
        facts = make_remote_base(base_model, scratch, desk)
    else:
        facts = make_base(base_model, scratch, step.note, offline=offline)
    scratch.rename(folder)
    step.describe("base", {key: facts[key] for key in ("name", "architecture", "quantization", "license")})
