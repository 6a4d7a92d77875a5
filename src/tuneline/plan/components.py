"""The steps of the line as KFP components: what each reads, what it puts out, and in which order they stand.

Pure data. `plan.compile` turns it into IR; `steps/<name>.py` is the program behind each.
A parameter's `field` is a dotted path into the project; its root input in the IR is that path with `_`
for `.`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Param:
    """One parameter of a step."""

    name: str
    type: str
    """KFP's: STRING, NUMBER_INTEGER, NUMBER_DOUBLE, BOOLEAN, LIST, STRUCT."""
    field: str = ""
    """Dotted path in the project it comes from, e.g. `train.r`; empty if another task gives it."""
    task: str = ""
    output: str = ""
    """The task and its output parameter it comes from, if not from the project."""


@dataclass(frozen=True)
class In:
    """One input artifact: output `output` of task `task`."""

    name: str
    task: str
    output: str
    type: str = "system.Artifact"


@dataclass(frozen=True)
class Out:
    """One output artifact."""

    name: str
    type: str = "system.Artifact"


@dataclass(frozen=True)
class Component:
    """One step of the line."""

    name: str
    params: tuple[Param, ...] = ()
    inputs: tuple[In, ...] = ()
    outputs: tuple[Out, ...] = ()
    returns: tuple[tuple[str, str], ...] = ()
    """Output parameters: (name, KFP type)."""
    cached: bool = True
    retries: int = 0
    """How often an attempt that failed for the world's fault is made again."""
    after: tuple[str, ...] = field(default=())
    """Tasks that must have succeeded although nothing of theirs is read."""
    program: str = ""
    """The step that does it, where it is not called as the component is."""
    container: Mapping[str, Any] | None = None
    """What runs it, where that is no step of ours."""


def _p(name: str, type: str, path: str) -> Param:
    return Param(name, type, field=path)


_S, _I, _D, _B, _L, _T = "STRING", "NUMBER_INTEGER", "NUMBER_DOUBLE", "BOOLEAN", "LIST", "STRUCT"
DATASET, MODEL, METRICS = "system.Dataset", "system.Model", "system.Metrics"

LIVE = Component(
    "live",
    params=(
        _p("model", _S, "name"), _p("endpoint", _S, "deploy.endpoint"),
        _p("init_adapter", _S, "train.init_adapter"),
    ),
    outputs=(
        Out("package", MODEL),  # the live release's package; an empty folder when nothing is live
        Out("init", MODEL),  # the adapter to go on from; an empty folder when `init_adapter` is ""
    ),
    returns=(("release", _S), ("digest", _S), ("base", _S)),  # "" when nothing is live
    cached=False,
    retries=2,
)  # fmt: skip
FETCH = Component(
    "fetch",
    params=(
        _p("source", _S, "data.source"), _p("sha256", _S, "data.sha256"), _p("base_model", _S, "base_model"),
    ),
    outputs=(Out("data", DATASET),),
    returns=(("base_digest", _S),),  # of a base model that is a local path; "" for one that names its content
    cached=False,  # always revalidates; identical bytes have an identical digest, so what follows is cached
    retries=3,
)  # fmt: skip
BASE = Component(
    "base",
    params=(
        _p("base_model", _S, "base_model"), Param("base_digest", _S, task="fetch", output="base_digest"),
    ),
    outputs=(Out("base", MODEL),),
    retries=2,
)  # fmt: skip
PREPARE = Component(
    "prepare",
    params=(
        _p("where", _S, "data.where"), _p("map", _T, "data.map"), _p("columns", _T, "data.columns"),
        _p("format", _S, "data.format"), _p("prompt", _S, "data.prompt"),
        _p("completion", _S, "data.completion"),
        _p("label", _S, "data.label"), _p("keep", _L, "data.keep"), _p("test", _D, "data.split.test"),
        _p("limit", _I, "data.limit"), _p("max_length", _I, "train.max_length"),
        _p("task", _S, "evaluate.task"),
    ),
    inputs=(In("data", "fetch", "data", DATASET), In("base", "base", "base", MODEL)),
    outputs=(Out("train", DATASET), Out("test", DATASET), Out("report")),
)  # fmt: skip
TUNE = Component(
    "tune",
    params=(
        _p("method", _S, "train.method"), _p("r", _I, "train.r"), _p("lora_alpha", _I, "train.lora_alpha"),
        _p("lora_dropout", _D, "train.lora_dropout"), _p("target_modules", _S, "train.target_modules"),
        _p("learning_rate", _D, "train.learning_rate"), _p("num_train_epochs", _D, "train.num_train_epochs"),
        _p("max_steps", _I, "train.max_steps"),
        _p("per_device_train_batch_size", _I, "train.per_device_train_batch_size"),
        _p("gradient_accumulation_steps", _I, "train.gradient_accumulation_steps"),
        _p("lr_scheduler_type", _S, "train.lr_scheduler_type"), _p("warmup_ratio", _D, "train.warmup_ratio"),
        _p("weight_decay", _D, "train.weight_decay"), _p("max_grad_norm", _D, "train.max_grad_norm"),
        _p("max_length", _I, "train.max_length"), _p("save_steps", _I, "train.save_steps"),
        _p("dtype", _S, "train.dtype"), _p("seed", _I, "train.seed"),
        _p("save_total_limit", _I, "train.save_total_limit"), _p("logging_steps", _I, "train.logging_steps"),
        _p("gradient_checkpointing", _B, "train.gradient_checkpointing"),
        _p("load_in_4bit", _B, "train.load_in_4bit"),
        _p("bnb_4bit_quant_type", _S, "train.bnb_4bit_quant_type"),
        _p("bnb_4bit_compute_dtype", _S, "train.bnb_4bit_compute_dtype"),
        _p("bnb_4bit_use_double_quant", _B, "train.bnb_4bit_use_double_quant"),
        _p("num_processes", _I, "train.num_processes"), _p("num_machines", _I, "train.num_machines"),
        _p("fsdp", _B, "train.fsdp"),
    ),
    inputs=(
        In("base", "base", "base", MODEL), In("train", "prepare", "train", DATASET),
        In("init", "live", "init", MODEL),
    ),
    outputs=(Out("adapter", MODEL), Out("metrics", METRICS), Out("logs")),
)  # fmt: skip
SCORE = Component(
    "score",
    params=(
        _p("task", _S, "evaluate.task"), _p("dtype", _S, "train.dtype"),
        _p("max_length", _I, "train.max_length"), _p("max_new_tokens", _I, "evaluate.max_new_tokens"),
    ),
    inputs=(
        In("base", "base", "base", MODEL), In("adapter", "tune", "adapter", MODEL),
        In("test", "prepare", "test", DATASET),
    ),
    outputs=(Out("scores", DATASET), Out("report")),
)  # fmt: skip
EVALUATE = Component(
    "evaluate",
    params=(
        _p("metrics", _L, "evaluate.metrics"), _p("slices", _L, "evaluate.slices"),
        _p("dtype", _S, "train.dtype"), _p("max_new_tokens", _I, "evaluate.max_new_tokens"),
        Param("live_digest", _S, task="live", output="digest"),
        Param("live_base", _S, task="live", output="base"),
    ),
    inputs=(
        In("base", "base", "base", MODEL), In("adapter", "tune", "adapter", MODEL),
        In("test", "prepare", "test", DATASET), In("scores", "score", "scores", DATASET),
        In("scored", "score", "report"), In("live", "live", "package", MODEL),
    ),
    outputs=(Out("predictions", DATASET), Out("metrics", METRICS), Out("report")),
)  # fmt: skip
GATE = Component(
    "gate",
    params=(
        _p("rules", _L, "gate"),
        Param("live_release", _S, task="live", output="release"),
        Param("live_digest", _S, task="live", output="digest"),
    ),
    inputs=(In("predictions", "evaluate", "predictions", DATASET), In("report", "evaluate", "report")),
    outputs=(Out("verdict"),),
    returns=(("passed", _B),),
)  # fmt: skip
VERIFY = Component(
    "verify",
    params=(
        _p("runtime", _S, "deploy.runtime"), _p("dtype", _S, "train.dtype"),
        _p("max_length", _I, "train.max_length"), _p("task", _S, "evaluate.task"),
        _p("max_new_tokens", _I, "evaluate.max_new_tokens"),
    ),
    inputs=(
        In("base", "base", "base", MODEL), In("adapter", "tune", "adapter", MODEL),
        In("test", "prepare", "test", DATASET), In("report", "prepare", "report"),
    ),
    outputs=(Out("served", MODEL), Out("proof")),  # served: what the runtime loads, e.g. adapter.gguf
)  # fmt: skip
PACKAGE = Component(
    "package",
    params=(_p("model", _S, "name"),),
    inputs=(
        In("base", "base", "base", MODEL), In("adapter", "tune", "adapter", MODEL),
        In("served", "verify", "served", MODEL), In("train", "prepare", "train", DATASET),
        In("data_report", "prepare", "report"), In("report", "score", "report"),
    ),
    outputs=(Out("package", MODEL),),
)  # fmt: skip
PROPOSE = Component(
    "propose",
    params=(
        _p("model", _S, "name"), _p("deploy", _T, "deploy"), _p("monitor", _T, "monitor"),
        _p("approval", _S, "release.approval"),
        Param("live_digest", _S, task="live", output="digest"),
        Param("passed", _B, task="gate", output="passed"),
    ),
    inputs=(
        In("package", "package", "package", MODEL), In("base", "base", "base", MODEL),
        In("verdict", "gate", "verdict"), In("proof", "verify", "proof"), In("report", "evaluate", "report"),
    ),
    outputs=(Out("bundle"),),
    returns=(("release", _S), ("state", _S), ("reason", _S)),
    cached=False,
    retries=2,
)  # fmt: skip
APP = Component(
    "app",
    params=(
        Param("name", _S), Param("entry", _S), Param("command", _L), Param("env", _T), Param("uses", _S),
        Param("probe", _S), Param("port", _I), Param("keep_s", _D), Param("wait_s", _D),
    ),
    inputs=(In("source", "", ""),),
    returns=(("url", _S), ("release", _S), ("reason", _S)),
    cached=False,
)  # fmt: skip
"""No part of the line: for pipelines of one's own."""

LINE: tuple[Component, ...] = (
    LIVE, FETCH, BASE, PREPARE, TUNE, SCORE, EVALUATE, GATE, VERIFY, PACKAGE, PROPOSE,
)  # fmt: skip
"""The whole line, in an order in which every task stands after those it reads."""

ACTING = frozenset(step.name for step in (*LINE, APP) if not step.cached)
"""Steps that ask the world or change it: their outputs are not all they are run for, in any pipeline."""
