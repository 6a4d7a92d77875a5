"""Requests are read and answers written without a server."""

import json

import pytest

from tuneline.serve.decoding import TextStream, held_back
from tuneline.serve.engine import Piece
from tuneline.serve.openai import RequestRefused, check_model, parse_chat, parse_completion, parse_generate
from tuneline.serve.shapes import Answer, Chat, Completion, Usage

HI = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0]"),
        ({"messages": HI, "tools": [{}]}, "tools"),
        ({"messages": HI, "n": 0}, "n"),
        ({"messages": HI, "n": True}, "n"),
        ({"messages": HI, "top_p": "x"}, "top_p"),
        ({"messages": HI, "stop": 3}, "stop"),
        ({"messages": HI, "max_tokens": 0}, "max_tokens"),
        ({"messages": HI, "logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"messages": HI, "response_format": {"type": "json_schema"}}, "response_format"),
    ],
)
def test_a_fault_in_a_chat_request_names_its_field(body: dict, param: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        parse_chat(body)
    assert (caught.value.param, caught.value.http_status) == (param, 400)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": {}}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": "a", "suffix": "b"}, "suffix"),
        ({"prompt": "a", "echo": True, "logprobs": 1}, "logprobs"),
        ({"prompt": "a", "seed": 1.5}, "seed"),
    ],
)
def test_a_fault_in_a_completion_request_names_its_field(body: dict, param: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        parse_completion(body)
    assert caught.value.param == param


def test_defaults_are_openais() -> None:
    chat, plain = parse_chat({"messages": HI, "made_up": 1}), parse_completion({"prompt": "a"})
    assert (chat.sampling.temperature, chat.sampling.top_p, chat.max_tokens) == (1.0, 1.0, None)
    assert (plain.max_tokens, plain.sampling.logprobs, plain.echo) == (16, None, False)
    assert parse_chat({"messages": HI, "max_tokens": 1, "max_completion_tokens": 2}).max_tokens == 2
    assert parse_completion({"prompt": "a", "stop": "x"}).sampling.stop == ("x",)
    assert parse_completion({"prompt": [[1, 2], "b"]}).prompts == ([1, 2], "b")
    assert parse_generate({"prompt": "a"}).echo


def test_only_the_served_names_are_known() -> None:
    for name in (None, "", "m", "m@1.0.0"):
        check_model({"model": name}, ["m", "m@1.0.0"])
    with pytest.raises(RequestRefused) as caught:
        check_model({"model": "other"}, ["m"])
    assert (caught.value.http_status, caught.value.error_code) == (404, "model_not_found")


def test_a_chat_stream_says_its_reason_in_a_last_chunk_without_text() -> None:
    shape = Chat("1", "m", 0)
    events = [
        json.loads(e[6:])
        for e in shape.piece(0, Piece("a", finish="stop"), False).decode().split("\n\n")
        if e
    ]
    assert [event["choices"][0]["delta"] for event in events] == [{"content": "a"}, {}]
    assert [event["choices"][0]["finish_reason"] for event in events] == [None, "stop"]
    assert "usage" not in events[0]


def test_characters_survive_as_they_are() -> None:
    body = Completion("1", "m", 0, [""]).piece(0, Piece("ü — 漢"), False)
    assert "ü — 漢".encode() in body
    whole = Completion("1", "m", 0, ["Q: "]).whole([Answer("ü", "stop", None)], Usage(2, 1))
    assert whole["choices"][0]["text"] == "Q: ü"
    assert whole["usage"] == {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}


def test_a_stream_never_gives_half_a_character_or_half_a_stop_string() -> None:
    pieces = {0: b"a", 1: "ü".encode()[:1], 2: "ü".encode()[1:], 3: b"ST", 4: b"OP", 5: b"x"}

    def decode(ids) -> str:
        return b"".join(pieces[one] for one in ids).decode(errors="replace")

    stream = TextStream(decode, ["STOP"])
    assert [stream.add(one) for one in (0, 1, 2, 3, 5)] == ["a", "", "ü", "", "STx"]
    stream = TextStream(decode, ["STOP"])
    assert [stream.add(one) for one in (0, 3, 4)] == ["a", "", ""]
    assert stream.stopped
    assert stream.rest() == ""
    unfinished = TextStream(decode, ["STOP"])
    assert [unfinished.add(3), unfinished.rest()] == ["", "ST"]
    assert held_back("abST", ["STOP", "T!"]) == 2
