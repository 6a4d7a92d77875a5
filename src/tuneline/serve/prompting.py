"""From chat messages to the text that the model was trained to answer. Pure: no engine, no HTTP.

A release trained on prompt and completion has no turns: its prompt is made of the last user message alone. A
message that lacks the trained template gets it, when the template has exactly one field; the template's own
text is always byte for byte the trained one. A release trained on messages uses its tokenizer's chat
template, as the trainer did.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
import jinja2.sandbox

from tuneline.errors import DataError, ModelError
from tuneline.spec.template import Template, pieces


@dataclass(frozen=True)
class Prompting:
    """How a release wants to be asked."""

    format: str
    """`prompt` or `messages`."""
    prompt: str = ""
    """The trained template, e.g. `Review: {text}\\nSentiment:`; used by format `prompt`."""
    completion: str = ""
    chat_template: str = ""
    """Jinja, as in the tokenizer's files; empty if the tokenizer has none."""
    special_tokens: Mapping[str, str] | None = None
    """`bos_token`, `eos_token`, ... as chat templates name them."""

    @property
    def template_hash(self) -> str:
        """What training recorded: equal templates have equal hashes, and a space more is another template."""
        return Template(self.prompt, self.completion, self.format).hash

    def chat_prompt(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """The text a conversation becomes.

        Raises: DataError if there is no user message; ModelError if the template does not take these
        messages.
        """
        if self.format == "messages" or not self.prompt:
            return self._rendered(messages)
        asked = [str(m["content"]) for m in messages if m.get("role") == "user"]
        if not asked:
            raise DataError(
                "The conversation has no message of role `user`.", hint="Add one: it is what is answered."
            )
        return with_template(self.prompt, asked[-1])

    @property
    def adds_special(self) -> bool:
        """Whether the tokenizer adds BOS to the text of a conversation: a chat template writes its own."""
        return self.format != "messages" and bool(self.prompt)

    def _rendered(self, messages: Sequence[Mapping[str, Any]]) -> str:
        if not self.chat_template:
            raise ModelError(
                "This model has no chat template.",
                hint="Ask it through /v1/completions, which takes the text as it is.",
            )
        try:
            text: str = self._compiled.render(
                messages=messages,
                add_generation_prompt=True,
                tools=None,
                documents=None,
                **(self.special_tokens or {}),
            )
        except (jinja2.TemplateError, TypeError) as error:
            raise ModelError(f"The model's chat template does not take these messages: {error}") from error
        return text

    @cached_property
    def _compiled(self) -> jinja2.Template:
        return _environment().from_string(self.chat_template)


def with_template(template: str, text: str) -> str:
    """`text` as the one field of `template`; what of the template it already has is not said twice.

    A template of no or several fields cannot be filled from one text, which then is the prompt as it is.
    """
    ends = _around_field(template)
    if ends is None:
        return text
    before, after = ends
    middle = _without(
        _without(text, before, str.removeprefix, str.lstrip), after, str.removesuffix, str.rstrip
    )
    return before + middle + after


def field_of(template: str, prompt: str) -> str | None:
    """What filled the one field of `template` in `prompt`; None if that cannot be told."""
    ends = _around_field(template)
    if ends is None or not (prompt.startswith(ends[0]) and prompt.endswith(ends[1])):
        return None
    return prompt[len(ends[0]) : len(prompt) - len(ends[1])]


def load_prompting(template: Mapping[str, Any], tokenizer: Path) -> Prompting:
    """The prompting of a package: its template.json and its tokenizer folder."""
    config = _json(tokenizer / "tokenizer_config.json")
    own = tokenizer / "chat_template.jinja"
    chat = (
        own.read_text(encoding="utf-8") if own.is_file() else _default_template(config.get("chat_template"))
    )
    special = {}
    for name in ("bos_token", "eos_token", "unk_token", "pad_token"):
        value = config.get(name)
        special[name] = str(value.get("content", "")) if isinstance(value, dict) else str(value or "")
    return Prompting(
        str(template.get("format", "prompt")),
        str(template.get("prompt") or ""),
        str(template.get("completion") or ""),
        chat,
        special,
    )


def _around_field(template: str) -> tuple[str, str] | None:
    """The literal text before and after the template's only field."""
    before, after, fields = "", "", 0
    for literal, field in pieces(template):
        before, after = (before, after + literal) if fields else (before + literal, after)
        fields += field is not None
    return (before, after) if fields == 1 else None


def _without(text: str, part: str, cut: Any, strip: Any) -> str:
    """`text` without `part` at that end, be it there exactly or but for the blanks around it."""
    if not part.strip():
        return text
    if cut(text, part) != text:
        return str(cut(text, part))
    bare = cut(strip(text), part.strip())
    return str(strip(bare)) if bare != strip(text) else text


def _default_template(found: Any) -> str:
    if isinstance(found, list):  # several named ones
        found = next((entry.get("template") for entry in found if entry.get("name") == "default"), "")
    return str(found or "")


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


class _Generation(jinja2.ext.Extension):
    """`{% generation %}` marks what is trained on; when asking it means nothing."""

    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        """What stands between the tags, as it stands."""
        next(parser.stream)
        return list(parser.parse_statements(("name:endgeneration",), drop_needle=True))


def _environment() -> jinja2.Environment:
    """As transformers renders chat templates (`chat_template_utils.py`), without loading transformers."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().astimezone().strftime(form)
    return environment


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **more: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **more)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)
