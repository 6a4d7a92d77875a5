"""Rows for own code: as they are, on the side their hash says, with what is wrong counted."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tuneline.errors import DataError
from tuneline.steps.prepare_rows import RowRecipe, choose_rows, write


def prepared(
    folder: Path, rows: str | list[dict[str, Any]], *, test: float = 0.3, limit: int = 0, **recipe: Any
) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    """The report, the training rows and the held-out rows."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / ("rows.csv" if isinstance(rows, str) else "rows.jsonl")
    file.write_text(rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows))
    chosen = choose_rows([file], RowRecipe(**{"label": "y", **recipe}), test=test, limit=limit)
    report = write(chosen, folder / "train", folder / "test")
    sides = [
        [json.loads(line) for line in (folder / side / "rows.jsonl").read_text().splitlines()]
        for side in ("train", "test")
    ]
    return report, *sides


def flows(count: int) -> list[dict[str, Any]]:
    return [{"n": at, "word": f"w{at % 7}", "y": ("a", "b")[at % 2]} for at in range(count)]


def test_rows_keep_their_columns_types_and_order(tmp_path):
    rows = [{**row, "nested": {"k": [1, None]}, "none": None, "x": row["n"] / 4} for row in flows(40)]
    report, train, test = prepared(tmp_path, rows)
    assert sorted([*train, *test], key=lambda row: row["n"]) == rows
    assert [row["n"] for row in train] == sorted(row["n"] for row in train)
    assert report["train"] + report["test"] == report["read"] == 40
    assert report["labels"] == ["a", "b"]


def test_rows_added_later_move_none_and_the_label_moves_none(tmp_path):
    _, _, few = prepared(tmp_path / "few", flows(60))
    _, _, many = prepared(tmp_path / "many", flows(200))
    assert [row for row in many if row["n"] < 60] == few
    flipped = [{**row, "y": "b" if row["y"] == "a" else "a"} for row in flows(60)]
    _, _, other = prepared(tmp_path / "other", flipped)
    assert [row["n"] for row in other] == [row["n"] for row in few]


def test_the_side_is_that_of_the_documented_hash(tmp_path):
    """XXH3-64 of the normalised fields but the label, in the order of their names, joined with U+001F."""
    xxhash = pytest.importorskip("xxhash")
    _, _, test = prepared(tmp_path, flows(60))
    for row in flows(60):
        number = xxhash.xxh3_64_intdigest(f"{row['n']}\x1f{row['word']}".encode())
        assert (row in test) is (number < int(0.3 * 2**64))


def test_rows_that_occur_twice_stay_twice_and_on_one_side(tmp_path):
    rows = [row for row in flows(30) for _ in range(3)]
    report, train, test = prepared(tmp_path, rows)
    assert (len(train) + len(test), report["dropped"]) == (90, {})
    assert not {row["n"] for row in train} & {row["n"] for row in test}
    info = json.loads((tmp_path / "test" / "info.json").read_text())
    assert len(info["proof"]) == len({row["n"] for row in test})


def test_csv_is_text_unless_a_type_is_named_and_what_is_not_of_it_is_counted(tmp_path):
    text = "n,flag,y\n" + "".join(f"{at},{('Yes', 'no')[at % 2]},{('a', 'b')[at % 2]}\n" for at in range(30))
    _, train, _ = prepared(tmp_path / "text", text)
    assert train[0]["n"].isdigit()
    typed = {"n": "number", "flag": "boolean"}
    report, train, test = prepared(tmp_path / "typed", text + "many,yes,a\n,no,b\n", types=typed)
    assert report["dropped"] == {"type": 1}
    assert report["examples"] == {"type": [31]}
    both = [*train, *test]
    assert {type(row["n"]) for row in both} == {float, type(None)}
    assert {row["flag"] for row in both} == {True, False}


def test_where_map_and_missing_labels_are_counted(tmp_path):
    rows = [*flows(40), {"n": 40, "word": "w", "y": None}, {"n": 41, "word": "w", "y": "c"}]
    report, train, test = prepared(
        tmp_path, rows, where="n >= 10", map={"y": {"a": "good", "b": "bad"}}, keep=("word",)
    )
    assert report["dropped"] == {"where": 10, "null": 1, "unmapped": 1}
    assert {row["y"] for row in [*train, *test]} == {"good", "bad"}
    index = pl.read_parquet(tmp_path / "test" / "rows.parquet")
    assert index["keep_word"].to_list() == [row["word"] for row in test]
    assert index["label"].to_list() == [row["y"] for row in test]


def test_the_limit_takes_a_stable_sample(tmp_path):
    report, train, test = prepared(tmp_path / "one", flows(100), limit=20)
    again, more, _ = prepared(tmp_path / "two", flows(100), limit=30)
    assert (len(train), report["dropped"]["limit"]) == (20, 100 - len(test) - 20)
    assert {row["n"] for row in train} < {row["n"] for row in more}


@pytest.mark.parametrize(
    "rows, recipe, said",
    [
        (flows(2), {"test": 0.0001}, "No held-out rows are left"),
        ([{"n": at, "y": "a"} for at in range(30)], {}, "have one label in `y`"),
        ([{"n": at, "y": str(at)} for at in range(2000)], {}, "those are no classes"),
        (flows(5), {"label": "z"}, "no column `z`, which `data.label` names"),
        (flows(5), {"types": {"words": "number"}}, "which `data.types` names; nearest: `word`"),
    ],
)
def test_data_that_cannot_be_used_is_refused(tmp_path, rows, recipe, said):
    with pytest.raises(DataError) as caught:
        prepared(tmp_path, rows, **recipe)
    assert said in " ".join([caught.value.message, *caught.value.details])


def test_many_labels_are_fine_where_numbers_are_learned(tmp_path):
    rows = [{"n": at, "y": at / 3} for at in range(2000)]
    report, _, _ = prepared(tmp_path, rows, task="regress")
    assert report["labels"] == []
