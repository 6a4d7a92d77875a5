"""The model card of a package: Hugging Face's front matter and a page a person can read.

Pure, and without any time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml


@dataclass(frozen=True)
class Facts:
    """What a card is written from."""

    model: str
    base: Mapping[str, Any]
    """base.json."""
    trained: Mapping[str, Any]
    """tuneline.json of the adapter."""
    data: Mapping[str, Any]
    """The prepare report."""
    evaluation: Mapping[str, Any]
    """The report of `score`: candidate and base, nothing of what is live."""


def card(facts: Facts) -> str:
    """README.md."""
    front = yaml.safe_dump(front_matter(facts), sort_keys=False, allow_unicode=True).strip()
    parts = [
        _introduction(facts),
        _prompting(facts),
        _data(facts),
        _recipe(facts),
        _evaluation(facts),
        _use(facts),
    ]
    return f"---\n{front}\n---\n\n" + "\n\n".join(part for part in parts if part) + "\n"


def merged_card(model: str, base: Mapping[str, Any], trained: Mapping[str, Any]) -> str:
    """README.md of a merged folder: what it is and how it is asked. The numbers are in the package's."""
    facts = Facts(model, base, trained, {}, {})
    matter = {**front_matter(facts), "base_model_relation": "finetune", "library_name": "transformers"}
    front = yaml.safe_dump(matter, sort_keys=False, allow_unicode=True).strip()
    how = (
        "The LoRA adapter is folded into these weights, computed in float32 and rounded once to bfloat16:\n\n"
        "```python\nfrom transformers import AutoModelForCausalLM\n\n"
        "model = AutoModelForCausalLM.from_pretrained(folder)\n```"
    )
    parts = [_introduction(facts).replace("A LoRA adapter for", "A fine-tuning of"), _prompting(facts)]
    return f"---\n{front}\n---\n\n" + "\n\n".join([*parts, _recipe(facts), f"## Use\n\n{how}"]) + "\n"


def front_matter(facts: Facts) -> dict[str, Any]:
    """The card's YAML, by the names of huggingface_hub's ModelCardData."""
    lora = facts.trained["method"] == "lora"
    matter: dict[str, Any] = {
        "base_model": facts.base["name"],
        "base_model_relation": "adapter" if lora else "finetune",
        "library_name": "peft" if lora else "transformers",
        "pipeline_tag": "text-generation",
        "tags": [
            "tuneline",
            *(["lora"] if lora else []),
            *(["text-classification"] if facts.trained["labels"] else []),
        ],
    }
    if facts.base.get("license"):
        matter = {"license": facts.base["license"], **matter}
    metrics = _metrics(facts)
    if metrics:
        task = "text-classification" if facts.trained["labels"] else "text-generation"
        result = {
            "task": {"type": task},
            "dataset": {"name": f"{facts.model}, held out", "type": facts.model},
            "metrics": [{"type": name, "value": value} for name, value in metrics],
        }
        matter["model-index"] = [{"name": facts.model, "results": [result]}]
    return matter


def _metrics(facts: Facts) -> list[tuple[str, float]]:
    candidate = facts.evaluation.get("candidate") or {}
    names = ("accuracy", "f1", "ece", "log_loss", "exact_match", "rouge_l", "chrf")
    return [(name, round(float(candidate[name]), 6)) for name in names if candidate.get(name) is not None]


def _introduction(facts: Facts) -> str:
    how = "A LoRA adapter for" if facts.trained["method"] == "lora" else "A full fine-tuning of"
    labels = ", ".join(f"`{label}`" for label in facts.trained["labels"])
    says = f" It answers with one of: {labels}." if labels else ""
    terms = (
        f"\n\nThe base model's licence applies: {facts.base['license']}." if facts.base.get("license") else ""
    )
    return f"# {facts.model}\n\n{how} {facts.base['name']}.{says}{terms}"


def _prompting(facts: Facts) -> str:
    template = facts.trained.get("template") or {}
    if not template.get("prompt"):
        return "## Prompt\n\nIt was trained on conversations, written by the base model's own chat template."
    return (
        "## Prompt\n\nIt was trained on exactly this text, to the space; `template.json` has its hash.\n\n"
        f"```\n{template['prompt']}\n```\n\nAnd answers with `{template.get('completion', '')}`."
    )


def _data(facts: Facts) -> str:
    data = facts.data
    rows = [f"- rows read: {data['read']}, trained on: {data['train']}, held out: {data['test']}"]
    dropped = {reason: count for reason, count in sorted(data.get("dropped", {}).items()) if count}
    rows += [f"- dropped, {reason}: {count}" for reason, count in dropped.items()]
    return "## Data\n\n" + "\n".join(rows) + "\n\n`rows.txt` has the hash of every row it was trained on."


def _recipe(facts: Facts) -> str:
    lines = [f"| {name} | {value} |" for name, value in sorted(facts.trained["recipe"].items())]
    return "## Recipe\n\n| setting | value |\n|---|---|\n" + "\n".join(lines)


def _evaluation(facts: Facts) -> str:
    report = facts.evaluation
    # not `live`: what it was compared with is no part of a release, and would make equal content differ
    columns = [(who, report[who]) for who in ("candidate", "base") if report.get(who)]
    if not columns:
        return ""
    names = [name for name in ("accuracy", "f1", "ece", "log_loss") if name in columns[0][1]]
    head = "| metric | " + " | ".join(who for who, _ in columns) + " |\n" + "|---" * (len(columns) + 1) + "|"
    rows = [
        f"| {name} | " + " | ".join(_number(found.get(name)) for _, found in columns) + " |" for name in names
    ]
    return f"## Evaluation\n\nOn {report['rows']} held-out rows.\n\n{head}\n" + "\n".join(rows)


def _use(facts: Facts) -> str:
    if facts.trained["method"] != "lora":
        return ""
    return (
        "## Use\n\n`adapter/` is a PEFT adapter; `served/adapter.gguf`, the same for llama.cpp:\n\n"
        "```python\nfrom peft import PeftModel\n\n"
        'model = PeftModel.from_pretrained(base_model, "adapter")\n```'
    )


def _number(value: Any) -> str:
    return "-" if value is None else f"{float(value):.4f}"
