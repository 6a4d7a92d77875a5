"""What `tune` does in a process that trains: fine-tunes the base on the training rows, LoRA or whole, and
puts out the adapter, its curves and its numbers.

The adapter folder holds nothing of when or where: the same base, rows, recipe, versions, threads and
processes give the same bytes. Where several processes train, only rank 0 puts anything out.
"""

import json
import os
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from tuneline.errors import DataError, InternalError, ModelError
from tuneline.steps.io import Step
from tuneline.train import fine_tuning, machine, quantized, sharding
from tuneline.train.accelerate_config import FILE, accelerate_config
from tuneline.train.checkpoints import Checkpoints
from tuneline.train.curves import Curves
from tuneline.train.model import TrainedModel
from tuneline.train.recipe import Recipe
from tuneline.train.rows import Example, Split, examples, read_split
from tuneline.train.training import Point, Progress, train
from tuneline.train.world import ALONE, World
from tuneline.types import digest_bytes, digest_json


def tune(step: Step, recipe: Recipe, world: World = ALONE) -> None:
    """Inputs `base`, `train`, `init`; outputs `adapter`, `metrics`, `logs`, of rank 0 alone."""
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
    made_of = training_parts(recipe, split, step.inputs["base"], init)
    checkpoints = _checkpoints(step, recipe, made_of, threads)
    _agree(world, checkpoints.kin)
    layer = sharding.shard(model.inner) if recipe.sharded else ""
    if not world.writes:
        train(model, rows, recipe, checkpoints, _untold, step.clock, world)
        fine_tuning.trained_state(model, keep=False)
        return
    progress = _train(step, model, rows, recipe, checkpoints, world)
    state = fine_tuning.trained_state(model, keep=True)
    if not world.alone:
        _write_configuration(step.outputs["logs"], recipe, layer)
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
    _write_adapter(step.outputs["adapter"], model, recipe, facts, state)
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
        "processes": world.size,
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


def _checkpoints(step: Step, recipe: Recipe, made_of: dict[str, Any], threads: int) -> Checkpoints:
    """Those of this training, as one process has always named them where it is one."""
    several = {"processes": recipe.processes} if recipe.processes > 1 else {}
    key, kin = digest_json({**made_of, "threads": threads, **several}), digest_json(made_of)
    return Checkpoints(step.state / "checkpoints", key, recipe.save_total_limit, kin, recipe.processes)


def _agree(world: World, kin: str) -> None:
    """Raises: InternalError if the processes were given different things to train."""
    if len(set(said := world.gather(kin))) > 1:
        raise InternalError(
            f"The {world.size} processes do not train the same: {', '.join(one[:19] for one in said)}.",
            hint="Every machine needs the same image, base, rows and numbers.",
        )


def _untold(_: Point) -> None:
    """Rank 0 tells of every step; the others do not."""


def _train(
    step: Step,
    model: TrainedModel,
    rows: Sequence[Example],
    recipe: Recipe,
    checkpoints: Checkpoints,
    world: World,
) -> Progress:
    """Train, telling the record and TensorBoard of every step; curves of an interrupted training are written
    again."""
    found = checkpoints.load()
    past = Progress.of(found)
    if past.step:
        before = found.get("processes", 1) if found else 1
        other = before != recipe.processes
        step.note(
            f"Going on from step {past.step}" + (f", which {_counted(before)} trained." if other else ".")
        )
    del found  # the optimizer's state is as large as the weights are
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
            return train(model, rows, recipe, checkpoints, report, step.clock, world)


def _counted(processes: int) -> str:
    return "1 process" if processes == 1 else f"{processes} processes"


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


def training_parts(recipe: Recipe, split: Split, base: Path, init: Path | None) -> dict[str, Any]:
    """What a training is made of: all that decides its bytes but threads and processes."""
    shown = split.rows.select(pl.col("row", "prompt", "completion", "messages").exclude(pl.Null))
    return {
        "recipe": recipe.alike(),
        "rows": digest_bytes(shown.write_json().encode()),
        "base": digest_bytes((base / "base.json").read_bytes()),
        "init": _identity(init),
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
    }


def _identity(init: Path | None) -> str:
    """The digest of the weights training starts from; "" if it starts from the base."""
    if init is None:
        return ""
    names = ("adapter_model.safetensors", "model.safetensors")
    return digest_bytes(next((init / name).read_bytes() for name in names if (init / name).is_file()))


def _write_adapter(
    folder: Path, model: TrainedModel, recipe: Recipe, facts: dict[str, Any], state: dict[str, Any] | None
) -> None:
    fine_tuning.save(model, _empty(folder), recipe, state)
    text = json.dumps(facts, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    (folder / "tuneline.json").write_text(text, encoding="utf-8")


def _write_configuration(folder: Path, recipe: Recipe, layer: str) -> None:
    """Say how the training was shared out, as accelerate reads it."""
    gpu = machine.device().type == "cuda"
    env = os.environ if recipe.num_machines > 1 else {}
    address, port = env.get("MASTER_ADDR", "127.0.0.1"), int(env.get("MASTER_PORT", "29500"))
    text = yaml.safe_dump(accelerate_config(recipe, gpu=gpu, layer=layer, address=address, port=port))
    (folder / FILE).write_text(text, encoding="utf-8")


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
