"""A further held-out set: all of its rows but those that are trained on, with what it was made of."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.steps.rows import REVIEWS, byte_tokenizer, made, reviews, write_csv
from tests.steps.test_prepare_rows import flows, prepared

from tuneline.errors import DataError
from tuneline.steps import prepare_rows_set, prepare_set
from tuneline.steps.held_out import left_out_of
from tuneline.steps.io import Step


def fetched(folder: Path, write: Any, rows: list[dict[str, Any]]) -> Path:
    (folder / "files").mkdir(parents=True)
    write(folder / "files" / "set.csv", rows)
    about = {"source": "set.csv", "files": [{"path": "files/set.csv", "sha256": "0" * 64}]}
    (folder / "source.json").write_text(json.dumps(about))
    return folder


def step(folder: Path, parameters: dict[str, Any], **inputs: Path) -> Step:
    outputs = {name: folder / "set" / name for name in ("test", "report")}
    (folder / "set").mkdir()
    return Step(parameters, inputs, {}, outputs, folder / "state", folder / "set" / "out.json")


PARAMETERS: dict[str, Any] = {
    **{
        name: getattr(REVIEWS, name) for name in ("map", "columns", "format", "prompt", "completion", "label")
    },
    **{"where": "", "keep": [], "task": "classify", "max_length": 512},
}


def test_rows_that_are_trained_on_are_dropped_and_counted_and_one_label_is_enough(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare_set, "load", lambda _: byte_tokenizer())
    done = made(write_csv(tmp_path / "main.csv", reviews(100)), tmp_path)
    trained = pl.read_parquet(tmp_path / "train" / "rows.parquet")["row"]
    rows = [row for row in reviews(120) if row["label"] == "pos"]
    data = fetched(tmp_path / "data", write_csv, [*rows, rows[-1]])
    one = step(tmp_path, PARAMETERS, data=data, train=tmp_path / "train", base=tmp_path)
    prepare_set.run(one)
    kept = pl.read_parquet(one.outputs["test"] / "rows.parquet")
    report = json.loads(one.outputs["report"].read_text())
    info = json.loads((one.outputs["test"] / "info.json").read_text())
    assert not set(kept["row"]) & set(trained)
    assert report["read"] == 61 == report["test"] + sum(report["dropped"].values())
    assert (len(kept), report["dropped"]["duplicate"]) == (report["test"], 1)
    assert left_out_of(info) == report["dropped"]["trained"] > 30
    assert info["labels"] == ["neg", "pos"]  # what it can answer: those of training
    assert info["set"] == report
    assert info["template_hash"] == done.report["template_hash"]


def test_a_set_of_nothing_but_training_rows_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare_set, "load", lambda _: byte_tokenizer())
    made(write_csv(tmp_path / "main.csv", reviews(60)), tmp_path)
    texts = set(pl.read_parquet(tmp_path / "train" / "rows.parquet")["prompt"])
    rows = [row for row in reviews(60) if any(row["text"] in text for text in texts)]
    data = fetched(tmp_path / "data", write_csv, rows)
    with pytest.raises(DataError, match="No row of this held-out set is left"):
        prepare_set.run(step(tmp_path, PARAMETERS, data=data, train=tmp_path / "train", base=tmp_path))


def test_rows_for_own_code_are_held_out_as_they_are(tmp_path):
    _, train, _ = prepared(tmp_path, flows(60))

    def write(path: Path, rows: list[dict[str, Any]]) -> None:
        path.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    data = fetched(tmp_path / "data", write, flows(90))
    names = ("map", "columns", "types")
    given = {
        **dict.fromkeys(names, {}),
        "where": "n >= 10",
        "label": "y",
        "keep": ["word"],
        "task": "classify",
    }
    one = step(tmp_path, given, data=data, train=tmp_path / "train")
    prepare_rows_set.run(one)
    rows = [json.loads(line) for line in (one.outputs["test"] / "rows.jsonl").read_text().splitlines()]
    assert rows == [row for row in flows(90) if row["n"] >= 10 and row not in train]
    info = json.loads((one.outputs["test"] / "info.json").read_text())
    assert left_out_of(info) == sum(row["n"] >= 10 for row in train)
    assert len(info["proof"]) == min(64, len(rows))
    assert pl.read_parquet(one.outputs["test"] / "rows.parquet").columns == ["row", "label", "keep_word"]
