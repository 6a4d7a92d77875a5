"""OpenAI's wire shapes: a request body becomes an `Ask`, pieces of text become answers. Pure: no engine, no
HTTP.

Unknown fields are tolerated, known ones are checked, and what this server cannot do is refused by name rather
than ignored when ignoring it would change the answer (tools, several turns of tool calls, images).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tuneline.errors import UserError
from tuneline.serve.engine import Sampling

Prompt = str | list[int]


class RequestRefused(UserError):
    """The request cannot be answered as it is: OpenAI's error with its `param` and `code`."""

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400
    ) -> None:
        super().__init__(message)
        self.param, self.error_code, self.http_status = param, code, status


@dataclass(frozen=True)
class Ask:
    """What one request wants."""

    sampling: Sampling
    max_tokens: int | None
    """None: as many as fit."""
    prompts: tuple[Prompt, ...] = ()
    messages: tuple[Mapping[str, Any], ...] = ()
    n: int = 1
    stream: bool = False
    include_usage: bool = False
    echo: bool = False
    token_ids: bool = False
    """vLLM's `return_token_ids`: the ids of prompt and answer beside the text."""


def error_body(
    message: str, status: int, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """OpenAI's error envelope."""
    kinds = {
        400: "invalid_request_error",
        404: "invalid_request_error",
        429: "rate_limit_error",
        503: "service_unavailable",
    }
    kind = kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def check_model(body: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raises: RequestRefused (404) if the body names a model that is not served here.

    No name means the one there is.
    """
    asked = body.get("model")
    if asked not in (None, "") and asked not in known:
        raise RequestRefused(
            f"The model `{asked}` does not exist here; this endpoint serves `{known[0]}`.",
            param="model",
            code="model_not_found",
            status=404,
        )


def parse_chat(body: Mapping[str, Any]) -> Ask:
    """A /v1/chat/completions body. Raises: RequestRefused naming the field."""
    if body.get("tools") or body.get("functions"):
        raise RequestRefused("Tools are not supported by this endpoint.", param="tools", code="unsupported")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RequestRefused("`messages` must be a list with at least one message.", param="messages")
    limit = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    sampling = _sampling(body)
    if body.get("logprobs"):
        sampling = replace(sampling, logprobs=_whole(body, "top_logprobs", 0, 0, 20))
    return Ask(
        sampling,
        _optional(body, limit, 1),
        messages=tuple(_message(message, place) for place, message in enumerate(messages)),
        n=_whole(body, "n", 1, 1, 128),
        stream=bool(body.get("stream")),
        include_usage=_include_usage(body),
        token_ids=bool(body.get("return_token_ids")),
    )


def parse_completion(body: Mapping[str, Any]) -> Ask:
    """A /v1/completions body: `prompt` is a text, a list of texts, token ids, or lists of them."""
    sampling = _sampling(body)
    if body.get("suffix"):
        raise RequestRefused("`suffix` is not supported.", param="suffix", code="unsupported")
    echo = bool(body.get("echo"))
    if body.get("logprobs") is not None and body.get("logprobs") is not False:
        if echo:
            raise RequestRefused(
                "`echo` with `logprobs` is not supported.", param="logprobs", code="unsupported"
            )
        sampling = replace(sampling, logprobs=_whole(body, "logprobs", 0, 0, 20))
    return Ask(
        sampling,
        _whole(body, "max_tokens", 16, 1, None),
        prompts=_prompts(body.get("prompt")),
        n=_whole(body, "n", 1, 1, 128),
        stream=bool(body.get("stream")),
        include_usage=_include_usage(body),
        echo=echo,
        token_ids=bool(body.get("return_token_ids")),
    )


def parse_generate(body: Mapping[str, Any]) -> Ask:
    """A body of vLLM's demonstration server: `{"prompt", ...sampling}`."""
    if not isinstance(body.get("prompt"), str):
        raise RequestRefused("`prompt` must be a text.", param="prompt")
    return replace(parse_completion({**body, "logprobs": None, "echo": False}), echo=True)


def _prompts(found: Any) -> tuple[Prompt, ...]:
    if isinstance(found, str):
        return (found,)
    if isinstance(found, list) and found:
        if all(_is_id(entry) for entry in found):
            return (found,)
        if all(
            isinstance(entry, str) or (isinstance(entry, list) and entry and all(map(_is_id, entry)))
            for entry in found
        ):
            return tuple(found)
    raise RequestRefused("`prompt` must be a text, a list of texts, or a list of token ids.", param="prompt")


def _message(found: Any, place: int) -> Mapping[str, Any]:
    where = f"messages[{place}]"
    if not isinstance(found, dict) or not isinstance(found.get("role"), str):
        raise RequestRefused(f"`{where}` must be an object with a `role`.", param=where)
    content = found.get("content")
    if isinstance(content, list):
        content = "".join(_part(part, where) for part in content)
    if content is None and found["role"] == "assistant":
        content = ""
    if not isinstance(content, str):
        raise RequestRefused(
            f"`{where}.content` must be a text or a list of text parts.", param=f"{where}.content"
        )
    return {"role": "system" if found["role"] == "developer" else found["role"], "content": content}


def _part(part: Any, where: str) -> str:
    if isinstance(part, dict) and part.get("type", "text") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    kind = part.get("type") if isinstance(part, dict) else type(part).__name__
    raise RequestRefused(
        f"`{where}.content` has a part of type `{kind}`; this model reads text only.", param=where
    )


def _sampling(body: Mapping[str, Any]) -> Sampling:
    stop = body.get("stop")
    stops = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(entry, str) for entry in stops) or len(stops) > 16:
        raise RequestRefused("`stop` must be a text or a list of up to 16 texts.", param="stop")
    return Sampling(
        temperature=_number(body, "temperature", 1.0, 0.0, 2.0),
        top_p=_number(body, "top_p", 1.0, 0.0, 1.0),
        top_k=max(0, _whole(body, "top_k", 0, -1, None)),
        min_p=_number(body, "min_p", 0.0, 0.0, 1.0),
        presence_penalty=_number(body, "presence_penalty", 0.0, -2.0, 2.0),
        frequency_penalty=_number(body, "frequency_penalty", 0.0, -2.0, 2.0),
        repetition_penalty=_number(body, "repetition_penalty", 1.0, 0.01, 10.0),
        seed=_optional(body, "seed", None),
        stop=tuple(entry for entry in stops if entry),
        ignore_eos=bool(body.get("ignore_eos")),
        json_schema=_schema(body.get("response_format")),
    )


def _schema(found: Any) -> str:
    kind = found.get("type") if isinstance(found, dict) else None
    if found is None or kind == "text":
        return ""
    if kind == "json_object":
        return '{"type":"object"}'
    wanted = found.get("json_schema") if isinstance(found, dict) else None
    if kind == "json_schema" and isinstance(wanted, dict) and isinstance(wanted.get("schema"), dict):
        return json.dumps(wanted["schema"])
    raise RequestRefused(
        "`response_format` must have the type text, json_object, or json_schema with its schema.",
        param="response_format",
    )


def _include_usage(body: Mapping[str, Any]) -> bool:
    options = body.get("stream_options")
    return bool(isinstance(options, dict) and options.get("include_usage"))


def _number(body: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise RequestRefused(
            f"`{name}` is {value!r}; it must be a number from {low:g} to {high:g}.", param=name
        )
    return float(value)


def _whole(body: Mapping[str, Any], name: str, default: int, low: int | None, high: int | None) -> int:
    value = body.get(name)
    if value is None:
        return default
    fits = _is_id(value) and (low is None or value >= low) and (high is None or value <= high)
    if not fits:
        bounds = f" from {low}" if low is not None else ""
        bounds += f" to {high}" if high is not None else ""
        raise RequestRefused(f"`{name}` is {value!r}; it must be a whole number{bounds}.", param=name)
    return int(value)


def _optional(body: Mapping[str, Any], name: str, low: int | None) -> int | None:
    return None if body.get(name) is None else _whole(body, name, 0, low, None)


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
