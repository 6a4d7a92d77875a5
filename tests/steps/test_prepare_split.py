"""The split: the same everywhere, unmoved by other rows, and without leaks; checked against plain Python."""

import unicodedata

import polars as pl
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.steps.rows import made, reviews, write_csv

from tuneline.steps.row_text import input_number, normalise, normalised
from tuneline.steps.shapes import Recipe

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def plainly(text):
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())


@settings(max_examples=200)
@given(st.lists(texts | st.text("aB \t\n\x1c\x1f\x00é", max_size=12), min_size=1, max_size=20))
def test_a_column_is_normalised_as_one_text_is(found):
    column = pl.DataFrame({"text": found}, schema={"text": pl.String}).select(normalised(pl.col("text")))
    assert (
        column.to_series().to_list()
        == [normalise(text) for text in found]
        == [plainly(text) for text in found]
    )


@given(texts)
def test_normalising_twice_changes_nothing(text):
    assert normalise(normalise(text)) == normalise(text)


@given(texts)
def test_neither_joint_is_in_normalised_text(text):
    assert not {"\x1e", "\x1f"} & set(normalise(text))


def test_the_hash_is_xxh3_whatever_the_version_of_polars():
    found = pl.select(input_number(pl.Series(["", "good film", "straße"]))).to_series().to_list()
    assert found == [xxhash.xxh3_64_intdigest(text.encode()) for text in ("", "good film", "straße")]
    assert found[0] == 0x2D06800538D394C2


def test_a_row_is_held_out_when_its_hash_is_under_the_fraction(tmp_path):
    rows = reviews(2000)
    found = made(write_csv(tmp_path / "a.csv", rows), tmp_path / "out", test=0.1)
    under = {
        row["text"] for row in rows if xxhash.xxh3_64_intdigest(normalise(row["text"]).encode()) < 0.1 * 2**64
    }
    assert {prompt[8:-11] for prompt in found.test["prompt"]} == under
    assert 140 < len(under) < 260


def test_rows_added_later_move_no_row_from_one_side_to_the_other(tmp_path):
    before = made(write_csv(tmp_path / "a.csv", reviews(500)), tmp_path / "before")
    rows = reviews(500, start=500) + reviews(500)
    after = made(write_csv(tmp_path / "b.csv", rows), tmp_path / "after")
    assert set(before.test["row"]) <= set(after.test["row"])
    assert set(before.train["row"]) <= set(after.train["row"])


def test_another_template_holds_out_the_same_rows(tmp_path):
    path = write_csv(tmp_path / "a.csv", reviews(300))
    one = made(path, tmp_path / "one")
    other = made(path, tmp_path / "two", Recipe(prompt="{text} ->", completion="{label}"))
    assert set(one.test["row"]) == set(other.test["row"])


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["good film", "bad film", "a  film", "the end", "straße", "ﬁne", "x", "y", "z"]),
            st.sampled_from(
                [str.upper, str.title, str, lambda text: f" {text} ", lambda text: text.replace(" ", "\t")]
            ),
            st.sampled_from(["pos", "neg"]),
        ),
        min_size=30,
        max_size=80,
    )
)
def test_no_held_out_text_is_trained_on_however_it_is_written(tmp_path_factory, choices):
    """Every text in many spellings and with both labels: what is left must be on one side, once."""
    folder = tmp_path_factory.mktemp("leak")
    rows = [{"text": spell(text), "label": label} for text, spell, label in choices] + reviews(60)
    found = made(write_csv(folder / "a.csv", rows), folder / "out")
    train, test = ([plainly(prompt) for prompt in side["prompt"]] for side in (found.train, found.test))
    assert not set(train) & set(test)
    assert len(train) == len(set(train))
    assert len(test) == len(set(test))
