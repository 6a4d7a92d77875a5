"""The step `package` of a project with own code: everything a release is, in one folder, the same to the byte
for the same content.

    model/       the model's folder, as `train.entry` wrote it
    served/      code/: the project's files and tuneline.json (entry, requirements, an example row);
                 requirements.txt
    rows.txt     the hash of every row it was trained on
    README.md    how it was made, how it is asked
    manifest.json
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from tuneline.execute.files import digest_path
from tuneline.serve import package
from tuneline.serve.loading import read_json
from tuneline.serve.own_card import own_card
from tuneline.serve.pyfunc import ABOUT
from tuneline.serve.pyfunc_program import CODE, MODEL
from tuneline.steps.io import Step
from tuneline.types import digest_bytes, digest_json


def run(step: Step) -> None:
    """Parameters: model, params, task. Inputs: trained, served, train, data_report. Puts out package."""
    inputs, folder = step.inputs, step.outputs["package"]
    folder.mkdir(parents=True)
    shutil.copytree(inputs["trained"], folder / MODEL)
    shutil.copytree(inputs["served"], folder / "served")
    rows = "".join(
        f"{row}\n" for row in sorted(set(pl.read_parquet(inputs["train"] / "rows.parquet")["row"]))
    )
    (folder / "rows.txt").write_text(rows, encoding="ascii")
    about, data = read_json(folder / "served" / CODE / ABOUT), read_json(inputs["data_report"])
    found = manifest(step.parameters, about, data, folder, rows)
    (folder / "README.md").write_text(own_card(found, about), encoding="utf-8")
    found["files"] = {path: package.file_digest(folder / path) for path in package.content_files(folder)}
    text = json.dumps(found, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    (folder / package.MANIFEST).write_text(text, encoding="utf-8")


def manifest(
    given: Mapping[str, Any], about: Mapping[str, Any], data: Mapping[str, Any], folder: Path, rows: str
) -> dict[str, Any]:
    """manifest.json but for its list of files."""
    code = digest_path(folder / "served" / CODE)[0]
    recipe = {
        **{f"params.{name}": value for name, value in given["params"].items()},
        "entries": about["entries"],
        "requirements": about["requirements"],
        "code": code.removeprefix("sha256:")[:12],  # a version's reason says what of the recipe changed
    }
    return {
        "schema": package.SCHEMA,
        "model": str(given["model"]),
        "base": {},
        "method": "own code",
        "task": str(given["task"]),
        "labels": list(data["labels"]),
        "template": {},
        "template_hash": "",
        "tokenizer_hash": "",
        "params": given["params"],
        "requirements": about["requirements"],
        "code_digest": code,
        "recipe": recipe,
        "recipe_digest": digest_json(recipe),
        "data_digest": data["data_digest"],
        "train_rows": data["train"],
        "rows_digest": digest_bytes(rows.encode("ascii")),
        "init": "",
        "adapter_digest": digest_path(folder / MODEL)[0],
        "served_digest": digest_path(folder / "served")[0],
    }
