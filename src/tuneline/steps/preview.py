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
from tuneline.steps.choosing import TEST, TRAIN, by_hash
from tuneline.steps.downloads import Desk
from tuneline.steps.fetch import fetch
from tuneline.steps.prepare import Prepared, prepare, recipe_of
from tuneline.steps.shapes import written
from tuneline.steps.tables import INDEX
from tuneline.train.base_models import make_base
from tuneline.train.rows import encode_answer, encode_pairs
from tuneline.train.tokenizer import FILES, Tokenizer, load, render_chat

SHOWN_CHARACTERS = 300
"""Of a dropped row."""


@dataclass(frozen=True)
class Token:
    """One token of a row."""

    id: int
    text: str
    """The part of the row's text it stands for; a special token's name; "" for the further bytes of one
    character.
    """
    trained: bool
    """Whether the model learns it, or only reads it."""


@dataclass(frozen=True)
class PreviewRow:
    """One row as it is trained on, or held out."""

    number: int
    """From 1, over all files; a header is not counted."""
    side: str
    """`train` or `test`."""
    label: str | None
    tokens: tuple[Token, ...]

    @property
    def text(self) -> str:
        """The whole row, special tokens by name."""
        return "".join(token.text for token in self.tokens)


@dataclass(frozen=True)
class DroppedRow:
    """One row that is not used."""

    number: int
    reason: str
    fields: Mapping[str, str | None]
    """The columns the project reads, cut at `SHOWN_CHARACTERS`."""


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
            make_base(base_model, made, notes.append, offline=settings.offline)
            only.mkdir()
            for file in FILES:
                if (made / file).is_file():
                    shutil.copyfile(made / file, only / file)
            if not kept.is_dir():
                only.rename(kept)
    return load(kept)


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
    reasons = {number: reason for reason, found in prepared.choice.examples().items() for number in found}
    names = [name for name in prepared.recipe.wanted() if name in prepared.table.schema]
    if not reasons or not names:
        return ()
    cut = [_cut(name, prepared.table.schema[name]) for name in names]
    rows = prepared.table.frame.filter((pl.col(INDEX) + 1).is_in(sorted(reasons))).select(INDEX, *cut)
    return tuple(
        DroppedRow(row[INDEX] + 1, reasons[row[INDEX] + 1], {name: row[name] for name in names})
        for row in rows.collect(engine="streaming").iter_rows(named=True)
    )


def _cut(name: str, kind: pl.DataType) -> pl.Expr:
    if kind.is_nested():
        return pl.when(pl.col(name).is_not_null()).then(pl.lit("...")).alias(name)
    return pl.col(name).cast(pl.String, strict=False).str.slice(0, SHOWN_CHARACTERS)
