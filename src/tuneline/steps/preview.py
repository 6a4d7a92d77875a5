"""`tuneline data preview`: rows as the model will see them, before anything is trained.

It fetches and prepares as a run would, into a folder that goes away, and returns values; the CLI draws
them. The first
time a base is looked at it is converted for its tokenizer, which is then kept with the downloads.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tuneline.plan.components import PREPARE
from tuneline.settings import Settings
from tuneline.spec.project import Loaded, Project
from tuneline.steps.base_source import is_remote
from tuneline.steps.choosing import TEST, TRAIN, by_hash
from tuneline.steps.downloads import Desk
from tuneline.steps.fetch import fetch
from tuneline.steps.own_preview import own_dropped, own_rows
from tuneline.steps.prepare import Prepared, prepare, recipe_of
from tuneline.steps.preview_rows import DroppedRow, PreviewRow, Token, dropped_rows
from tuneline.steps.remote_base import fetch_tokenizer, make_remote_base
from tuneline.steps.shapes import written
from tuneline.steps.tables import INDEX
from tuneline.train.base_models import make_base
from tuneline.train.rows import encode_answer, encode_pairs
from tuneline.train.tokenizer import FILES, Tokenizer, load, render_chat


@dataclass(frozen=True)
class Preview:
    """What a run would train on."""

    rows: tuple[PreviewRow, ...]
    dropped: tuple[DroppedRow, ...]
    """The first few for each reason."""
    report: Mapping[str, Any]
    """As the `prepare` step writes it."""
    notes: tuple[str, ...]
    """What a user should know, e.g. that a copy was used."""


def preview(loaded: Loaded, limit: int) -> Preview:
    """`limit` training rows (those with the smallest hash), one held-out row, and examples of what was
    dropped.

    Raises: what `fetch` and `prepare` raise; ModelError, NotFoundError or MissingPartError for the base.
    """
    settings = Settings.from_env(os.environ)
    notes: list[str] = []
    project = loaded.project
    desk = Desk(settings.downloads, os.environ, project.data.sha256, settings.offline, notes.append)
    settings.home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="preview-", dir=settings.home) as name:
        fetch(project.data.source, desk, Path(name) / "data")
        if project.train.entry:
            rows, shown = own_rows(project, sorted((Path(name) / "data" / "files").iterdir()), limit)
            return Preview(shown, own_dropped(rows), rows.report, tuple(notes))
        tokenizer = _tokenizer(project.base_model, settings, notes)
        prepared = prepare(
            sorted((Path(name) / "data" / "files").iterdir()),
            recipe_of(_parameters(project)),
            test=project.data.split.test,
            limit=project.data.limit,
            tokenizer=tokenizer,
            max_length=project.train.max_length,
        )
        return Preview(_rows(prepared, tokenizer, limit), _dropped(prepared), prepared.report, tuple(notes))


def _parameters(project: Project) -> dict[str, Any]:
    return {param.name: project.value(param.field) for param in PREPARE.params}


def _tokenizer(base_model: str, settings: Settings, notes: list[str]) -> Tokenizer:
    """The tokenizer of a base, kept by what the base is: its name, or its file's path, size and time."""
    path = Path(base_model)
    version = f"{path.stat().st_size} {path.stat().st_mtime_ns}" if path.exists() else ""
    key = hashlib.sha256(f"{base_model} {version}".encode()).hexdigest()[:32]
    kept = settings.downloads / "tokenizers" / key
    if not kept.is_dir():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as name:
            made, only = Path(name) / "base", Path(name) / "tokenizer"
            only.mkdir()
            _make_tokenizer(base_model, made, only, settings, notes)
            if not kept.is_dir():
                only.rename(kept)
    return load(kept)


def _make_tokenizer(base_model: str, made: Path, only: Path, settings: Settings, notes: list[str]) -> None:
    """Put a base's tokenizer into `only`; the base itself, where it takes one, goes to `made`."""
    if is_remote(base_model):
        desk = Desk(settings.downloads, os.environ, offline=settings.offline, note=notes.append)
        if fetch_tokenizer(base_model, only, desk):
            return
        make_remote_base(base_model, made, desk)
    else:
        make_base(base_model, made, notes.append, offline=settings.offline)
    for file in FILES:
        if (made / file).is_file():
            shutil.copyfile(made / file, only / file)


def _rows(prepared: Prepared, tokenizer: Tokenizer, limit: int) -> tuple[PreviewRow, ...]:
    found = []
    for side, name, count in ((TRAIN, "train", limit), (TEST, "test", 1)):
        chosen = by_hash(prepared.survey, prepared.choice.rows(side))[:count]
        rows = written(prepared.table, prepared.recipe).filter(pl.col(INDEX).is_in(np.sort(chosen).tolist()))
        for row in rows.collect(engine="streaming").iter_rows(named=True):
            found.append(PreviewRow(row[INDEX] + 1, name, row["label"], tokens_of(row, tokenizer)))
    return tuple(found)


def tokens_of(row: Mapping[str, Any], tokenizer: Tokenizer) -> tuple[Token, ...]:
    """The tokens of a prepared row (`prompt` and `completion`, or `messages`), as the trainer makes them."""
    if row["messages"] is not None:
        messages = json.loads(row["messages"])
        example, chat = encode_answer(tokenizer, messages), True
        text = render_chat(tokenizer, messages, generate=False)
    else:
        example, chat = encode_pairs(tokenizer, [row["prompt"]], [row["completion"]])[0], False
        end = tokenizer.eos_token
        text = row["prompt"] + row["completion"] + ("" if row["completion"].endswith(end) else end)
    encoded = tokenizer.backend.encode(text, add_special_tokens=not chat)
    spans = [(-1, -1), *encoded.offsets]
    shown = []
    for at, (start, stop) in enumerate(encoded.offsets):
        part = "" if (start, stop) == spans[at] else text[start:stop]
        shown.append(encoded.tokens[at] if encoded.special_tokens_mask[at] and start == stop else part)
    return tuple(
        Token(id, part, at >= example.learned_from)
        for at, (id, part) in enumerate(zip(encoded.ids, shown, strict=True))
    )


def _dropped(prepared: Prepared) -> tuple[DroppedRow, ...]:
    return dropped_rows(prepared.table, prepared.choice.examples(), list(prepared.recipe.wanted()))
