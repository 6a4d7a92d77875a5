"""Rows as the model will see them, before anything is trained."""

import json

import pytest
from tests.steps.rows import reviews, write_csv
from tests.tiny import tiny_base

from tuneline.spec.project import load
from tuneline.steps.preview import preview

PROJECT = """name: demo
data:
  {source: "*.csv", where: 'label != "odd"', prompt: "Review: {text}\\nSentiment:", completion: " {label}"}
base_model: ./base
"""


@pytest.mark.slow
def test_tokens_lengths_and_dropped_rows_are_shown(tmp_path, monkeypatch):
    """A tiny base is converted for its tokenizer: a second of torch."""
    monkeypatch.setenv("TUNELINE_HOME", str(tmp_path / "home"))
    folder = tmp_path / "project"
    folder.mkdir()
    tiny_base(folder / "base")
    write_csv(
        folder / "a.csv", [{"text": "strange", "label": "odd"}, {"text": "", "label": "pos"}, *reviews(80)]
    )
    (folder / "tuneline.yaml").write_text(PROJECT)
    loaded = load(folder)
    found = preview(loaded, 3)
    assert [row.side for row in found.rows] == ["train", "train", "train", "test"]
    row = found.rows[0]
    learned = "".join(token.text for token in row.tokens if token.trained)
    read = "".join(token.text for token in row.tokens if not token.trained)
    assert learned.strip().startswith(row.label)
    assert read.endswith("\nSentiment:")
    assert f"Review: film number {row.number - 3} was" in row.text
    assert found.report["dropped"] == {"where": 1, "null": 1}
    assert [(one.number, one.reason) for one in found.dropped] == [(1, "where"), (2, "null")]
    assert found.dropped[0].fields["text"] == "strange"
    assert preview(loaded, 3) == found
    assert not list((tmp_path / "home").glob("preview-*"))


def test_rows_for_own_code_are_shown_as_it_gets_them(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNELINE_HOME", str(tmp_path / "home"))
    rows = [{"n": str(at), "y": "ab"[at % 2]} for at in range(30)] + [{"n": "many", "y": "a"}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "train.py").write_text("def main(rows, model_dir, params): ...")
    text = (
        "name: own\ndata: {source: rows.jsonl, label: y, types: {n: integer}, split: {test: 0.3}}\n"
        "train: {entry: 'train.py:main'}\n"
    )
    (tmp_path / "tuneline.yaml").write_text(text)
    found = preview(load(tmp_path), 3)
    assert [row.side for row in found.rows] == ["train"] * 3 + ["test"]
    first = found.rows[0]
    assert json.loads(first.text) == {"n": first.number - 1, "y": first.label}
    assert [(row.number, row.reason, row.fields["n"]) for row in found.dropped] == [(31, "type", "many")]
    assert found.report["train"] + found.report["test"] == 30
