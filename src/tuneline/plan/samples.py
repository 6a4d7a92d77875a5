"""What one live request says about its prompt and its answer: wire bodies become a `Sample`. Pure.

Known bodies: OpenAI's chat and text completions, streamed or not, and MLflow's `/invocations` as `pyfunc`
answers it. Another body, or one cut short, is `unknown`: it is counted and never guessed at. A request with
several rows or prompts gives one of them, chosen by the request's id, as rows of one request belong
together.
"""

import hashlib
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

MAX_WORDS = 512
"""Words of a prompt that are looked at."""
MAX_LABEL = 64
"""Characters of an answer that may be a label; a longer one is counted as `(text)`."""
CONFIDENCES = ("confidence", "probability", "score")
"""Fields of a prediction that tell how sure the model is."""
# Scripts written without spaces: each sign counts as a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")


@dataclass(frozen=True)
class Sample:
    """One request, as detectors see it. None: it does not say."""

    id: str
    at: float
    """Unix seconds when it began."""
    error: bool
    """Whether the answer failed on the serving side: a status of 500 or more, or 0."""
    known: bool = False
    """Whether its bodies could be read."""
    prompt_length: int | None = None
    """Characters."""
    script: str | None = None
    """That of most letters: `latin`, `cyrillic`, `cjk`, ...; `none` without letters."""
    words: tuple[str, ...] | None = None
    """The prompt's different words in lower case, sorted."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """Numeric inputs by column."""
    label: str | None = None
    output_number: float | None = None
    output_length: int | None = None
    """Characters."""
    confidence: float | None = None
    """From 0 to 1."""
    feedback: float | None = None
    """From 0 to 1; joined later, by the request's id."""


def sample(row: Mapping[str, Any]) -> Sample:
    """The sample of a request line: `{"id", "at", "path", "status", "request", "response"}`."""
    id, status = str(row["id"]), int(row["status"])
    error = status >= 500 or status == 0
    said: dict[str, Any] = {}
    asked = _object(row.get("request"))
    if asked is not None:
        path = str(row["path"])
        if path.endswith("/invocations"):
            said = _invocation(id, asked, row.get("response") if status == 200 else None)
        elif path.endswith("/completions"):
            said = _completion(id, asked, row.get("response") if status == 200 else None)
    return Sample(id, float(row["at"]), error, known=bool(said), **said)


def _completion(id: str, asked: Mapping[str, Any], answer: Any) -> dict[str, Any]:
    prompt = _chat_prompt(asked["messages"]) if "messages" in asked else _prompt(id, asked.get("prompt"))
    if prompt is None:
        return {}
    said = _of_prompt(prompt)
    choice = _first_choice(answer)
    if choice is not None:
        text, logprobs = choice
        said |= _of_answer(text)
        if logprobs:
            said["confidence"] = math.exp(min(0.0, sum(logprobs) / len(logprobs)))
    return said


def _chat_prompt(messages: Any) -> str | None:
    """What the user said last: earlier turns repeat what earlier requests said."""
    if not isinstance(messages, list):
        return None
    for message in reversed(messages):
        if isinstance(message, Mapping) and message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, list):
                texts = [part.get("text") for part in content if isinstance(part, Mapping)]
                content = "".join(text for text in texts if isinstance(text, str))
            return content if isinstance(content, str) else None
    return None


def _prompt(id: str, found: Any) -> str | None:
    if isinstance(found, list) and found:
        found = found[_place(id, len(found))]
    return found if isinstance(found, str) else None  # token ids say nothing without the tokenizer


def _first_choice(answer: Any) -> tuple[str, list[float]] | None:
    """Text and log-probabilities of the first choice, of a whole answer or of all its events."""
    if not isinstance(answer, str):
        return None
    body = _object(answer)
    if body is not None:
        return _joined([body])
    events = [line[5:].strip() for line in answer.split("\n") if line.startswith("data:")]
    if not events or events[-1] != "[DONE]":  # not a stream, or cut short
        return None
    chunks = [_object(event) for event in events[:-1]]
    return None if None in chunks else _joined([chunk for chunk in chunks if chunk is not None])


def _joined(bodies: Sequence[Mapping[str, Any]]) -> tuple[str, list[float]] | None:
    texts: list[str] = []
    logprobs: list[float] = []
    for body in bodies:
        choices = body.get("choices")
        if not isinstance(choices, list):
            return None
        for choice in choices:
            if not isinstance(choice, Mapping) or choice.get("index", 0) != 0:
                continue
            part = choice.get("message") or choice.get("delta") or choice
            text = part.get("content", choice.get("text")) if isinstance(part, Mapping) else None
            texts += [text] if isinstance(text, str) else []
            logprobs += _logprobs(choice.get("logprobs"))
    return ("".join(texts), logprobs) if texts else None


def _logprobs(found: Any) -> list[float]:
    if not isinstance(found, Mapping):
        return []
    content = found.get("content")
    values = (
        [entry.get("logprob") for entry in content if isinstance(entry, Mapping)]
        if isinstance(content, list)
        else found.get("token_logprobs") or []
    )
    return [value for value in map(_number, values) if value is not None] if isinstance(values, list) else []


def _invocation(id: str, asked: Mapping[str, Any], answer: Any) -> dict[str, Any]:
    rows = _rows(asked)
    if not rows:
        return {}
    place = _place(id, len(rows))
    values = rows[place]
    texts = [value for value in values.values() if isinstance(value, str)]
    said: dict[str, Any] = {
        "numbers": {name: number for name, value in values.items() if (number := _number(value)) is not None}
    }
    said |= _of_prompt("\n".join(texts)) if texts else {}
    body = _object(answer)
    predictions = body.get("predictions") if body is not None else None
    if isinstance(predictions, list) and len(predictions) == len(rows):
        said |= _prediction(predictions[place])
    return said


def _rows(asked: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows of MLflow's four forms, each by column; empty if it is none of them."""
    split = asked.get("dataframe_split")
    if isinstance(split, Mapping) and isinstance(split.get("data"), list):
        columns = split.get("columns")
        return [_by_column(columns, row) for row in split["data"]]
    found = asked.get("dataframe_records", asked.get("instances", asked.get("inputs")))
    if isinstance(found, Mapping):  # column by column
        columns = {
            str(name): values if isinstance(values, list) else [values] for name, values in found.items()
        }
        lengths = {len(values) for values in columns.values()}
        if len(lengths) != 1:
            return []
        return [{name: values[i] for name, values in columns.items()} for i in range(lengths.pop())]
    return [_by_column(None, row) for row in found] if isinstance(found, list) else []


def _by_column(columns: Any, row: Any) -> Mapping[str, Any]:
    if isinstance(row, Mapping):
        return {str(name): value for name, value in row.items()}
    values = row if isinstance(row, list) else [row]
    names = columns if isinstance(columns, list) and len(columns) == len(values) else range(len(values))
    return {str(name): value for name, value in zip(names, values, strict=True)}


def _prediction(found: Any) -> dict[str, Any]:
    """A label, a number, or an object with either and perhaps a confidence."""
    sure = None
    if isinstance(found, Mapping):
        sure = next((_share(found[name]) for name in CONFIDENCES if name in found), None)
        found = next(
            (found[name] for name in ("label", "prediction", "output", "text") if name in found), None
        )
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    said: dict[str, Any] = {} if sure is None else {"confidence": sure}
    if isinstance(found, float) and math.isfinite(found):
        return said | {"output_number": found}
    if isinstance(found, bool | int | str):
        return said | _of_answer(str(found).lower() if isinstance(found, bool) else str(found))
    return said


def _share(found: Any) -> float | None:
    """A confidence from 0 to 1; the largest of a list or of an object's values."""
    if isinstance(found, Mapping):
        found = list(found.values())
    values = [_number(value) for value in (found if isinstance(found, list) else [found])]
    fit = [value for value in values if value is not None and 0 <= value <= 1]
    return max(fit) if fit and len(fit) == len(values) else None


def _of_prompt(text: str) -> dict[str, Any]:
    words = tuple(sorted(set(_WORD.findall(text.lower())[:MAX_WORDS])))
    return {"prompt_length": len(text), "script": script(text), "words": words}


def _of_answer(text: str) -> dict[str, Any]:
    label = " ".join(text.split()).lower()
    return {"label": label if len(label) <= MAX_LABEL else "(text)", "output_length": len(text)}


def script(text: str) -> str:
    """The script of most letters among the first thousand characters; `none` without letters."""
    found: Counter[str] = Counter()
    for sign, count in Counter(text[:1000]).items():
        if sign.isalpha():
            found[_script_of(sign)] += count
    return min(found, key=lambda name: (-found[name], name)) if found else "none"


@lru_cache(maxsize=8192)
def _script_of(sign: str) -> str:
    name = unicodedata.name(sign, "OTHER").split()[0].lower()
    return {"hiragana": "kana", "katakana": "kana"}.get(name, name.partition("-")[0])


def _place(id: str, count: int) -> int:
    return int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest()) % count


def _number(found: Any) -> float | None:
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        return None
    return float(found)


def _object(text: Any) -> Mapping[str, Any] | None:
    if not isinstance(text, str):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
