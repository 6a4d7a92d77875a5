"""`score`: how likely the base and the candidate find each label of each held-out row, or what they answer.

Knows nothing of what is live, so that the same adapter on the same rows is scored once, whatever it is
compared with later.
"""

import io
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tuneline.errors import DataError, SpecError
from tuneline.steps import texts
from tuneline.steps.io import Step
from tuneline.steps.text_metrics import text_scores
from tuneline.train import machine, metrics
from tuneline.train.generation import end_ids, generate, prompts_of
from tuneline.train.model import load
from tuneline.train.rows import Split, read_split
from tuneline.train.score import classify, questions

Probabilities = NDArray[np.float64]
"""Of each label, [rows, labels], labels sorted."""


def run(step: Step) -> None:
    """Parameters `task`, `dtype`, `max_new_tokens`; inputs `base`, `adapter`, `test`.

    Puts out `scores`, `report`.
    """
    task = str(step.parameters.get("task", "classify"))
    if task not in ("classify", "generate"):
        raise SpecError(f"evaluate.task: `{task}` needs `train.entry`.", hint="Use `classify` or `generate`.")
    split = read_split(step.inputs["test"])
    columns, report = (_generated if task == "generate" else _classified)(step, split)
    rows = io.BytesIO()  # polars hides which fault of the system stopped a write to a file
    pl.DataFrame({"row": split.rows["row"], **columns}).write_parquet(rows)
    step.outputs["scores"].write_bytes(rows.getvalue())
    report = {"task": task, "rows": len(split.rows), **report}
    step.outputs["report"].write_text(json.dumps(report, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _classified(step: Step, split: Split) -> tuple[dict[str, Any], dict[str, Any]]:
    """Each label's probability by each model, as columns, and the report."""
    completions = choices(split, step.inputs["adapter"])
    classes = list(completions)
    truth = true_classes(split, classes)
    more = _counted(step, 2 * len(split.rows))
    columns: dict[str, Any] = {}
    judged: dict[str, Any] = {"completions": completions}
    for name, adapter in _models(step).items():
        dtype = str(step.parameters.get("dtype", "auto"))
        base = step.inputs["base"]
        found = probabilities(base, adapter, dtype, split, completions, more, step.model_at_work)
        columns[name] = pl.Series(name, found.tolist(), dtype=pl.List(pl.Float64))
        judged[name] = metrics.report(truth, found, classes)
    return columns, judged


def _generated(step: Step, split: Split) -> tuple[dict[str, Any], dict[str, Any]]:
    """What each model answers, as columns, and the report."""
    more = _counted(step, 2 * len(split.rows))
    dtype, limit = str(step.parameters.get("dtype", "auto")), int(step.parameters["max_new_tokens"])
    columns: dict[str, Any] = {}
    judged: dict[str, Any] = {"completions": {}}
    for name, adapter in _models(step).items():
        base = step.inputs["base"]
        found = answers(base, adapter, dtype, split, limit, more, step.model_at_work)
        columns |= texts.scored_columns(name, found)
        judged[name] = texts.means(found)
    return columns, judged


def _models(step: Step) -> dict[str, Path | None]:
    return {"base": None, "candidate": step.inputs["adapter"]}


def _counted(step: Step, total: int) -> Callable[[int], None]:
    done = 0

    def more(rows: int) -> None:
        nonlocal done
        done += rows
        step.progress(done, total, "rows")

    return more


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


def answers(
    base: Path,
    adapter: Path | None,
    dtype: str,
    split: Split,
    max_new_tokens: int,
    more: Callable[[int], None],
    at_work: Callable[[], AbstractContextManager[None]],
) -> texts.Answers:
    """What the base with `adapter` answers to the rows of `split`, and the scores of that.

    more: told how many further rows are done. at_work: entered while the model works.

    Raises ModelError if they do not fit each other; MissingPartError without the libraries of the metrics.
    """
    machine.settle(0)
    model = load(base, adapter, dtype)
    prompts = prompts_of(model, split)
    with at_work():
        ids = generate(model, prompts, max_new_tokens, end_ids(base, model), more)
    said = [model.tokenizer.decode(answer).strip() for answer in ids]
    scores = text_scores(said, split.references)
    return {"text": said, **{f"score_{name}": values for name, values in scores.items()}}


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
