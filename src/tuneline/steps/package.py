"""The step `package`: everything a release is, in one folder, the same to the byte for the same content."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from tuneline.execute.files import digest_path
from tuneline.serve import package
from tuneline.serve.card import Facts, card
from tuneline.serve.loading import read_json
from tuneline.steps.io import Step
from tuneline.train.tokenizer import FILES, tokenizer_hash
from tuneline.types import digest_bytes, digest_json


def run(step: Step) -> None:
    """Parameters: model. Inputs: base, adapter, served, train, data_report, report. Puts out package."""
    inputs, folder = step.inputs, step.outputs["package"]
    trained, base = read_json(inputs["adapter"] / "tuneline.json"), read_json(inputs["base"] / "base.json")
    facts = Facts(
        str(step.parameters["model"]),
        base,
        trained,
        read_json(inputs["data_report"]),
        read_json(inputs["report"]),
    )
    folder.mkdir(parents=True)
    _copy(inputs["adapter"], folder / "adapter")
    _copy(inputs["served"], folder / "served")
    _copy(inputs["base"], folder / "tokenizer", only=FILES)
    template = package.template_of(trained)
    _write_json(folder / "template.json", template)
    rows = "".join(f"{row}\n" for row in sorted(pl.read_parquet(inputs["train"] / "rows.parquet")["row"]))
    (folder / "rows.txt").write_text(rows, encoding="ascii")
    (folder / "README.md").write_text(card(facts), encoding="utf-8")
    _write_json(folder / package.MANIFEST, manifest(facts, template, folder, rows))


def manifest(facts: Facts, template: Mapping[str, str], folder: Path, rows: str) -> dict[str, Any]:
    """manifest.json of the package whose other files are in `folder`."""
    trained = facts.trained
    return {
        "schema": package.SCHEMA,
        "model": facts.model,
        "base": dict(facts.base),
        "method": trained["method"],
        **({"form": "merged"} if (folder / "served" / "merged").is_dir() else {}),
        "labels": list(trained["labels"]),
        "template": {"prompt": template["prompt"], "completion": template["completion"]},
        "template_hash": template["hash"],
        "tokenizer_hash": tokenizer_hash(folder / "tokenizer"),
        "recipe": trained["recipe"],
        "recipe_digest": digest_json(trained["recipe"]),
        "data_digest": facts.data["data_digest"],
        "rows_digest": digest_bytes(rows.encode("ascii")),
        "init": trained.get("init", ""),
        "adapter_digest": digest_path(folder / "adapter")[0],
        "served_digest": digest_path(folder / "served")[0],
        "files": {path: package.file_digest(folder / path) for path in package.content_files(folder)},
    }


def _copy(source: Path, target: Path, only: tuple[str, ...] = ()) -> None:
    """The files of `source`, and of its folders, unless `only` names some."""
    target.mkdir()
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if path.is_file() and (not only or relative.as_posix() in only):
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / relative)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
