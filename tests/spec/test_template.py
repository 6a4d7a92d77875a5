"""Templates: parsed, rendered, hashed; a space more is another template."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneline.errors import SpecError
from tuneline.spec.template import Template, fields_of, fill


def test_fields_are_put_in_and_braces_stay():
    template = Template("Review: {text}\n{{json}} {text}", " {label}")
    row = {"text": "a {b} c", "label": 1}
    assert template.render(row) == ("Review: a {b} c\n{json} a {b} c", " 1")
    assert template.render_prompt({"text": "x"}) == "Review: x\n{json} x"
    assert template.fields == ("text", "label")
    assert (template.prompt_fields, template.completion_fields) == (("text",), ("label",))


def test_a_missing_field_is_named():
    with pytest.raises(KeyError, match="text"):
        Template("{text}", "").render({})


@pytest.mark.parametrize(
    "text", ["{text:>10}", "{text!r}", "{a.b}", "{a[0]}", "{}", "{0}", "{a", "a}", "{a b}"]
)
def test_anything_more_than_a_field_is_refused(text):
    with pytest.raises(SpecError):
        fields_of(text)


def test_the_hash_is_that_of_every_character():
    base = Template("Review: {text}\nSentiment:", " {label}")
    assert base.hash == "sha256:f8ffde239481c67e0654a1a0b12785ca83339a3597e222661e9773b3b5f489b3"
    others = [
        Template("Review: {text}\nSentiment: ", " {label}"),
        Template("Review: {text}\nSentiment:", "{label}"),
        Template("Review: {text}\nSentiment:", " {label}", "messages"),
    ]
    assert len({base.hash, *(other.hash for other in others)}) == 4


@given(st.text())
def test_escaped_text_comes_out_as_it_was(text):
    assert fill(text.replace("{", "{{").replace("}", "}}"), {}) == text
