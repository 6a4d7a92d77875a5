"""Brings a base model from the hub or a bucket, its files fetched like data. Used by `base` and the preview.

Limits: one folder in Hugging Face's layout (`config.json`, safetensors, tokenizer), or one `.gguf`.
"""

import shutil
from pathlib import Path
from typing import Any

from tuneline.steps.base_source import SUFFIXES, name_of, source_of
from tuneline.steps.downloads import Desk
from tuneline.steps.placing import place
from tuneline.train.base_models import make_base
from tuneline.train.tokenizer import FILES


def make_remote_base(base_model: str, folder: Path, desk: Desk) -> dict[str, Any]:
    """Make the base at an address, in `folder`, which must not exist. Returns what base.json says.

    Raises: as `remote.fetch` and `make_base`.
    """
    found = source_of(base_model).fetch(base_model, desk, SUFFIXES)
    raw = folder.with_name(f"{folder.name}.fetched")
    shutil.rmtree(raw, ignore_errors=True)
    raw.mkdir(parents=True)
    for file in found.files:
        place(file, raw / file.name)
    single = found.files[0].name.endswith(".gguf")
    made = raw / found.files[0].name if single else raw
    facts = make_base(str(made), folder, desk.note, name=name_of(base_model), source=base_model)
    shutil.rmtree(raw)
    return facts


def fetch_tokenizer(base_model: str, folder: Path, desk: Desk) -> bool:
    """Put the tokenizer of the model at an address into `folder`. False if it is inside a `.gguf`.

    Raises: as `remote.fetch`.
    """
    if base_model.endswith(".gguf"):
        return False
    for file in source_of(base_model).fetch(base_model, desk, FILES, "tokenizer").files:
        place(file, folder / file.name)
    return True
