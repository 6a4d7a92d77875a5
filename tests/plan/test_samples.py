"""What is read from bodies as real clients and servers write them; what cannot be read is not guessed at."""

import json

import pytest

from tuneline.plan.samples import Sample, sample, script


def read(request, response, path="/v1/chat/completions", status=200, id="r1"):
    def text(body):
        return body if isinstance(body, str) or body is None else json.dumps(body)

    row = {"id": id, "at": 5.0, "path": path, "status": status}
    return sample({**row, "request": text(request), "response": text(response)})


CHAT = {
    "messages": [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "yes"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Größe der "}, {"type": "text", "text": "Größe"}],
        },
    ]
}


def test_a_chat_is_its_last_user_turn_and_its_first_choice():
    logprobs = {"content": [{"token": "Po", "logprob": -0.2}, {"token": "s", "logprob": -0.4}]}
    choice = {"index": 0, "message": {"role": "assistant", "content": " Pos\n"}, "logprobs": logprobs}
    found = read(CHAT, {"choices": [choice, {"index": 1, "message": {"content": "no"}}]})
    assert (found.known, found.error, found.prompt_length, found.script) == (True, False, 15, "latin")
    assert found.words == ("der", "größe")
    assert (found.label, found.output_length) == ("pos", 5)
    assert found.confidence == pytest.approx(0.740818)


def test_a_stream_is_the_sum_of_its_events():
    pieces = ["neg", "at\u0085ve", None]  # U+0085 ends no line, though str.splitlines() says so
    events = [{"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}]
    events += [{"choices": [{"index": 0, "delta": {} if p is None else {"content": p}}]} for p in pieces]
    events += [{"choices": [], "usage": {"total_tokens": 4}}]
    text = "".join(f"data: {json.dumps(event, ensure_ascii=False)}\n\n" for event in events)
    whole = read(CHAT | {"stream": True}, text + "data: [DONE]\n\n")
    assert (whole.label, whole.output_length) == ("negat ve", 8)
    cut = read(CHAT | {"stream": True}, text)
    assert (cut.known, cut.label, cut.output_length) == (True, None, None)


def test_a_completion_is_its_prompt_and_text():
    answer = {"choices": [{"index": 0, "text": " 1", "logprobs": {"token_logprobs": [-1.0, None]}}]}
    found = read({"prompt": "Ist das gut?"}, answer, "/v1/completions")
    assert (found.words, found.label, found.confidence) == (
        ("das", "gut", "ist"),
        "1",
        pytest.approx(0.36787944),
    )
    assert not read({"prompt": [1, 2, 3]}, answer, "/v1/completions").known


ROWS = [{"text": "low", "size": 1}, {"text": "high", "size": 2.5}, {"text": "mid", "size": None}]


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_records": ROWS},
        {"dataframe_split": {"columns": ["text", "size"], "data": [[r["text"], r["size"]] for r in ROWS]}},
        {"inputs": {"text": [r["text"] for r in ROWS], "size": [r["size"] for r in ROWS]}},
        {"instances": ROWS},
    ],
)
def test_an_invocation_is_one_of_its_rows_chosen_by_its_id(body):
    answer = {
        "predictions": [{"label": "A", "probability": [0.2, 0.8]}, {"label": "B", "confidence": 0.6}, 7.5]
    }
    seen = set()
    for id in map(str, range(40)):
        found = read(body, answer, "/invocations", id=id)
        seen.add(
            (found.words, tuple(found.numbers.items()), found.label, found.confidence, found.output_number)
        )
    assert seen == {
        (("low",), (("size", 1.0),), "a", 0.8, None),
        (("high",), (("size", 2.5),), "b", 0.6, None),
        (("mid",), (), None, None, 7.5),
    }


@pytest.mark.parametrize(
    "request_, path",
    [
        (None, "/v1/chat/completions"), ("{cut", "/v1/completions"), ("[1]", "/invocations"),
        ({"messages": "hello"}, "/v1/chat/completions"), ({"messages": [7]}, "/v1/chat/completions"),
        ({"input": "x"}, "/v1/embeddings"), ({"rows": [1]}, "/invocations"),
        ({"inputs": {"a": [1], "b": []}}, "/invocations"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_unknown_and_nothing_else(request_, path):
    assert read(request_, "whatever", path) == Sample("r1", 5.0, False)


@pytest.mark.parametrize("status, error", [(500, True), (503, True), (0, True), (499, False), (429, False)])
def test_only_what_failed_on_the_serving_side_is_an_error_and_its_answer_is_not_read(status, error):
    found = read(CHAT, {"choices": [{"message": {"content": "x"}}]}, status=status)
    assert (found.error, found.label, found.prompt_length) == (error, None, 15)


@pytest.mark.parametrize(
    "text, wanted",
    [("Привет, world!", "cyrillic"), ("今日は", "cjk"), ("123 !?", "none"), ("ありがとう", "kana")],
)
def test_the_script_is_that_of_most_letters(text, wanted):
    assert script(text) == wanted
