"""The step `prepare-NAME` of a project with own code: a set's rows as they are, all of them held out.

The counterpart of `prepare_set`; see there.
"""

import json

from tuneline.steps.choosing import TEST
from tuneline.steps.held_out import put_out, set_report, without_trained
from tuneline.steps.io import Step
from tuneline.steps.prepare_rows import RowRecipe, Rows, choose_rows, write_held_out


def run(step: Step) -> None:
    """Inputs `data`, `train`; puts out `test` and `report`. Raises: DataError if no row is left."""
    files = sorted((step.inputs["data"] / "files").iterdir())
    found = choose_rows(files, RowRecipe.of(step.parameters), test=1.0, limit=0, held_out_only=True)
    choice = without_trained(found.survey, found.choice, step.inputs["train"])
    rows = Rows(found.table, found.recipe, found.survey, choice)
    report = set_report(step.inputs["data"], rows.survey, choice)
    trained = json.loads((step.inputs["train"] / "info.json").read_text(encoding="utf-8"))["labels"]
    write_held_out(rows, choice.side == TEST, step.outputs["test"], trained, {"set": report})
    put_out(step, report)
