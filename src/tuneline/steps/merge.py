"""`merge`: folds the adapter into its base, where `release.merge` says so: a whole model and its card."""

import shutil

from tuneline.serve.card import merged_card
from tuneline.serve.loading import read_json
from tuneline.steps.io import Step
from tuneline.train.merging import merge


def run(step: Step) -> None:
    """Parameters: model. Inputs: base, adapter. Puts out merged, a folder in Hugging Face's layout."""
    base, adapter, folder = step.inputs["base"], step.inputs["adapter"], step.outputs["merged"]
    scratch = folder.with_name(f"{folder.name}.part")
    for left_over in (scratch, folder):  # of an attempt that was killed
        shutil.rmtree(left_over, ignore_errors=True)
    with step.model_at_work():
        merge(base, adapter, scratch)
    facts = read_json(base / "base.json"), read_json(adapter / "tuneline.json")
    card = merged_card(str(step.parameters["model"]), *facts)
    (scratch / "README.md").write_text(card, encoding="utf-8")
    scratch.rename(folder)
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    step.describe("merged", {"form": "merged", "bytes": size})
