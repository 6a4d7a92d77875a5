"""The project file as frozen values: every key with its type, default, range and meaning, in one place.

The reader, the JSON Schema and the documentation's test all walk `KEYS`, which is made from these classes;
nothing else lists keys. No IO, no YAML here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Final

from tuneline.spec.cron import MAX_EVERY_S
from tuneline.spec.keys import REQUIRED as REQUIRED
from tuneline.spec.keys import Key as Key
from tuneline.spec.keys import key
from tuneline.spec.on import Airflow, Kubernetes, On
from tuneline.spec.serving import Kubernetes as Standing
from tuneline.spec.serving import Vllm
from tuneline.spec.targets import Target
from tuneline.spec.training import ENTRY as ENTRY
from tuneline.spec.training import Train

SET_NAME: Final = r"[a-z][a-z0-9_]{0,30}"
"""Names of held-out sets: words of the gate's rules, and parts of tasks' names."""
SAFETY_METRIC: Final[Mapping[str, str]] = {
    "classify": "accuracy",
    "regress": "mse",
    "generate": "exact_match",
}
"""What `evaluate.safety` compares where it does not say, by `evaluate.task`."""
NAME: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
"""Names of models and endpoints: they become parts of host names and of paths."""
METRICS: Final[Mapping[str, tuple[str, ...]]] = {
    "classify": ("accuracy", "f1", "precision", "recall", "confusion_matrix", "ece", "log_loss"),
    "regress": ("mse", "mae", "rmse", "r2"),
    "generate": ("exact_match", "rouge_l", "chrf"),
}
"""What is measured, by `evaluate.task`."""
SHOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "classify": ("accuracy", "f1", "confusion_matrix"),
    "regress": ("mse", "mae", "r2"),
    "generate": METRICS["generate"],
}
"""What is shown where `evaluate.metrics` is not written."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """How held-out rows are chosen."""

    test: float = key(
        "number", 0.05, "The fraction of rows held out: those whose hash is under it.", above=0.0, below=1.0
    )


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where rows come from and how they become prompts and completions."""

    source: str = key(
        "text",
        REQUIRED,
        "`pypi://NAME==VERSION/PATH`, `kaggle://`, `hf://`, `s3://`, `gs://`, `az://`, `https://`, "
        "`github-issues://OWNER/REPO`, or a path or glob of CSV, JSONL, JSON or Parquet files.",
    )
    sha256: str = key(
        "text",
        "",
        "The SHA-256 the source's one file must have; anything else is refused.",
        pattern="(sha256:)?[0-9a-fA-F]{64}",
    )
    columns: Mapping[str, str] = key("map", {}, "New names of columns: `{name here: name in the file}`.")
    where: str = key("text", "", 'Which rows to take, e.g. `source == "imdb" and stars >= 3`.')
    map: Mapping[str, Mapping[str, str]] = key(
        "maps",
        {},
        'Values to replace: `{column: {"old": new}}`; rows with another value are dropped as `unmapped`.',
    )
    types: Mapping[str, str] = key(
        "map",
        {},
        "For `train.entry`: types of columns, `{column: number}`; others stay as the file has them.",
    )
    format: str = key(
        "text", "prompt", "The shape of the rows.", choices=("prompt", "messages", "alpaca", "sharegpt")
    )
    prompt: str = key("text", "", "What the model is shown: text with `{column}` in it.")
    completion: str = key("text", "", "What it learns to answer: text with `{column}` in it.")
    label: str = key("text", "", "The column with the class; by default the one field of `completion`.")
    keep: tuple[str, ...] = key(
        "texts", (), "Columns carried along for slices; those of `evaluate.slices` always are."
    )
    split: Split = field(default_factory=Split)
    limit: int = key("integer", 0, "Train on so many rows, those with the smallest hash; 0 takes all.", low=0)


@dataclass(frozen=True, kw_only=True)
class Safety:
    """Slices on which no candidate may be worse than what is live, added to the gate."""

    slices: Mapping[str, tuple[str, ...]] = key(
        "lists", {}, "The slices: `{column: [value, ...]}`; the gate tests each against the live release."
    )
    metric: str = key("text", "", "The metric compared; by default `accuracy`, `mse` or `exact_match`.")
    margin: float = key(
        "number", 0.05, "A loss this large on any of them must be ruled out.", above=0.0, below=1.0
    )
    alpha: float = key(
        "number", 0.05, "The chance of error, split evenly over all the slices.", above=0.0, below=0.5
    )


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """What is measured on the held-out rows."""

    entry: str = key(
        "text", "", "Evaluate with code of your own: `evaluate.py:main`, see own-code.md.", pattern=ENTRY
    )
    task: str = key("text", "classify", "What the model does.", choices=tuple(METRICS))
    metrics: tuple[str, ...] = key(
        "texts", SHOWN["classify"], "Which numbers are shown; by default those usual for the task.",
        choices=tuple(name for names in METRICS.values() for name in names),
    )  # fmt: skip
    max_new_tokens: int = key(
        "integer", 64, "Tokens an answer may have where `evaluate.task` is `generate`.", low=1, high=4096
    )
    slices: tuple[str, ...] = key("texts", (), "Columns by whose values the numbers are also given.")
    sets: Mapping[str, Mapping[str, str]] = key(
        "maps",
        {},
        "Further held-out sets, compared like the main one: `{name: {source: ..., where: ...}}`.",
        inner={
            "source": "Where its rows come from, as `data.source`.",
            "where": "Which of them to take, as `data.where`; `data.where` does not apply here.",
            "sha256": "The SHA-256 its one file must have.",
        },
    )
    safety: Safety = field(default_factory=Safety)


@dataclass(frozen=True, kw_only=True)
class Release:
    """What a candidate that passed the gate still needs."""

    approval: str = key(
        "text",
        "auto",
        "`required`: it waits until somebody approves it; `auto`: it goes on at once.",
        choices=("auto", "required"),
    )
    merge: bool = key(
        "flag",
        False,
        "Whether LoRA is folded into the base: a whole model is released, beside its adapter.",
    )


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """How a release takes over from the one that is live. A plain text is `strategy`."""

    strategy: str = key(
        "text", "switch", "All requests at once, or a rollout: see rollouts.md.",
        choices=("switch", "canary", "shadow", "ab"),
    )  # fmt: skip
    stages: tuple[str, ...] = key(
        "texts", (), "Percent of the requests, growing: `[5%, 25%, 100%]`; by default the strategy's own."
    )
    every_s: float = key("duration", 600.0, "The least time in a stage, e.g. `10m`.", low=0)
    shadow: bool = key("flag", False, "Whether the candidate first gets copies of requests alone.")
    min_requests: int = key(
        "integer", 100, "Requests of the candidate in a stage, and of both for each metric.", low=1
    )
    max_duration_s: float = key(
        "duration", 86_400.0, "After which an undecided rollout is told of; it goes on.", low=1
    )
    alpha: float = key(
        "number",
        0.05,
        "How often, at most, the tests may be wrong in either direction.",
        above=0.0,
        below=0.5,
    )
    margins: Mapping[str, Any] = key(
        "free", {}, "By how much the candidate may be worse, by metric: `{errors: 0.02, slow: 0.05}`."
    )
    metrics: tuple[str, ...] = key(
        "texts", ("errors", "slow"), "What must be shown to be no worse before promotion.",
        choices=("errors", "slow", "feedback", "agreement"),
    )  # fmt: skip
    watched: tuple[str, ...] = key(
        "texts", ("feedback",), "What can roll back, and is not waited for.",
        choices=("errors", "slow", "feedback", "agreement"),
    )  # fmt: skip
    error_budget: int = key(
        "integer", 0, "Failed answers of the candidate that end the rollout; 0: the tests alone say.", low=0
    )
    max_crashes: int = key("integer", 3, "The end of its runtime that rolls it back.", low=1)
    slow_ms: float = key(
        "number", 0.0, "A slow answer takes longer; 0 goes by what the live release takes.", low=0.0
    )
    min_agreement: float = key(
        "number",
        0.9,
        "For `agreement`: the part of copies that should be answered alike.",
        above=0.0,
        below=1.0,
    )
    sticky: tuple[str, ...] = key(
        "texts", (), "Headers that keep a user with one release, the first that a request has."
    )


@dataclass(frozen=True, kw_only=True)
class Deploy:
    """Where and how a release that passed the gate is served."""

    endpoint: str = key("text", "", "The endpoint's name; by default the project's `name`.", pattern=NAME)
    runtime: str = key(
        "text", "llamacpp", "What serves the model; with `train.entry` it is `pyfunc`.",
        choices=("llamacpp", "transformers", "pyfunc", "vllm"),
    )  # fmt: skip
    on: str = key(
        "text",
        "here",
        "Where it is served: on this machine, or on a cluster.",
        choices=("here", "kubernetes"),
    )
    entry: str = key(
        "text", "", "For `pyfunc`: what gives the object with `predict`, e.g. `serve.py:load`.", pattern=ENTRY
    )
    port: int = key(
        "integer",
        0,
        "The endpoint's port; 0 takes the first free one from 8100 and keeps it.",
        low=0,
        high=65535,
    )
    keep_s: float = key("duration", 1800.0, "How long the previous revision stays warm, e.g. `30m`.", low=0)
    max_concurrent: int = key(
        "integer", 0, "Requests one revision is asked at once; 0: as many as come.", low=0, high=65536
    )
    max_queue: int = key(
        "integer",
        100,
        "Requests that may wait for a place; one more is answered with 429.",
        low=0,
        high=65536,
    )
    queue_timeout_s: float = key(
        "duration", 10.0, "How long one waits for a place before it is answered with 429.", above=0, high=3600
    )
    keep_bodies: float = key(
        "number",
        0.0,
        "The fraction of requests whose bodies and answers are kept, up to 64 KB each; 0 keeps none.",
        low=0.0,
        high=1.0,
    )
    workers: int = key("integer", 1, "Router processes that share the endpoint's port.", low=1, high=64)
    rollout: Rollout = field(default_factory=Rollout)
    vllm: Vllm = field(default_factory=Vllm)
    kubernetes: Standing = field(default_factory=Standing)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When the project runs by itself: `cron` or `every`. A plain text is `cron`."""

    cron: str = key(
        "text",
        "",
        "A line of a crontab, with or without seconds in front, or `@daily`, `@hourly`, `@every 6h`.",
    )
    timezone: str = key("text", "UTC", "The zone of `cron`, by its IANA name, e.g. `Europe/Berlin`.")
    every_s: float = key("duration", 0.0, "The time between two runs, e.g. `6h`.", low=60, high=MAX_EVERY_S)


DETECTORS: Final = (
    "prompt_length", "prompt_script", "prompt_new_words", "prompt_words", "input_numbers",
    "output_label", "output_number", "output_length", "confidence", "feedback", "errors",
)  # fmt: skip
"""What drift is looked for in; see docs/drift.md."""


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How live requests are compared with earlier ones."""

    every_s: float = key(
        "duration", 3600.0, "The time between two looks, e.g. `1h`.", low=10, high=MAX_EVERY_S
    )
    settle_s: float = key(
        "duration", 60.0, "How old a request must be to count: longer than its answer takes.",
        low=1, high=86_400,
    )  # fmt: skip
    window: int = key(
        "integer", 1000, "Requests in a window; the reference has twice as many.", low=100, high=20_000
    )
    alpha: float = key(
        "number",
        0.05,
        "The chance of any false alarm within 30 days, over all looks and detectors.",
        low=0.01,
        high=0.5,
    )
    detectors: tuple[str, ...] = key(
        "texts", DETECTORS, "What is compared; an empty list looks at nothing.", choices=DETECTORS
    )
    retrain: bool = key("flag", False, "Whether an alert starts a run of the project.")
    retrain_every_s: float = key(
        "duration", 86_400.0, "At most one such run in this time.", low=60, high=MAX_EVERY_S
    )


@dataclass(frozen=True, kw_only=True)
class Monitor:
    """What is kept of the endpoint's traffic, and how it is watched."""

    keep_s: float = key("duration", 30 * 86_400.0, "How long requests are kept, e.g. `30d`.", low=86_400)
    keep_bytes: int = key(
        "integer", 4_000_000_000, "How much disk they take at most; beyond it the oldest go.", low=1_000_000
    )
    drift: Drift = field(default_factory=Drift)


@dataclass(frozen=True, kw_only=True)
class Project:
    """All that one project file says, with defaults filled in and paths made absolute."""

    name: str = key("text", REQUIRED, "The model's name: releases are `name@version`.", pattern=NAME)
    data: Data
    base_model: str = key(
        "text",
        "",
        "What is fine-tuned: an alias (`gemma-3-270m`), a hub id or `hf://`, a folder or `.gguf` here or in "
        "a bucket.",
    )
    train: Train = field(default_factory=Train)
    evaluate: Evaluate = field(default_factory=Evaluate)
    gate: tuple[str, ...] = key("texts", (), "Rules a candidate must pass, e.g. `accuracy >= 0.80`.")
    release: Release = field(default_factory=Release)
    deploy: Deploy = field(default_factory=Deploy)
    monitor: Monitor = field(default_factory=Monitor)
    schedule: Schedule = field(default_factory=Schedule)
    notify: tuple[Target, ...] = key(
        "targets", (), "Who is told what happens: URLs, their secrets named, e.g. `${SLACK_URL}`."
    )
    on: On = field(default_factory=On)
    code: Mapping[str, str] = field(default_factory=dict)
    """The Python files of the project's folder, path to text, where an entry names one. No key."""

    def value(self, dotted: str) -> Any:
        """The value at a dotted path, as JSON has it: `value("train.r")`, `value("data.map")`,
        `value("deploy")`.

        Raises: KeyError for a path that no key has.
        """
        found: Any = self
        for part in dotted.split("."):
            if isinstance(found, Mapping) and part in found:
                found = found[part]
            elif is_dataclass(found) and part in {entry.name for entry in fields(found)}:
                found = getattr(found, part)
            else:
                raise KeyError(dotted)
        return _plain(found)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {entry.name: _plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, tuple) else value


SPELLED = {
    "keep_s": "keep", "every_s": "every", "queue_timeout_s": "queue_timeout",
    "max_duration_s": "max_duration", "retrain_every_s": "retrain_every", "settle_s": "settle",
    "start_timeout_s": "start_timeout", "timeout_s": "timeout", "startup_timeout_s": "startup_timeout",
    "upload_time_s": "upload_time",
}  # fmt: skip
"""Fields that are written otherwise in the file."""

SECTIONS: Mapping[str, type] = {
    "": Project, "data": Data, "data.split": Split, "train": Train, "evaluate": Evaluate,
    "evaluate.safety": Safety, "release": Release, "deploy": Deploy, "deploy.rollout": Rollout,
    "deploy.vllm": Vllm, "deploy.kubernetes": Standing,
    "monitor": Monitor, "monitor.drift": Drift, "schedule": Schedule,
    "on": On, "on.kubernetes": Kubernetes, "on.airflow": Airflow,
}  # fmt: skip

SHORT: Mapping[str, str] = {"schedule": "schedule.cron", "deploy.rollout": "deploy.rollout.strategy"}
"""Sections that may be one plain text, and the key that it gives."""


def _keys(section: str, kind: type) -> Iterator[Key]:
    for entry in fields(kind):
        path = f"{section}.{entry.name}".lstrip(".")
        if path in SECTIONS:
            yield from _keys(path, SECTIONS[path])
        elif entry.metadata:
            written = f"{section}.{SPELLED.get(entry.name, entry.name)}".lstrip(".")
            yield Key(written, **entry.metadata)


KEYS: Mapping[str, Key] = {key.path: key for key in _keys("", Project)}
"""Every key, by dotted path, in the file's order."""
