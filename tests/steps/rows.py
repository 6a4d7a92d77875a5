"""Rows into files, prepared, and out again, for the tests of `prepare`; and a small real tokenizer."""

import csv
import json
from pathlib import Path
from typing import Any

import polars as pl
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, processors

from tuneline.steps.prepare import prepare, write
from tuneline.steps.shapes import Recipe
from tuneline.train.tokenizer import Tokenizer

REVIEWS = Recipe(prompt="Review: {text}\nSentiment:", completion=" {label}")


def byte_tokenizer(chat_template: str = "") -> Tokenizer:
    """One token a byte, with BOS; so a length is known without running it."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: at for at, piece in enumerate(["<bos>", "<eos>", *letters])}
    backend = Backend(models.BPE(vocabulary, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.add_special_tokens(["<bos>", "<eos>"])
    backend.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])
    return Tokenizer(backend, {"bos_token": "<bos>", "eos_token": "<eos>"}, chat_template)


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A CSV as Python writes it."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


class Made:
    """What `prepare` wrote."""

    def __init__(self, folder: Path, report: dict[str, Any]) -> None:
        self.folder, self.report = folder, report
        self.train = pl.read_parquet(folder / "train/rows.parquet")
        self.test = pl.read_parquet(folder / "test/rows.parquet")
        self.info = json.loads((folder / "train/info.json").read_text())

    @property
    def dropped(self) -> dict[str, int]:
        """Counts by reason."""
        return dict(self.report["dropped"])


def made(
    files: Path | list[Path], out: Path, recipe: Recipe = REVIEWS, *, test: float = 0.2, limit: int = 0,
    tokenizer: Tokenizer | None = None, max_length: int = 512,
) -> Made:  # fmt: skip
    """Prepare files and write both sides."""
    paths = files if isinstance(files, list) else [files]
    prepared = prepare(paths, recipe, test=test, limit=limit, tokenizer=tokenizer, max_length=max_length)
    report = write(prepared, out / "train", out / "test", max_length)
    assert report["read"] == report["train"] + report["test"] + sum(report["dropped"].values())
    return Made(out, report)


def reviews(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Distinct rows of two labels."""
    return [
        {"text": f"film number {at} was {'good' if at % 2 else 'bad'}", "label": "pos" if at % 2 else "neg"}
        for at in range(start, start + count)
    ]
