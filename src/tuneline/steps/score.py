"""`score`: how likely the base and the candidate find each label of each held-out row.

Knows nothing of what is live, so that the same adapter on the same rows is scored once, whatever it is
compared with later.
"""

import io
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tuneline.errors import DataError, SpecError
from tuneline.steps.io import Step
from tuneline.train import machine, metrics
from tuneline.train.model import load
from tuneline.train.rows import Split, read_split
from tuneline.train.score import classify, questions

Probabilities = NDArray[np.float64]
"""Of each label, [rows, labels], labels sorted."""


def run(step: Step) -> None:
    """Parameters `task`, `dtype`; inputs `base`, `adapter`, `test`; outputs `scores`, `report`."""
    task = str(step.parameters.get("task", "classify"))
    if task != "classify":
        raise SpecError(f"evaluate.task: `{task}` is not built yet.", hint="Use `classify`.")
    split = read_split(step.inputs["test"])
    completions = choices(split, step.inputs["adapter"])
    classes = list(completions)
    truth = true_classes(split, classes)
    who = {"base": None, "candidate": step.inputs["adapter"]}
    done, columns, judged = 0, {"row": split.rows["row"]}, {}

    def more(rows: int) -> None:
        nonlocal done
        done += rows
        step.progress(done, len(split.rows) * len(who), "rows")

    for name, adapter in who.items():
        dtype = str(step.parameters.get("dtype", "auto"))
        base = step.inputs["base"]
        found = probabilities(base, adapter, dtype, split, completions, more, step.model_at_work)
        columns[name] = pl.Series(name, found.tolist(), dtype=pl.List(pl.Float64))
        judged[name] = metrics.report(truth, found, classes)
    rows = io.BytesIO()  # polars hides which fault of the system stopped a write to a file
    pl.DataFrame(columns).write_parquet(rows)
    step.outputs["scores"].write_bytes(rows.getvalue())
    report = {"task": task, "rows": len(truth), "completions": completions, **judged}
    step.outputs["report"].write_text(json.dumps(report, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def probabilities(
    base: Path,
    adapter: Path | None,
    dtype: str,
    split: Split,
    completions: dict[str, str],
    more: Callable[[int], None],
    at_work: Callable[[], AbstractContextManager[None]],
) -> Probabilities:
    """What the base with `adapter` makes of the rows of `split`.

    more: told how many further rows are done. at_work: entered while the model works.

    Raises ModelError if they do not fit each other; DataError if completions are the same tokens.
    """
    machine.settle(0)
    model = load(base, adapter, dtype)
    asked = questions(model.tokenizer, split, list(completions.values()))
    with at_work():
        return classify(model, asked, more)


def true_classes(split: Split, classes: list[str]) -> NDArray[np.int64]:
    """The place of each row's label in `classes`, [rows]."""
    return np.array([classes.index(str(label)) for label in split.rows["label"]], dtype=np.int64)


def choices(split: Split, adapter: Path) -> dict[str, str]:
    """Label -> completion, sorted: those the candidate was trained on and those of the held-out rows.

    Raises DataError if they contradict each other, or there are fewer than two.
    """
    path = adapter / "tuneline.json"
    trained = json.loads(path.read_text(encoding="utf-8")).get("completions", {}) if path.is_file() else {}
    held_out = split.completions
    torn = [label for label in held_out if trained.get(label, held_out[label]) != held_out[label]]
    if torn:
        raise DataError(
            f"The label `{torn[0]}` was trained as `{trained[torn[0]]}` but is held out as "
            f"`{held_out[torn[0]]}`."
        )
    found = dict(sorted({**trained, **held_out}.items()))
    if len(found) < 2:
        raise DataError(
            f"To classify takes two labels at least; the rows have {len(found)}.",
            hint="Look at `tuneline data preview`; set data.label if the label is not found.",
        )
    return found
