"""What `data preview` prints: of plain values, and once of real rows through a real tokenizer."""

import csv
import json

from tests.tiny import movie_rows, tiny_gguf

from tuneline.cli.preview import json_object, lines, visible
from tuneline.steps.preview import DroppedRow, Preview, PreviewRow, Token

REPORT = {
    "read": 1000, "kept": 600, "train": 500, "test": 100, "dropped": {"null": 1, "where": 399},
    "tokens": {"train": {"total": 9000, "mean": 18.0, "max": 40}},
}  # fmt: skip


def test_tokens_that_are_learned_stand_apart_from_those_that_are_read():
    tokens = (
        Token(1, "<s>", False),
        Token(5, "Fine\n", False),
        Token(6, " good", True),
        Token(2, "</s>", True),
    )
    row = PreviewRow(7, "train", "good", tokens)
    dropped = (DroppedRow(9, "null", {"text": None, "label": "good"}),)
    assert lines(json_object(Preview((row,), dropped, REPORT, ()))) == [
        "row 7, trained on, label good: 4 tokens, 2 of them learned",
        "  read     <s>|Fine\\n",
        "  learned   good|</s>",
        "",
        "1,000 rows read, 600 kept: 500 to train on, 100 held out",
        "training rows: 18.0 tokens on average, 40 at most",
        "399 rows dropped: not chosen by `data.where`",
        "1 row dropped: null",
        '  row 9: text=null, label="good"',
    ]


def test_rows_cannot_steer_the_terminal():
    assert visible("a\x1b[31m\r\u202eb é 漢") == "a\\x1b[31m\\r\\u202eb é 漢"


def test_a_project_is_previewed_without_a_server(tuneline, tmp_path):
    rows = [*movie_rows(60), {"text": "", "label": "positive"}]
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label"])
        writer.writeheader()
        writer.writerows(rows)
    tiny_gguf(tmp_path / "base.gguf")
    (tmp_path / "tuneline.yaml").write_text(
        "name: demo\n"
        'data: {source: rows.csv, prompt: "Review: {text}\\nSentiment:", completion: " {label}"}\n'
        "base_model: ./base.gguf\n"
    )
    ended = tuneline("data", "preview", "-n", "2", "-p", "data.split.test=0.3")
    assert ended.code == 0
    assert ended.out.count("trained on, label") == 2
    assert ended.out.count("held out, label") == 1
    assert "61 rows read, 60 kept" in ended.out
    assert "1 row dropped" in ended.out
    found = json.loads(tuneline("data", "preview", "-n", "1", "-p", "data.split.test=0.3", "--json").out)
    assert found["report"]["read"] == 61
    learned = [token["text"] for token in found["rows"][0]["tokens"] if token["trained"]]
    assert learned[0] in (" positive", " negative")
    assert not (tmp_path / "home" / "server.json").exists()


def test_a_column_that_is_not_there_is_told(tuneline, tmp_path):
    (tmp_path / "rows.csv").write_text("body,label\nfine,good\n")
    tiny_gguf(tmp_path / "base.gguf")
    (tmp_path / "tuneline.yaml").write_text(
        "name: demo\nbase_model: ./base.gguf\n"
        'data: {source: rows.csv, prompt: "{text}", completion: " {label}"}\n'
    )
    ended = tuneline("data", "preview")
    assert (ended.code, ended.out) == (1, "")
    assert "text" in ended.err
    assert "Traceback" not in ended.err
