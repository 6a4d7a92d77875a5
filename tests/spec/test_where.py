"""The language of `data.where`: what it takes, and that it refuses everything else by name and place."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneline.errors import SpecError
from tuneline.spec.where import Among, Both, Column, Compare, Either, Missing, Not, columns_of, parse_where


def test_comparisons_are_joined_as_in_python():
    assert parse_where('a == "x" and not (b > 3 or c in ["1", 2])') == Both(
        (
            Compare("==", Column("a"), "x"),
            Not(Either((Compare(">", Column("b"), 3), Among(Column("c"), ("1", 2))))),
        )
    )
    assert parse_where("1 < stars <= 5") == Both(
        (Compare("<", 1, Column("stars")), Compare("<=", Column("stars"), 5))
    )
    assert parse_where("a is not None") == Not(Missing(Column("a")))
    assert parse_where("a > -1.5") == Compare(">", Column("a"), -1.5)


def test_its_columns_are_known():
    assert columns_of(parse_where("a == 1 and (b in [1] or c is None) and a < d")) == ("a", "b", "c", "d")


@pytest.mark.parametrize(
    "text, what",
    [
        ("len(text) > 3", "a call (`len(text)`) at position 1"),
        ('__import__("os").system("x") == 1', "a call"),
        ("a.b == 1", "an attribute (`a.b`) at position 1"),
        ("a + 1 == 2", "arithmetic"),
        ("a[0] == 1", "an index"),
        ("(lambda: 1) == a", "a lambda"),
        ("a == f'{b}'", "an f-string"),
        ("a", "`a` at position 1 is not compared"),
        ("1 == 1", "is compared with no column"),
        ("a == None", "write `column is None`"),
        ("a in b", "should be a list"),
        ("a in [b]", "has a column in it"),
        ("a is b", "`is` at position 6"),
        ("a ==", "cannot be read"),
        ("(" * 300 + "a == 1", "cannot be read"),
        ("a == 1; b", "cannot be read"),
    ],
)
def test_anything_else_is_refused_by_name(text, what):
    with pytest.raises(SpecError) as caught:
        parse_where(text)
    assert what in caught.value.message


@given(st.text(max_size=60))
def test_no_text_breaks_the_parser(text):
    with contextlib.suppress(SpecError):
        parse_where(text)
