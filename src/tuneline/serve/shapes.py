"""The answers of OpenAI's API and of vLLM's `/generate`, built from pieces. Pure.

One `Shape` is one kind of answer: it makes the whole body, the first and later events of a stream, and its
end.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tuneline.serve.engine import Piece, TokenLogprob

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Usage:
    """Tokens of one request, all its answers together."""

    prompt: int
    completion: int

    def to_json(self) -> dict[str, int]:
        """OpenAI's `usage`."""
        total = self.prompt + self.completion
        return {"prompt_tokens": self.prompt, "completion_tokens": self.completion, "total_tokens": total}


@dataclass(frozen=True)
class Answer:
    """One finished choice."""

    text: str
    finish: str
    logprobs: tuple[TokenLogprob, ...] | None
    ids: tuple[int, ...] | None = None
    """The answer's token ids, if they were asked for."""
    prompt_ids: tuple[int, ...] = ()


class Shape(Protocol):
    """One kind of answer."""

    media_type: str

    def whole(self, answers: Sequence[Answer], usage: Usage) -> dict[str, Any]:
        """The body of an answer that is not streamed."""

    def start(self, choice: int) -> bytes:
        """What a stream says of a choice before its first piece; may be nothing."""

    def piece(self, choice: int, piece: Piece, wants_logprobs: bool) -> bytes:
        """One piece of a stream."""

    def end(self, usage: Usage | None) -> bytes:
        """The end of a stream, with the usage if it was asked for."""


@dataclass
class Chat:
    """/v1/chat/completions."""

    id: str
    model: str
    created: int
    include_usage: bool = False
    media_type: str = "text/event-stream"

    def whole(self, answers: Sequence[Answer], usage: Usage) -> dict[str, Any]:
        """A `chat.completion`."""
        choices = [
            {
                "index": place,
                "message": {"role": "assistant", "content": answer.text, "refusal": None},
                "logprobs": None if answer.logprobs is None else _chat_logprobs(answer.logprobs),
                "finish_reason": answer.finish,
                **({} if answer.ids is None else {"token_ids": answer.ids}),
            }
            for place, answer in enumerate(answers)
        ]
        body = {**self._head("chat.completion"), "choices": choices, "usage": usage.to_json()}
        return body if answers[0].ids is None else {**body, "prompt_token_ids": answers[0].prompt_ids}

    def start(self, choice: int) -> bytes:
        """The delta with the role."""
        return self._chunk(choice, {"role": "assistant", "content": ""}, None, None)

    def piece(self, choice: int, piece: Piece, wants_logprobs: bool) -> bytes:
        """The delta with the text; the finish reason comes in a last one of its own, without text."""
        logprobs = _chat_logprobs(piece.logprobs) if wants_logprobs and piece.logprobs else None
        out = self._chunk(choice, {"content": piece.text}, logprobs, None) if piece.text or logprobs else b""
        return out + self._chunk(choice, {}, None, piece.finish) if piece.finish else out

    def end(self, usage: Usage | None) -> bytes:
        """The usage and `[DONE]`."""
        return _usage_event(self._head("chat.completion.chunk"), usage) + DONE

    def _chunk(self, choice: int, delta: Mapping[str, Any], logprobs: Any, finish: str | None) -> bytes:
        body: dict[str, Any] = {
            **self._head("chat.completion.chunk"),
            "choices": [{"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": finish}],
        }
        return _event({**body, "usage": None} if self.include_usage else body)

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": f"chatcmpl-{self.id}", "object": kind, "created": self.created, "model": self.model}


@dataclass
class Completion:
    """/v1/completions. `echoes` holds the text each choice starts with: its prompt, or nothing."""

    id: str
    model: str
    created: int
    echoes: Sequence[str]
    include_usage: bool = False
    media_type: str = "text/event-stream"

    def whole(self, answers: Sequence[Answer], usage: Usage) -> dict[str, Any]:
        """A `text_completion`."""
        choices = [
            {
                "index": place,
                "text": self.echoes[place] + answer.text,
                "logprobs": None if answer.logprobs is None else _completion_logprobs(answer.logprobs),
                "finish_reason": answer.finish,
                **(
                    {}
                    if answer.ids is None
                    else {"token_ids": answer.ids, "prompt_token_ids": answer.prompt_ids}
                ),
            }
            for place, answer in enumerate(answers)
        ]
        return {**self._head(), "choices": choices, "usage": usage.to_json()}

    def start(self, choice: int) -> bytes:
        """The prompt, if it was to be echoed."""
        return self._chunk(choice, self.echoes[choice], None, None) if self.echoes[choice] else b""

    def piece(self, choice: int, piece: Piece, wants_logprobs: bool) -> bytes:
        """The text, and with the last of it the finish reason."""
        logprobs = _completion_logprobs(piece.logprobs) if wants_logprobs and piece.logprobs else None
        if not (piece.text or logprobs or piece.finish):
            return b""
        return self._chunk(choice, piece.text, logprobs, piece.finish or None)

    def end(self, usage: Usage | None) -> bytes:
        """The usage and `[DONE]`."""
        return _usage_event(self._head(), usage) + DONE

    def _chunk(self, choice: int, text: str, logprobs: Any, finish: str | None) -> bytes:
        body: dict[str, Any] = {
            **self._head(),
            "choices": [{"index": choice, "text": text, "logprobs": logprobs, "finish_reason": finish}],
        }
        return _event({**body, "usage": None} if self.include_usage else body)

    def _head(self) -> dict[str, Any]:
        return {
            "id": f"cmpl-{self.id}",
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
        }


class Generate:
    """vLLM's `/generate`: `{"text": [prompt + answer, ...]}`, streamed as one growing object a line."""

    media_type = "application/x-ndjson"

    def __init__(self, echoes: Sequence[str]) -> None:
        self._echoes, self._texts = list(echoes), list(echoes)

    def whole(self, answers: Sequence[Answer], usage: Usage) -> dict[str, Any]:
        """All texts."""
        return {"text": [echo + answer.text for echo, answer in zip(self._echoes, answers, strict=True)]}

    def start(self, choice: int) -> bytes:
        """Nothing: the first piece brings the prompt along."""
        return b""

    def piece(self, choice: int, piece: Piece, wants_logprobs: bool) -> bytes:
        """All texts as far as they are."""
        self._texts[choice] += piece.text
        return json.dumps({"text": self._texts}).encode() + b"\n" if piece.text or piece.finish else b""

    def end(self, usage: Usage | None) -> bytes:
        """Nothing more."""
        return b""


def error_event(body: Mapping[str, Any]) -> bytes:
    """How an open stream ends when the answer cannot be finished."""
    return _event(body)


def _event(body: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def _usage_event(head: Mapping[str, Any], usage: Usage | None) -> bytes:
    return b"" if usage is None else _event({**head, "choices": [], "usage": usage.to_json()})


def _text(token: TokenLogprob) -> str:
    return token.text.decode(errors="replace")


def _chat_logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    def entry(token: TokenLogprob) -> dict[str, Any]:
        return {"token": _text(token), "logprob": token.logprob, "bytes": list(token.text)}

    said = [token for token in tokens if token.text]  # the token that ends the text is no content
    return {
        "content": [{**entry(t), "top_logprobs": [entry(o) for o in t.top]} for t in said],
        "refusal": None,
    }


def _completion_logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    offsets, at = [], 0
    for token in tokens:
        offsets.append(at)
        at += len(_text(token))
    return {
        "tokens": [_text(token) for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [{_text(o): o.logprob for o in token.top} for token in tokens],
        "text_offset": offsets,
        "token_ids": [token.id for token in tokens],
    }
