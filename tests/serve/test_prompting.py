"""From chat messages to the trained text, byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneline.errors import DataError, ModelError
from tuneline.serve.prompting import Prompting, field_of, load_prompting, with_template

TEMPLATE = "Review: {text}\nSentiment:"
CHATML = (
    "{% for m in messages %}{% generation %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}\n"
    "{% endgeneration %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.mark.parametrize(
    "said",
    ["A dull film.", "Review: A dull film.", "Review: A dull film.\nSentiment:", "A dull film.\nSentiment:",
     "Review:A dull film. \n Sentiment:", "  Review:  A dull film."],
)  # fmt: skip
def test_whatever_part_of_the_template_a_message_has_it_is_said_once(said: str) -> None:
    assert with_template(TEMPLATE, said) == "Review: A dull film.\nSentiment:"


@given(st.text())
def test_a_whole_prompt_is_never_changed(text: str) -> None:
    prompt = TEMPLATE.format(text=text)
    assert with_template(TEMPLATE, prompt) == prompt
    assert field_of(TEMPLATE, prompt) == text


@pytest.mark.parametrize("template", ["no field", "{a} and {b}"])
def test_a_template_of_no_or_several_fields_leaves_the_text_as_it_is(template: str) -> None:
    assert with_template(template, "anything") == "anything"
    assert field_of(template, "anything") is None


def test_the_last_user_message_is_the_prompt() -> None:
    prompting = Prompting("prompt", TEMPLATE, " {label}")
    messages = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": " positive"},
        {"role": "user", "content": "two"},
    ]
    assert prompting.chat_prompt(messages) == "Review: two\nSentiment:"
    assert prompting.adds_special
    with pytest.raises(DataError, match="role `user`"):
        prompting.chat_prompt(messages[:1])


def test_one_space_less_is_another_template_hash() -> None:
    assert (
        Prompting("prompt", TEMPLATE).template_hash
        != Prompting("prompt", "Review:{text}\nSentiment:").template_hash
    )


def test_conversations_are_written_by_the_chat_template() -> None:
    prompting = Prompting("messages", chat_template=CHATML, special_tokens={"eos_token": "</s>"})
    assert prompting.chat_prompt([{"role": "user", "content": "hi"}]) == "<|user|>hi</s>\n<|assistant|>"
    assert not prompting.adds_special


def test_chat_templates_are_rendered_as_transformers_renders_them() -> None:
    from transformers.utils.chat_template_utils import render_jinja_template  # noqa: PLC0415 - two seconds

    template = (
        "{%- for m in messages %}\n    {%- if m.role == 'tool' %}\n{{- raise_exception('no') }}\n"
        "{%- endif %}\n  {{- '<' ~ m.role ~ '>' }}{{ m.content | tojson }}\n"
        "{% if loop.last %}{% break %}{% endif %}\n{%- endfor %}"
    )
    messages = [{"role": "user", "content": 'quote " and <b> ü'}, {"role": "assistant", "content": "x"}]
    expected, _ = render_jinja_template(
        conversations=[messages], chat_template=template, add_generation_prompt=True
    )
    ours = Prompting("messages", chat_template=template)
    assert ours.chat_prompt(messages) == expected[0]
    with pytest.raises(ModelError, match="does not take these messages: no"):
        ours.chat_prompt([{"role": "tool", "content": ""}])


def test_without_any_template_the_error_says_where_else_to_ask(tmp_path) -> None:
    with pytest.raises(ModelError, match="no chat template") as caught:
        load_prompting({"format": "messages"}, tmp_path).chat_prompt([{"role": "user", "content": "hi"}])
    assert "/v1/completions" in caught.value.hint
