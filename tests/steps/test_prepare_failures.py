"""What must not happen: each ends in one clear error that says where, what, and what to do."""

import csv
import json

import pytest
from tests.steps.rows import REVIEWS, made, reviews, write_csv, write_jsonl

from tuneline.errors import DataError, ResourceError
from tuneline.steps.shapes import Recipe


def refused(path, tmp_path, recipe=REVIEWS, **more):
    with pytest.raises(DataError) as caught:
        made(path, tmp_path / "out", recipe, **more)
    assert caught.value.hint
    return caught.value


def test_a_wrong_column_names_those_there_are_and_the_nearest(tmp_path):
    path = write_csv(tmp_path / "a.csv", reviews(20))
    error = refused(path, tmp_path, Recipe(where="sauce == 1", prompt="{txt}", completion=" {lable}"))
    assert "It has: `text`, `label`." in error.message
    assert error.details == [
        "no column `sauce`, which `data.where` names",
        "no column `lable`, which `data.completion` names; nearest: `label`",
        "no column `txt`, which `data.prompt` names; nearest: `text`",
    ]
    renamed = refused(
        path, tmp_path, Recipe(columns={"review": "texts"}, prompt="{review}", completion="{label}")
    )
    assert "no column `texts`, which `data.columns` names; nearest: `text`" in renamed.message
    clash = refused(path, tmp_path, Recipe(columns={"label": "text"}, prompt="{label}", completion="{label}"))
    assert "which the file already has" in clash.message


def test_no_rows_left_says_why_by_reason(tmp_path):
    rows = [{"text": "", "label": "a"}, {"text": " ", "label": "a"}, {"text": "x", "label": "b"}]
    error = refused(
        write_csv(tmp_path / "a.csv", rows),
        tmp_path,
        Recipe('label == "a"', prompt="{text}", completion=" {label}"),
    )
    assert error.message.startswith("No training rows are left: of 3 rows, ")
    assert error.details == ["1 dropped as `where`", "1 dropped as `null`", "1 dropped as `blank`"]


def test_one_label_is_nothing_to_tell_apart(tmp_path):
    rows = [{**row, "label": "pos"} for row in reviews(100)]
    error = refused(write_csv(tmp_path / "a.csv", rows), tmp_path)
    assert "The training rows have one label in `label` (`pos`)" in error.message


def test_one_label_held_out_is_refused_too(tmp_path):
    rows = reviews(100)
    held_out = set(made(write_csv(tmp_path / "a.csv", rows), tmp_path / "first").test["prompt"])
    rows = [
        {**row, "label": "pos" if f"Review: {row['text']}\nSentiment:" in held_out else row["label"]}
        for row in rows
    ]
    error = refused(write_csv(tmp_path / "a.csv", rows), tmp_path)
    assert "The held-out rows have one label in `label` (`pos`)" in error.message


def test_a_label_that_is_free_text_is_no_class(tmp_path):
    rows = [{"text": f"question {at}", "label": f"answer {at}"} for at in range(3000)]
    error = refused(write_csv(tmp_path / "a.csv", rows), tmp_path)
    assert "those are no classes" in error.message
    assert "data.label" in error.hint


def test_invalid_utf8_is_found_by_line_and_byte(tmp_path):
    path = write_csv(tmp_path / "a.csv", reviews(2000))
    body = path.read_bytes().replace(b"film number 1500 ", b"film n\xfcmber 1500 ")
    path.write_bytes(body)
    error = refused(path, tmp_path)
    assert error.message == f"a.csv is not UTF-8: line 1502, byte {body.index(0xFC)} is 0xfc."
    assert "iconv" in error.hint
    lines = write_jsonl(tmp_path / "b.jsonl", reviews(50))
    lines.write_bytes(lines.read_bytes().replace(b"number 7 ", b"n\xffmber 7 "))
    assert refused(lines, tmp_path).message.startswith("b.jsonl is not UTF-8: line 8, byte ")


@pytest.mark.slow
def test_a_field_of_40_mb_is_dropped_and_said_to_be(tmp_path):
    rows = [*reviews(50), {"text": "word " * 8_000_000, "label": "pos"}, *reviews(50, start=50)]
    for path in (write_csv(tmp_path / "a.csv", rows), write_jsonl(tmp_path / "a.jsonl", rows)):
        found = made(path, tmp_path / path.suffix)
        assert found.dropped == {"oversize": 1}
        assert found.report["examples"] == {"oversize": [51]}


def test_a_row_with_too_many_fields_is_found(tmp_path):
    path = write_csv(tmp_path / "a.csv", reviews(30))
    with path.open("a") as file:
        file.write("one, two,pos\n")
    assert refused(path, tmp_path).message == "a.csv:32: a row has 3 fields, the header 2."


def test_a_quote_that_never_closes_is_found(tmp_path):
    path = write_csv(tmp_path / "a.csv", reviews(30))
    with path.open("a") as file:
        file.write('"no end,pos\nmore,neg\n')
    assert (
        refused(path, tmp_path).message == "a.csv:32: the row that begins here has a quote that never closes."
    )


@pytest.mark.parametrize(
    "name, body, what",
    [
        ("a.csv", "", "a.csv is empty."),
        ("a.jsonl", "", "a.jsonl is empty."),
        ("a.csv", "text,label\n", "No training rows are left: of 0 rows"),
        ("a.jsonl", '{"text": "a", "label": "b"}\n{"text":\n', "a.jsonl:2: not JSON"),
        ("a.jsonl", '{"text": "a", "label": "b"}\n[1]\n', "a.jsonl:2: not a JSON object"),
        ("a.json", '{"text": [', "a.json: not JSON"),
        ("a.json", '{"text": "a"}', "a.json: not a list of objects"),
        ("a.parquet", "text", "a.parquet cannot be read as parquet"),
        ("a.txt", "text", "a.txt is of no format we read"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_one_clear_error(tmp_path, name, body, what):
    (tmp_path / name).write_text(body)
    assert refused(tmp_path / name, tmp_path).message.startswith(what)


def test_files_of_one_glob_must_fit_together(tmp_path):
    one = write_csv(tmp_path / "a.csv", reviews(30))
    other = write_csv(tmp_path / "b.csv", [{"text": "x", "stars": 1}])
    assert "b.csv has columns text, stars; a.csv has text, label." in refused([one, other], tmp_path).message
    lines = write_jsonl(tmp_path / "c.jsonl", reviews(30))
    assert "of several formats" in refused([one, lines], tmp_path).message


def test_a_field_with_line_breaks_and_quotes_is_one_field(tmp_path):
    rows = [*reviews(50), {"text": 'she said "no",\r\nand left', "label": "neg"}]
    path = tmp_path / "a.csv"
    write_csv(path, rows)
    with path.open(newline="") as file:
        assert list(csv.DictReader(file))[-1]["text"] == rows[-1]["text"]
    found = made(path, tmp_path / "out")
    prompts = json.dumps([*found.train["prompt"], *found.test["prompt"]])
    assert json.dumps(rows[-1]["text"])[1:-1] in prompts


def test_a_full_disk_is_said_to_be_one_and_no_fault_of_the_data(tmp_path):
    """/dev/full refuses every write with "No space left on device", as a full disk does."""
    path = write_csv(tmp_path / "a.csv", reviews(50))
    (tmp_path / "out/train").mkdir(parents=True)
    (tmp_path / "out/train/rows.parquet").symlink_to("/dev/full")
    with pytest.raises(ResourceError, match="The disk is full"):
        made(path, tmp_path / "out")
