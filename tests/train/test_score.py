"""Label likelihoods against the slow way: every label's whole text through the model, one at a time. Imports
torch."""

import math

import pytest

torch = pytest.importorskip("torch")

from tests.tiny import movie_rows, write_split  # noqa: E402

from tuneline.errors import DataError  # noqa: E402
from tuneline.train.model import load  # noqa: E402
from tuneline.train.rows import read_split  # noqa: E402
from tuneline.train.score import classify, questions  # noqa: E402

pytestmark = pytest.mark.slow


def slow_probabilities(model, prompt, completions):
    scores = []
    for completion in completions:
        context, whole = model.tokenizer.encode(prompt), model.tokenizer.encode(prompt + completion)
        with torch.inference_mode():
            logits = model.network(input_ids=torch.tensor([whole])).logits[0].log_softmax(-1)
        scores.append(sum(logits[k - 1, whole[k]].item() for k in range(len(context), len(whole))))
    total = sum(math.exp(score) for score in scores)
    return [math.exp(score) / total for score in scores]


@pytest.mark.parametrize("family", ["gemma3", "llama", "phi3"])
@pytest.mark.parametrize("completions", [[" positive", " negative"], [" good", " quite a long answer", " x"]])
def test_one_pass_gives_what_one_text_at_a_time_gives(base, family, completions, tmp_path):
    model = load(base(family), None, "float32")
    split = read_split(write_split(tmp_path / "split", movie_rows(9)))
    found = classify(model, questions(model.tokenizer, split, completions))
    assert found.sum(axis=1) == pytest.approx(1.0)
    for row, prompt in zip(found, split.rows["prompt"], strict=True):
        assert row.tolist() == pytest.approx(slow_probabilities(model, prompt, completions), abs=1e-4)


def test_every_row_is_counted_once(base, tmp_path):
    model = load(base("llama"), None, "float32")
    split = read_split(write_split(tmp_path / "split", movie_rows(30)))
    for completions in ([" good", " bad"], [" good", " not so good"]):
        told = []
        classify(model, questions(model.tokenizer, split, completions), told.append)
        assert sum(told) == 30


def test_labels_the_tokens_cannot_tell_apart_are_refused(base, tmp_path):
    model = load(base("llama"), None, "float32")
    split = read_split(write_split(tmp_path / "split", movie_rows(2)))
    with pytest.raises(DataError, match="cannot tell these completions apart"):
        questions(model.tokenizer, split, [" good", " good"])
