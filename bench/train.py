"""Training speed beside TRL's, on the same rows in one go: non-padding tokens over the seconds of the
training loop.

    python bench/train.py                    # the movie reviews of the example, 256 rows, each system in its
    own process python bench/train.py --rows 64          # quicker
    python bench/train.py --losses           # the first 20 losses of both in float32, on the same batches
    python bench/train.py --seeds 1 2 3      # accuracy of three seeds of the example, 768 rows, 418 held out

`ours`      LoRA r=8, batch 16, grouped by length, bfloat16 where the processor is good at it (train.dtype:
auto) `trl`       SFTTrainer as it comes: batch 16, float32
`trl-best`  SFTTrainer in bfloat16, grouped by length, batch 16
`system-a`  SFTTrainer as a tutorial sets it: batch 1, gradient checkpointing, the whole text in the loss
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tuneline.train  # noqa: F401 - sets how our OpenMP threads wait, before torch is imported

EXAMPLE = Path(__file__).parent.parent / "examples" / "movie-reviews"
SYSTEMS = ("ours", "trl", "trl-best", "system-a")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "tuneline-bench-train")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--losses", action="store_true")
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print("RESULT " + json.dumps(CHILDREN[asked.child](asked.work, asked.rows)))
        return
    make_inputs(asked.work)
    if asked.losses:
        compare_losses(asked.work, 320)
    elif asked.seeds:
        compare_seeds(asked.work, asked.seeds)
    else:
        compare_speed(asked.work, asked.rows, asked.systems)


def compare_speed(work: Path, rows: int, systems: list[str]) -> None:
    print(f"{rows} rows, load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    found = {name: child(name, work, rows) for name in systems}
    peer = found.get("trl", {}).get("tokens_per_s")
    for name, numbers in found.items():
        ratio = f"{numbers['tokens_per_s'] / peer:6.2f} x trl" if peer else ""
        print(
            f"{name:10} {numbers['tokens_per_s']:8.1f} tokens/s  {numbers['tokens']:6d} tokens "
            f"{numbers['seconds']:7.1f} s  {ratio}"
        )


def compare_losses(work: Path, rows: int) -> None:
    theirs, ours = child("trl-losses", work, rows), child("our-losses", work, rows)
    gap = max(abs(a - b) for a, b in zip(theirs["losses"], ours["losses"], strict=True))
    for step, (a, b) in enumerate(zip(theirs["losses"], ours["losses"], strict=True), 1):
        print(f"{step:3d}  trl {a:.5f}  ours {b:.5f}")
    print(f"largest difference {gap:.2e}")


def compare_seeds(work: Path, seeds: list[int]) -> None:
    reports = []
    for seed in seeds:
        out = work / f"seed-{seed}"
        began = time.perf_counter()
        step("tune", out, recipe() | {"seed": seed}, {"base": "base", "train": "train", "init": "none"}, work)
        tuned = time.perf_counter() - began
        given = {"base": "base", "adapter": f"seed-{seed}/adapter", "test": "test"}
        step("score", out, {"task": "classify", "max_length": 512}, given, work)
        report = json.loads((out / "report").read_text())
        numbers = report["candidate"]
        speed = json.loads((out / "tune.metrics").read_text())["tokens_per_s"]
        reports.append(report)
        print(
            f"seed {seed}: accuracy {numbers['accuracy']:.4f} f1 {numbers['f1']:.4f} (base "
            f"{report['base']['accuracy']:.4f}) on {report['rows']} rows; "
            f"tuned in {tuned:.1f} s, {speed:.0f} tokens/s"
        )
    mean = sum(report["candidate"]["accuracy"] for report in reports) / len(reports)
    print(f"mean accuracy of {len(seeds)} seeds: {mean:.4f}")


def recipe() -> dict[str, Any]:
    """The example's `train:`, as the tune step gets it."""
    from tuneline.plan.components import TUNE
    from tuneline.spec.project import load

    project = load(EXAMPLE).project
    return {param.name: project.value(param.field) for param in TUNE.params if param.field}


def child(name: str, work: Path, rows: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", name, "--work", str(work), "--rows", str(rows)]
    env = dict(os.environ)
    if not name.startswith("our"):
        env["GOMP_SPINCOUNT"] = "300000"  # OpenMP's own default, where nothing else is set
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        sys.exit(f"{name} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    numbers: dict[str, Any] = json.loads(lines[0].removeprefix("RESULT "))
    return numbers


def make_inputs(work: Path) -> None:
    """The example's base and rows, made by the line's own steps, once."""
    if (work / "train").is_dir():
        return
    from tuneline.plan.components import BASE, FETCH, PREPARE
    from tuneline.spec.project import load

    project = load(EXAMPLE).project
    (work / "none").mkdir(parents=True, exist_ok=True)
    for component in (FETCH, BASE, PREPARE):
        values = {param.name: project.value(param.field) for param in component.params if param.field}
        step(component.name, work, values, {read.name: read.name for read in component.inputs}, work)


def step(name: str, out: Path, parameters: dict[str, Any], inputs: dict[str, str], work: Path) -> None:
    """Run a step in a child process; `inputs` are folders in `work`."""
    from tuneline.plan.components import LINE

    outputs = {item.name for component in LINE if component.name == name for item in component.outputs}

    def artifact(path: Path) -> dict[str, Any]:
        return {"artifacts": [{"name": path.name, "uri": str(path)}]}

    body = {
        "inputs": {
            "parameterValues": parameters,
            "artifacts": {key: artifact(work / value) for key, value in inputs.items()},
        },
        "outputs": {
            "artifacts": {key: artifact(out / key) for key in outputs},
            "outputFile": str(out / f"{name}.json"),
        },
    }
    code = "import sys; from tuneline.steps.main import main; sys.exit(main(sys.argv[1], sys.argv[2]))"
    with tempfile.TemporaryDirectory() as state:
        env = os.environ | {"TUNELINE_TASK_STATE": state}
        subprocess.run([sys.executable, "-c", code, name, json.dumps(body)], env=env, check=True)
    if name == "tune":
        (out / "metrics").rename(out / "tune.metrics")


def split(work: Path, rows: int) -> Any:
    """The first `rows` training rows."""
    from tuneline.train.rows import Split, read_split

    whole = read_split(work / "train")
    return Split(whole.rows.head(rows), whole.info)


def run_ours(work: Path, rows: int) -> dict[str, Any]:
    from tuneline.train import fine_tuning, machine
    from tuneline.train.checkpoints import Checkpoints
    from tuneline.train.recipe import Recipe
    from tuneline.train.rows import examples
    from tuneline.train.training import train

    asked = Recipe.parse(recipe())
    machine.settle(asked.seed)
    model = fine_tuning.prepare(work / "base", None, asked, "gemma-3-270m")
    found = examples(model.tokenizer, split(work, rows), 512)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        progress = train(
            model, found, asked, Checkpoints(Path(folder), "bench"), lambda _: None, time.perf_counter
        )
        seconds = time.perf_counter() - began
    return {"tokens": progress.tokens, "seconds": seconds, "tokens_per_s": progress.tokens / seconds}


def trl_trainer(
    work: Path, rows: int, *, bfloat16: bool = False, whole_text: bool = False, **settings: Any
) -> Any:
    import torch
    import transformers
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer
    from transformers.models.gemma3.modeling_gemma3 import Gemma3ForCausalLM
    from trl import SFTConfig, SFTTrainer

    transformers.logging.set_verbosity_error()
    base = work / "base"
    model = Gemma3ForCausalLM.from_pretrained(base, dtype=torch.bfloat16 if bfloat16 else torch.float32)
    pairs = split(work, rows).rows.select("prompt", "completion").iter_rows()
    data = [{"text": p + c} if whole_text else {"prompt": p, "completion": c} for p, c in pairs]
    config = SFTConfig(
        output_dir=tempfile.mkdtemp(), report_to=[], save_strategy="no", use_cpu=True, bf16=bfloat16,
        learning_rate=5e-4, num_train_epochs=1, disable_tqdm=True, **settings,
    )  # fmt: skip
    return SFTTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(data),
        processing_class=AutoTokenizer.from_pretrained(base),
        peft_config=LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"),
    )


def timed(trainer: Any) -> dict[str, Any]:
    from transformers import TrainerCallback

    clock: dict[str, float] = {}

    class Loop(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            clock["began"] = time.perf_counter()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            clock["ended"] = time.perf_counter()

    tokens = sum(len(row["input_ids"]) for row in trainer.train_dataset)
    trainer.add_callback(Loop())
    trainer.train()
    seconds = clock["ended"] - clock["began"]
    return {"tokens": tokens, "seconds": seconds, "tokens_per_s": tokens / seconds}


def run_trl(work: Path, rows: int) -> dict[str, Any]:
    return timed(trl_trainer(work, rows, per_device_train_batch_size=16, gradient_checkpointing=False))


def run_trl_best(work: Path, rows: int) -> dict[str, Any]:
    return timed(
        trl_trainer(
            work,
            rows,
            bfloat16=True,
            per_device_train_batch_size=16,
            gradient_checkpointing=False,
            train_sampling_strategy="group_by_length",
        )
    )


def run_system_a(work: Path, rows: int) -> dict[str, Any]:
    return timed(
        trl_trainer(work, rows, whole_text=True, per_device_train_batch_size=1, gradient_checkpointing=True)
    )


def trl_losses(work: Path, rows: int) -> dict[str, Any]:
    from tuneline.train import adapters, machine

    machine.settle(0)
    trainer = trl_trainer(
        work,
        rows,
        per_device_train_batch_size=16,
        gradient_checkpointing=False,
        train_sampling_strategy="sequential",
        logging_steps=1,
        lr_scheduler_type="cosine",
        warmup_steps=1,
        max_steps=20,
    )
    (work / "init").mkdir(exist_ok=True)
    adapters.save_adapter(trainer.model, work / "init")
    trainer.train()
    return {"losses": [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry][:20]}


def our_losses(work: Path, rows: int) -> dict[str, Any]:
    from tuneline.train import fine_tuning, machine, training
    from tuneline.train.recipe import Recipe
    from tuneline.train.rows import examples

    machine.settle(0)
    asked = Recipe(learning_rate=5e-4, warmup_ratio=0.05, dtype="float32")
    model = fine_tuning.prepare(work / "base", work / "init", asked, "gemma-3-270m")
    found = examples(model.tokenizer, split(work, rows), 512)
    parameters = {name: value for name, value in model.network.named_parameters() if value.requires_grad}
    optimizer = training._optimizer(parameters, asked)
    model.network.train()
    batches = [found[16 * k : 16 * k + 16] for k in range(20)]
    return {
        "losses": [
            training._step(model, [batch], optimizer, asked, asked.rate(k, 20))[0]
            for k, batch in enumerate(batches)
        ]
    }


CHILDREN = {
    "ours": run_ours,
    "trl": run_trl,
    "trl-best": run_trl_best,
    "system-a": run_system_a,
    "trl-losses": trl_losses,
    "our-losses": our_losses,
}

if __name__ == "__main__":
    main()
