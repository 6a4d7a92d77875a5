"""`tune`: fine-tunes the base on the training rows, LoRA or whole, and puts out the adapter, its curves and
its numbers.

The adapter folder holds nothing of when or where: the same base, rows, recipe, versions and threads give the
same bytes.
"""

import json
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from tuneline.errors import DataError, ModelError
from tuneline.steps.io import Step
from tuneline.train import fine_tuning, machine, quantized
from tuneline.train.checkpoints import Checkpoints
from tuneline.train.curves import Curves
from tuneline.train.model import TrainedModel
from tuneline.train.recipe import Recipe
from tuneline.train.rows import Example, Split, examples, read_split
from tuneline.train.training import Point, Progress, train
from tuneline.types import digest_bytes, digest_json


def run(step: Step) -> None:
    """Parameters of `train:`; inputs `base`, `train`, `init`; outputs `adapter`, `metrics`, `logs`."""
    recipe = Recipe.parse(step.parameters)
    quantized.check(recipe)
    split = read_split(step.inputs["train"])
    base = json.loads((step.inputs["base"] / "base.json").read_text(encoding="utf-8"))
    init = find_adapter(step.inputs.get("init"))
    threads = machine.settle(recipe.seed)
    model = fine_tuning.prepare(step.inputs["base"], init, recipe, str(base["name"]))
    rows = examples(model.tokenizer, split, recipe.max_length)
    if not rows:
        raise DataError(
            "No row has anything to learn.",
            hint="Look at `tuneline data preview`, or raise train.max_length.",
        )
    key = training_key(recipe, split, step.inputs["base"], init, threads)
    checkpoints = Checkpoints(step.state / "checkpoints", key, recipe.save_total_limit)
    progress = _train(step, model, rows, recipe, checkpoints)
    facts = {
        "method": recipe.method,
        "base": base,
        "tokenizer_hash": model.tokenizer.hash,
        "template": split.info.get("template"),
        "template_hash": split.info.get("template_hash"),
        "format": split.info.get("format", "prompt"),
        "labels": split.labels,
        "completions": split.completions,
        "recipe": recipe.to_json(),
        "rows": len(rows),
        "init": _identity(init),
    }
    _write_adapter(step.outputs["adapter"], model, recipe, facts)
    first, final = ends(progress.losses)
    numbers = {
        "train_loss": sum(progress.losses) / len(progress.losses),
        "first_loss": first,
        "final_loss": final,
        "steps": progress.step,
        "rows": len(rows),
        "tokens": progress.tokens,
        "seconds": progress.seconds,
        "tokens_per_s": progress.tokens / max(progress.seconds, 1e-9),
        "threads": threads,
    }
    step.outputs["metrics"].write_text(json.dumps(numbers, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    step.describe("metrics", numbers)


def ends(losses: Sequence[float]) -> tuple[float, float]:
    """Mean loss (nat a token) of the first and of the last quarter of the steps: one batch alone, most of all
    the last, may be few rows and hard ones."""
    part = max(1, len(losses) // 4)
    return sum(losses[:part]) / part, sum(losses[-part:]) / part


def logged(losses: Sequence[float], every: int) -> list[tuple[int, float]]:
    """The points of a curve, one each `every` steps, as Trainer has it: (step, mean loss since the last)."""
    ends = range(every, len(losses) + 1, every)
    return [(end, sum(losses[end - every : end]) / every) for end in ends]


def _train(
    step: Step, model: TrainedModel, rows: Sequence[Example], recipe: Recipe, checkpoints: Checkpoints
) -> Progress:
    """Train, telling the record and TensorBoard of every step; curves of an interrupted training are written
    again."""
    past = Progress.of(checkpoints.load())
    if past.step:
        step.note(f"Going on from step {past.step}.")
    with Curves(_empty(step.outputs["logs"]), step.clock()) as curves:
        for number, loss in logged(past.losses, recipe.logging_steps):
            rate = past.rates[number - 1]
            curves.add(number, {"train/loss": loss, "train/learning_rate": rate}, step.clock())
        losses = past.losses[len(past.losses) // recipe.logging_steps * recipe.logging_steps :]

        def report(point: Point) -> None:
            losses.append(point.loss)
            if point.step % recipe.logging_steps and point.step < point.total:
                return
            numbers = {
                "loss": sum(losses) / len(losses),
                "tokens_per_s": point.tokens / max(point.seconds, 1e-9),
                "learning_rate": point.learning_rate,
                "grad_norm": point.grad_norm,
            }
            step.progress(point.step, point.total, "steps", **numbers)
            curves.add(point.step, {f"train/{name}": value for name, value in numbers.items()}, step.clock())
            losses.clear()

        with step.model_at_work():
            return train(model, rows, recipe, checkpoints, report, step.clock)


def find_adapter(folder: Path | None) -> Path | None:
    """The adapter in an input that may be a release's package, an adapter, or empty. Raises ModelError if it
    is another thing."""
    if folder is None or not any(folder.iterdir()):
        return None
    for found in (folder / "adapter", folder):
        if (found / "adapter_config.json").is_file() or (found / "model.safetensors").is_file():
            return found
    raise ModelError(
        f"{folder} is neither a release's package nor an adapter.", hint="It needs adapter_config.json."
    )


def training_key(recipe: Recipe, split: Split, base: Path, init: Path | None, threads: int) -> str:
    """What decides a training's bytes, as one digest."""
    shown = split.rows.select(pl.col("row", "prompt", "completion", "messages").exclude(pl.Null))
    return digest_json(
        {
            "recipe": recipe.to_json(),
            "rows": digest_bytes(shown.write_json().encode()),
            "base": digest_bytes((base / "base.json").read_bytes()),
            "init": _identity(init),
            "threads": threads,
            "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
        }
    )


def _identity(init: Path | None) -> str:
    """The digest of the weights training starts from; "" if it starts from the base."""
    if init is None:
        return ""
    names = ("adapter_model.safetensors", "model.safetensors")
    return digest_bytes(next((init / name).read_bytes() for name in names if (init / name).is_file()))


def _write_adapter(folder: Path, model: TrainedModel, recipe: Recipe, facts: dict[str, Any]) -> None:
    fine_tuning.save(model, _empty(folder), recipe)
    text = json.dumps(facts, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    (folder / "tuneline.json").write_text(text, encoding="utf-8")


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
