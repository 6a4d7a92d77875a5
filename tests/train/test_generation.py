"""Greedy answers of many prompts at once are those of each prompt alone, token by token."""

import polars as pl
import pytest
import torch
from tests.tiny import tiny_base

from tuneline.train.generation import end_ids, generate, prompts_of
from tuneline.train.model import load
from tuneline.train.rows import Split

pytestmark = pytest.mark.slow
PROMPTS = [
    "Review: a good film\nSentiment:",
    "x",
    "a dull story with poor acting and nothing else to say of it",
]


@pytest.fixture(scope="module", params=["gemma3", "llama"])
def base(request, tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base") / "base", request.param)


@torch.inference_mode()
def slowly(model, ids, count, ends):
    """The likeliest token, again and again, the whole text read anew each time."""
    text = list(ids)
    for _ in range(count):
        token = int(model.inner(input_ids=torch.tensor([text])).logits[0, -1].argmax())
        if token in ends:
            break
        text.append(token)
    return text[len(ids) :]


def test_answers_are_the_likeliest_tokens_whatever_shares_their_batch(base):
    model = load(base, None, "float32")
    ends = end_ids(base, model)
    prompts = [model.prompt_token_ids(prompt) for prompt in PROMPTS]
    done = []
    found = generate(model, prompts, 12, ends, done.append)
    assert found == [slowly(model, ids, 12, ends) for ids in prompts]
    assert sum(done) == len(PROMPTS)


def test_an_answer_ends_before_any_of_the_model_s_ends(base):
    model = load(base, None, "float32")
    prompts = [model.prompt_token_ids(prompt) for prompt in PROMPTS]
    whole = generate(model, prompts, 12, frozenset())
    end = whole[0][4]
    cut = generate(model, prompts, 12, frozenset([end]))
    assert cut == [answer[: answer.index(end)] if end in answer else answer for answer in whole]


def test_prompts_and_right_answers_are_those_of_the_rows(base):
    model = load(base, None, "float32")
    rows = pl.DataFrame({"prompt": PROMPTS[:1], "completion": [" good "], "messages": [None]})
    split = Split(rows, {"format": "prompt"})
    assert prompts_of(model, split) == [model.prompt_token_ids(PROMPTS[0])]
    assert split.references == ["good"]
    talk = '[{"role": "user", "content": "hi"}, {"role": "assistant", "content": " hello"}]'
    chat = Split(pl.DataFrame({"messages": [talk]}), {"format": "messages"})
    asked = model.tokenizer.encode_chat([{"role": "user", "content": "hi"}], generate=True)
    assert (prompts_of(model, chat), chat.references) == ([asked], ["hello"])
