"""Small projects: reviews made up by rule, a tiny random base as a GGUF, a project file in a folder."""

import csv
from pathlib import Path
from typing import Any

import yaml
from tests.tiny import movie_rows, tiny_gguf

TRAIN = {
    "r": 4,
    "lora_alpha": 8,
    "learning_rate": 0.02,
    "num_train_epochs": 2,
    "per_device_train_batch_size": 16,
    "dtype": "float32",
    "save_steps": 5,
}
"""A recipe by which the tiny base learns these reviews whole, in a second."""


def write_reviews(path: Path, rows: int = 480) -> Path:
    """`rows` distinct reviews, `text,label`, half of them good; one word decides."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label"])
        writer.writeheader()
        writer.writerows(movie_rows(rows))
    return path


def write_project(folder: Path, **changes: Any) -> Path:
    """A project over reviews and a base of its own, both beside it. `changes` replace whole sections."""
    folder.mkdir(parents=True, exist_ok=True)
    if "data" not in changes:
        write_reviews(folder / "reviews.csv")
    if "base_model" not in changes:
        tiny_gguf(folder / "tiny.gguf", "gemma3")
    project = {
        "name": folder.name,
        "data": {
            "source": "reviews.csv",
            "prompt": "Review: {text}\nSentiment:",
            "completion": " {label}",
            "split": {"test": 0.25},
        },
        "base_model": str(folder / "tiny.gguf"),
        "train": TRAIN,
        "evaluate": {"task": "classify", "metrics": ["accuracy", "f1", "confusion_matrix"]},
        "gate": ["accuracy >= 0.80", "noninferior(accuracy, live, margin=0.1)"],
        "deploy": {"endpoint": folder.name},
    }
    project.update(changes)
    (folder / "tuneline.yaml").write_text(yaml.safe_dump(project, sort_keys=False), encoding="utf-8")
    return folder
