"""What becomes of rows: every one is used or counted under its reason."""

import hashlib
import json

import polars as pl
import pytest
from tests.steps.rows import REVIEWS, byte_tokenizer, made, reviews, write_csv, write_jsonl

from tuneline.spec.template import Template
from tuneline.steps.shapes import Recipe
from tuneline.train.rows import encode_pairs


def test_rows_are_written_with_their_text_label_hash_and_tokens(tmp_path):
    tokenizer = byte_tokenizer()
    found = made(write_csv(tmp_path / "a.csv", reviews(200)), tmp_path / "out", tokenizer=tokenizer)
    assert found.report["train"] + found.report["test"] == found.report["read"] == 200
    assert found.train.columns == ["row", "prompt", "completion", "messages", "label", "tokens"]
    first = found.train.row(0, named=True)
    assert first["prompt"].startswith("Review: film number ")
    assert first["completion"] == f" {first['label']}"
    expected = encode_pairs(tokenizer, found.train["prompt"].to_list(), found.train["completion"].to_list())
    assert found.train["tokens"].to_list() == [len(example.ids) for example in expected]
    assert found.info == {
        "rows": found.train.height, "labels": ["neg", "pos"], "format": "prompt",
        "template": {"prompt": REVIEWS.prompt, "completion": REVIEWS.completion},
        "template_hash": Template(REVIEWS.prompt, REVIEWS.completion).hash, "max_length": 512,
    }  # fmt: skip
    assert found.report["labels"] == ["neg", "pos"]


def test_the_row_hash_is_the_documented_one(tmp_path):
    rows = [{"text": "  Ｇood\tFILM, Straße ", "label": "Pos"}, *reviews(50)]
    found = made(write_csv(tmp_path / "a.csv", rows), tmp_path / "out")
    digest = hashlib.sha256(b"good film, strasse\x1epos").hexdigest()[:32]
    both = pl.concat([found.train, found.test])
    assert both.filter(pl.col("row") == digest)["prompt"].to_list() == [
        "Review:   Ｇood\tFILM, Straße \nSentiment:"
    ]


def test_every_reason_is_counted_with_the_rows_it_was_for(tmp_path):
    rows = [
        {"text": "kept", "label": "1", "source": "a"},
        {"text": "other source", "label": "1", "source": "b"},
        {"text": "", "label": "1", "source": "a"},
        {"text": " \t ", "label": "1", "source": "a"},
        {"text": "no class", "label": "7", "source": "a"},
        {"text": "x" * ((1 << 20) + 1), "label": "1", "source": "a"},
        {"text": " KEPT ", "label": "1", "source": "a"},
        {"text": "both", "label": "0", "source": "a"},
        {"text": "Both", "label": "1", "source": "a"},
        {"text": "long " * 100, "label": "1", "source": "a"},
        *({**row, "label": "01"[at % 2], "source": "a"} for at, row in enumerate(reviews(100))),
    ]
    recipe = Recipe(
        where='source == "a"', map={"label": {"0": "neg", "1": "pos"}}, prompt="{text}", completion=" {label}"
    )
    found = made(
        write_csv(tmp_path / "a.csv", rows),
        tmp_path / "out",
        recipe,
        tokenizer=byte_tokenizer(),
        max_length=200,
    )
    assert found.dropped == {
        "where": 1, "null": 1, "blank": 1, "unmapped": 1, "oversize": 1, "duplicate": 1, "conflicting": 2,
        "too_long": 1,
    }  # fmt: skip
    assert found.report["examples"] == {
        "where": [2], "null": [3], "blank": [4], "unmapped": [5], "oversize": [6], "duplicate": [7],
        "conflicting": [8, 9], "too_long": [10],
    }  # fmt: skip
    assert set(found.train["label"]) == {"neg", "pos"}


def test_map_compares_values_as_text_and_columns_may_be_renamed(tmp_path):
    rows = [{"Text Of It": row["text"], "stars": at % 2} for at, row in enumerate(reviews(60))]
    recipe = Recipe(
        columns={"text": "Text Of It"}, map={"stars": {"0": "bad", "1": "good"}}, prompt="{text}",
        completion=" {stars}",
    )  # fmt: skip
    for path in (write_csv(tmp_path / "a.csv", rows), write_jsonl(tmp_path / "a.jsonl", rows)):
        found = made(path, tmp_path / path.suffix, recipe)
        assert found.report["labels"] == ["bad", "good"]
    long = {str(number): "good" if number else "bad" for number in range(20)}
    assert made(path, tmp_path / "long", Recipe(recipe.where, {"stars": long}, recipe.columns, "prompt",
                recipe.prompt, recipe.completion)).report["labels"] == ["bad", "good"]  # fmt: skip


def test_all_formats_give_the_same_rows(tmp_path):
    rows = reviews(100)
    pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.json").write_text(json.dumps(rows))
    paths = [
        write_csv(tmp_path / "a.csv", rows), write_jsonl(tmp_path / "a.jsonl", rows), tmp_path / "a.parquet",
        tmp_path / "a.json",
    ]  # fmt: skip
    digests = {made(path, tmp_path / path.suffix).report["data_digest"] for path in paths}
    assert len(digests) == 1
    halves = [write_csv(tmp_path / "x.csv", rows[:50]), write_csv(tmp_path / "y.csv", rows[50:])]
    assert {made(halves, tmp_path / "halves").report["data_digest"]} == digests


def test_where_compares_numbers_as_numbers_and_text_as_text(tmp_path):
    rows = [{**row, "stars": str(at % 12), "source": "ab"[at % 2]} for at, row in enumerate(reviews(240))]
    rows[7]["stars"] = ""
    path = write_csv(tmp_path / "a.csv", rows)

    def taken(where):
        found = made(path, tmp_path / "out", Recipe(where, prompt="{text}", completion=" {stars}", task=""))
        return found.report["train"] + found.report["test"]

    assert taken("stars >= 10") == 40
    assert taken("9 < stars < 11") == 20
    assert taken('stars == "10"') == taken("stars == 10") == taken("stars in [10]") == 20
    assert taken('source == "a" and not stars in [0, "2"]') == 80
    assert taken('source == "a" or source == "b"') == 239
    assert taken("stars is not None") == 239


def test_kept_columns_come_along(tmp_path):
    rows = [{**row, "source": f"s{at % 3}"} for at, row in enumerate(reviews(50))]
    recipe = Recipe(prompt="{text}", completion=" {label}", keep=("source",))
    found = made(write_csv(tmp_path / "a.csv", rows), tmp_path / "out", recipe)
    assert set(found.train["keep_source"]) == {"s0", "s1", "s2"}


def test_the_same_rows_give_the_same_bytes(tmp_path):
    path = write_csv(tmp_path / "a.csv", reviews(3000))
    for name in ("one", "two"):
        made(path, tmp_path / name, tokenizer=byte_tokenizer(), limit=500)
    for side in ("train", "test"):
        for file in ("rows.parquet", "info.json"):
            assert (tmp_path / "one" / side / file).read_bytes() == (
                tmp_path / "two" / side / file
            ).read_bytes()


def test_the_limit_takes_the_smallest_hashes_that_are_short_enough(tmp_path):
    rows = [{"text": row["text"] + " long" * (30 * (at % 3 == 0)), "label": row["label"]}
            for at, row in enumerate(reviews(400))]  # fmt: skip
    path = write_csv(tmp_path / "a.csv", rows)
    everything = made(path, tmp_path / "all", tokenizer=byte_tokenizer(), max_length=100)
    assert everything.dropped["too_long"] == 134
    few = made(path, tmp_path / "few", tokenizer=byte_tokenizer(), max_length=100, limit=150)
    assert few.train.height == 150
    assert set(few.train["row"]) == set(sorted(everything.train["row"])[:150])
    assert few.test.equals(everything.test)


@pytest.mark.parametrize("where", ["train", "test"])
def test_no_file_holds_a_time_or_a_place(tmp_path, where):
    made(write_csv(tmp_path / "a.csv", reviews(100)), tmp_path / "out")
    for path in (tmp_path / "out" / where).iterdir():
        assert str(tmp_path).encode() not in path.read_bytes()
