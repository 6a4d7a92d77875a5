"""Chat shapes: OpenAI's messages, ShareGPT and Alpaca become one list of messages that ends in an answer."""

import json

import pytest
from tests.steps.rows import byte_tokenizer, made, write_csv, write_jsonl

from tuneline.steps.conversations import Unfit, messages_of
from tuneline.steps.shapes import Recipe
from tuneline.train.rows import encode_answer

CHAT = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def turn(role, content):
    return {"role": role, "content": content}


def conversations(count):
    return [
        [turn("user", f"question {at}?"), turn("assistant", "yes" if at % 2 else "no")] for at in range(count)
    ]


def test_messages_are_written_as_they_are_and_counted_as_they_are_trained_on(tmp_path):
    tokenizer = byte_tokenizer(CHAT)
    path = write_jsonl(tmp_path / "a.jsonl", [{"messages": messages} for messages in conversations(80)])
    found = made(path, tmp_path / "out", Recipe(format="messages"), tokenizer=tokenizer)
    assert found.info["format"] == "messages"
    assert found.report["labels"] == ["no", "yes"]
    row = found.train.row(0, named=True)
    assert row["prompt"] is None
    assert json.loads(row["messages"])[0]["role"] == "user"
    assert row["tokens"] == len(encode_answer(tokenizer, json.loads(row["messages"])).ids)


def test_the_three_shapes_of_one_conversation_are_one(tmp_path):
    openai = [{"messages": [turn("system", "be brief"), *messages]} for messages in conversations(60)]
    sharegpt = [
        {
            "conversations": [
                {"from": {"user": "human", "assistant": "gpt"}[entry["role"]], "value": entry["content"]}
                for entry in messages
            ],
            "system": "be brief",
        }
        for messages in conversations(60)
    ]
    alpaca = [
        {"instruction": question["content"], "output": answer["content"], "system": "be brief"}
        for question, answer in conversations(60)
    ]
    digests = set()
    for name, rows in (("messages", openai), ("sharegpt", sharegpt), ("alpaca", alpaca)):
        found = made(write_jsonl(tmp_path / f"{name}.jsonl", rows), tmp_path / name, Recipe(format=name))
        digests.add((found.report["data_digest"], found.train["messages"][0]))
    assert len(digests) == 1


def test_a_csv_may_hold_messages_as_json(tmp_path):
    rows = [{"messages": json.dumps(messages)} for messages in conversations(60)]
    found = made(
        write_csv(tmp_path / "a.csv", [*rows, {"messages": "[not json"}]),
        tmp_path / "out",
        Recipe(format="messages"),
    )
    assert found.dropped == {"shape": 1}


def test_alpaca_with_a_template_is_prompt_and_completion(tmp_path):
    rows = [
        {"instruction": f"do {at}", "input": "this" if at % 3 else None, "output": "yes" if at % 2 else "no"}
        for at in range(60)
    ]
    recipe = Recipe(format="alpaca", prompt="{instruction}|{input}|", completion="{output}")
    found = made(write_jsonl(tmp_path / "a.jsonl", rows), tmp_path / "out", recipe)
    assert found.info["format"] == "prompt"
    assert {"do 0||", "do 1|this|"} <= {*found.train["prompt"], *found.test["prompt"]}
    assert not found.dropped


def test_alpaca_history_and_input_become_turns():
    row = {"instruction": "and now?", "input": "here", "output": "so", "history": [["a", "b"], ["c", "d"]]}
    assert [(m["role"], m["content"]) for m in messages_of(row, "alpaca")] == [
        ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"), ("user", "and now?\nhere"),
        ("assistant", "so"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "messages, reason",
    [
        (None, "null"),
        ([], "shape"),
        ([turn("user", "a")], "shape"),
        ([turn("assistant", "a")], "shape"),
        ([turn("user", "a"), turn("tool", "b"), turn("assistant", "c")], "shape"),
        ([turn("user", "a"), turn("system", "b"), turn("assistant", "c")], "shape"),
        ([turn("user", "a"), turn("assistant", None)], "null"),
        ([turn("user", "a"), turn("assistant", " ")], "blank"),
        ([turn("user", [{"type": "image_url"}]), turn("assistant", "b")], "shape"),
        ("no json", "shape"),
        ({"role": "user"}, "shape"),
        (["a"], "shape"),
    ],
)
def test_what_is_no_conversation_is_dropped_by_reason(messages, reason):
    with pytest.raises(Unfit) as caught:
        messages_of({"messages": messages}, "messages")
    assert caught.value.reason == reason


def test_conversations_that_differ_in_spelling_alone_are_duplicates_and_in_the_answer_conflicting(tmp_path):
    rows = [{"messages": messages} for messages in conversations(60)]
    rows.append({"messages": [turn("user", "QUESTION  3?"), turn("assistant", "Yes")]})
    rows.append({"messages": [turn("user", "question 4?"), turn("assistant", "yes")]})
    found = made(write_jsonl(tmp_path / "a.jsonl", rows), tmp_path / "out", Recipe(format="messages"))
    assert found.dropped == {"duplicate": 1, "conflicting": 2}


def test_a_label_may_be_a_column(tmp_path):
    rows = [{"messages": messages, "kind": "ab"[at % 2]} for at, messages in enumerate(conversations(60))]
    found = made(
        write_jsonl(tmp_path / "a.jsonl", rows), tmp_path / "out", Recipe(format="messages", label="kind")
    )
    assert found.report["labels"] == ["a", "b"]
