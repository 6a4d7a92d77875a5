"""The step `measure`: how fast the candidate answers on the runtime as it is deployed, beside what is live.

Part of a line only where a rule of the gate names `latency`. It stands after everything else that works hard,
so that it has the machine to itself as far as this run goes; both runtimes are up, and are asked by turns.
"""

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tuneline.errors import DataError
from tuneline.plan.latency import summary
from tuneline.serve import child
from tuneline.serve.runtimes import VLLM, proven_by
from tuneline.serve.timing import Ask, Plan, chat, time_all
from tuneline.settings import Settings
from tuneline.steps.evaluate import live_model
from tuneline.steps.io import Step
from tuneline.steps.verify import answer_tokens, choose, vllm_words
from tuneline.train.rows import read_split

PROMPTS = 64
"""Held-out rows, those with the smallest hash, that are asked."""
Words = list[str | Path]
"""A runtime's command line."""


def run(step: Step) -> None:
    """Parameters: runtime, task, max_new_tokens, live_base, vllm. Inputs: base, adapter, served, test, live.

    Puts out latency. Raises: ModelError if a runtime does not start or stops answering.
    """
    inputs = step.inputs
    runtime = proven_by(str(step.parameters["runtime"]), "vllm" in step.parameters)
    common: Words = ["--runtime", runtime, "--model", "measure", *_vllm(step, runtime)]
    commands: dict[str, Words] = {
        "candidate": [
            *common, "--base", inputs["base"], "--served", inputs["served"], "--adapter", inputs["adapter"],
        ]
    }  # fmt: skip
    live = live_model(inputs["live"], inputs["base"], str(step.parameters.get("live_base") or ""))
    if live is not None:
        package = inputs["live"]
        was = "vllm" if (package / "served" / "vllm.json").is_file() else "transformers"
        was = "llamacpp" if any((package / "served").glob("*.gguf")) else was
        commands["live"] = [
            *("--runtime", was, "--model", "measure", *_vllm(step, was)),
            *("--base", live[0], "--package", package),
        ]
    split = read_split(inputs["test"])
    questions = choose(split, PROMPTS, answer_tokens(step.parameters))
    asks = [chat(question, time.perf_counter) for question in questions]
    write(step, measured(step, commands, asks, Plan()))


def _vllm(step: Step, runtime: str) -> Words:
    """vLLM's part of a command line. The live release gets the candidate's: only the model may differ."""
    if runtime != VLLM.name:
        return []
    return vllm_words(Settings.from_env(os.environ).vllm_python, step.parameters.get("vllm") or {})


def measured(step: Step, commands: Mapping[str, Words], asks: Sequence[Ask], plan: Plan) -> dict[str, Any]:
    """Start the runtimes, time them, and give the report.

    Raises: ModelError; DataError if there are fewer prompts than it takes.
    """
    if len(asks) < plan.least:
        raise DataError(
            f"The held-out set has {len(asks)} rows; to measure latency takes {plan.least}.",
            hint="Raise data.split.test, give more data, or take the rules of `latency` out of the gate.",
        )
    with ExitStack() as stack:
        urls = {who: stack.enter_context(child.running(words)) for who, words in commands.items()}
        with step.model_at_work():
            timed = time_all(
                urls,
                asks,
                plan,
                time.perf_counter,
                lambda done, total: step.progress(done, total, "prompts"),
            )
    found: dict[str, Any] = {
        "schema": 1,
        "machine": {"cpus": os.cpu_count() or 1, "platform": platform.platform()},
        "warmup": min(plan.warmup, len(asks)),
        "live": None,
    }
    for who, one in timed.items():
        runtime = commands[who][commands[who].index("--runtime") + 1]
        found[who] = {"runtime": str(runtime), **summary([(t.seconds, t.first_s, t.tokens) for t in one])}
    return found


def write(step: Step, found: Mapping[str, Any]) -> None:
    """Write the report, and say what was found."""
    text = json.dumps(found, indent=2, sort_keys=True) + "\n"
    step.outputs["latency"].write_text(text, encoding="utf-8")
    for who in ("candidate", "live"):
        if found[who]:
            one = found[who]
            said = f"{one['p50']:.4f} s at the median, {one['p95']:.4f} s at 95 %"
            step.note(f"{who}: {said}, {one['prompts']} prompts")
