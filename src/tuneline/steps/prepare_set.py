"""The step `prepare-NAME` of one of `evaluate.sets`: its source's rows, all held out, as the main set's.

Rows that the candidate is trained on are no evidence: they are dropped as `trained`, and counted. What the
set was made of goes into `info.json`, from where the evaluation's report has it.
"""

import json

from tuneline.steps.choosing import TEST
from tuneline.steps.held_out import put_out, set_report, without_trained
from tuneline.steps.io import Step
from tuneline.steps.prepare import labels_of, prepare, recipe_of, write_info
from tuneline.steps.shapes import written
from tuneline.steps.tables import explained
from tuneline.steps.writing import write_rows
from tuneline.train.tokenizer import load


def run(step: Step) -> None:
    """Inputs `data`, `base`, `train`; puts out `test` and `report`. Raises: DataError if no row is left."""
    recipe, max_length = recipe_of(step.parameters), int(step.parameters["max_length"])
    files = sorted((step.inputs["data"] / "files").iterdir())
    prepared = prepare(
        files,
        recipe,
        test=1.0,
        limit=0,
        tokenizer=load(step.inputs["base"]),
        max_length=max_length,
        progress=lambda done, total: step.progress(done, total, "rows"),
        held_out_only=True,
    )
    choice = without_trained(prepared.survey, prepared.choice, step.inputs["train"])
    folder = step.outputs["test"]
    folder.mkdir(parents=True)
    with explained(prepared.table.files, prepared.table.format):
        write_rows(
            written(prepared.table, recipe),
            choice.side == TEST,
            prepared.survey.row,
            prepared.tokens,
            folder / "rows.parquet",
        )
    trained = json.loads((step.inputs["train"] / "info.json").read_text(encoding="utf-8"))["labels"]
    labels = sorted({*labels_of(folder / "rows.parquet"), *trained})
    report = set_report(step.inputs["data"], prepared.survey, choice)
    write_info(folder / "info.json", recipe, report["test"], labels, max_length, {"set": report})
    put_out(step, report)
