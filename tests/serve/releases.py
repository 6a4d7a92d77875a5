"""A tiny release for tests: a random base, a random adapter whose effect shows, a package, a test split."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tests.tiny import movie_rows, tiny_base, write_split

from tuneline.spec.template import Template
from tuneline.steps import package, verify
from tuneline.steps.io import Step

TEMPLATE = Template("Review: {text}\nSentiment:", " {label}")
_SHAPES = {  # of the tiny Gemma 3 and Llama: hidden 64, heads of 16, feed-forward 128; (in, out)
    "self_attn.q_proj": (64, 64),
    "self_attn.o_proj": (64, 64),
    "mlp.gate_proj": (64, 128),
    "mlp.up_proj": (64, 128),
    "mlp.down_proj": (128, 64),
}


def lora_weights(kv: int, layers: int = 2, rank: int = 4, seed: int = 0) -> dict[str, np.ndarray]:
    """PEFT's tensors of a random adapter; `kv` is the width of keys and values."""
    chance = np.random.default_rng(seed)
    shapes = {**_SHAPES, "self_attn.k_proj": (64, kv), "self_attn.v_proj": (64, kv)}
    found = {}
    for layer in range(layers):
        for module, (size_in, size_out) in shapes.items():
            key = f"base_model.model.model.layers.{layer}.{module}"
            found[f"{key}.lora_A.weight"] = chance.normal(0, size_in**-0.5, (rank, size_in)).astype(
                np.float32
            )
            found[f"{key}.lora_B.weight"] = chance.normal(0, 0.15, (size_out, rank)).astype(np.float32)
    return found


def write_adapter(folder: Path, base: Path, *, kv: int, **facts: Any) -> Path:
    """A PEFT folder with tuneline.json, as `tune` writes it."""
    folder.mkdir(parents=True)
    save_file(lora_weights(kv), folder / "adapter_model.safetensors")
    modules = sorted({"k_proj", "v_proj", *(name.split(".")[1] for name in _SHAPES)})
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": 4,
        "lora_alpha": 8,
        "target_modules": modules,
    }
    write_json(folder / "adapter_config.json", settings)
    about = json.loads((base / "base.json").read_text())
    trained = {
        "method": "lora",
        "base": about,
        "tokenizer_hash": about["tokenizer_hash"],
        "template": {"prompt": TEMPLATE.prompt, "completion": TEMPLATE.completion},
        "template_hash": TEMPLATE.hash,
        "format": "prompt",
        "labels": ["negative", "positive"],
        "recipe": {"r": 4, "lora_alpha": 8, "max_length": 128},
        "rows": 4,
        "init": "",
    }
    write_json(folder / "tuneline.json", {**trained, **facts})
    return folder


def write_test_split(folder: Path, rows: int = 80, **info: Any) -> Path:
    """A held-out split whose info.json has the true template hash."""
    write_split(folder, movie_rows(rows))
    about = json.loads((folder / "info.json").read_text())
    write_json(folder / "info.json", {**about, "template_hash": TEMPLATE.hash, **info})
    return folder


def make_release(folder: Path, family: str = "llama") -> Path:
    """In `folder`: base, adapter, served, test and package of one tiny release."""
    base = tiny_base(folder / "base", family)
    adapter = write_adapter(folder / "adapter", base, kv=16 if family == "gemma3" else 32)
    test = write_test_split(folder / "test")
    verify.make_served(verify.Subject("llamacpp", base, adapter, folder / "served", test))
    write_package(folder, folder / "package")
    return folder


def write_package(release: Path, target: Path, live: Mapping[str, float] | None = None) -> Path:
    """The package of a release made by `make_release`; `live`: the scores of what it was compared with."""
    data = {
        "read": 100,
        "kept": 90,
        "train": 80,
        "test": 10,
        "dropped": {"blank": 2},
        "data_digest": "sha256:00",
    }
    write_json(release / "data.json", data)
    scores = {"accuracy": 0.84, "f1": 0.83, "ece": 0.02, "log_loss": 0.4}
    report = {
        "task": "classify",
        "rows": 10,
        "candidate": scores,
        "base": {**scores, "accuracy": 0.5},
        "live": live,
    }
    write_json(release / "report.json", report)
    inputs = {name: release / name for name in ("base", "adapter", "served")}
    inputs |= {
        "train": release / "test",
        "data_report": release / "data.json",
        "report": release / "report.json",
    }
    package.run(make_step({"model": "tiny"}, inputs, {"package": target}))
    return target


def make_step(parameters: Mapping[str, Any], inputs: Mapping[str, Path], outputs: Mapping[str, Path]) -> Step:
    """A step whose own files lie beside its first output."""
    beside = next(iter(outputs.values())).parent
    return Step(parameters, inputs, {}, outputs, beside / "state", beside / "output.json")


def write_json(path: Path, value: Any) -> None:
    """A JSON file."""
    path.write_text(json.dumps(value))
