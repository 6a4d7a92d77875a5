"""What a runtime needs of whatever computes tokens: the `Engine` Protocol and its values.

Token ids in, pieces of text out. No HTTP, no wire shapes, no templates: those are `openai.py` and
`prompting.py`. A piece's text never ends inside a character and never holds a stop string or the beginning of
one.
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Loadable:
    """The files one engine loads."""

    base: Path
    """The base artifact's folder."""
    served: Path
    """What the runtime loads beyond the base: `adapter.gguf`, or nothing for transformers. Of a merged
    release it has the whole model: `model.gguf`, and `merged/` for transformers."""
    adapter: Path
    """The trained adapter as PEFT wrote it, or the full model."""
    tokenizer: Path
    template: Mapping[str, Any]
    """template.json's content."""
    base_name: str
    method: str
    """`lora` or `full`."""
    max_length: int
    """Tokens of the longest row it may have been trained on: what it must be able to answer."""


@dataclass(frozen=True)
class Sampling:
    """How to choose tokens. The defaults are OpenAI's, not those of any engine."""

    max_tokens: int = 16
    temperature: float = 1.0
    """0 takes the most likely token, always."""
    top_p: float = 1.0
    top_k: int = 0
    """0 keeps every token."""
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    """How many alternatives to report with each token; 0 the chosen token alone, None nothing."""
    ignore_eos: bool = False
    json_schema: str = ""
    """A JSON Schema as text that the answer must follow; empty for none."""
    whole: bool = False
    """Whether one piece at the end will do. llama.cpp then reports every token's id; a stream leaves out
    those that end inside a character."""


@dataclass(frozen=True)
class TokenLogprob:
    """One token and its log-probability (nat) in the model's own distribution, before any sampling."""

    id: int
    text: bytes
    logprob: float
    top: tuple["TokenLogprob", ...] = ()
    """The most likely tokens at this place, best first."""


@dataclass(frozen=True)
class Piece:
    """A part of an answer. The last one has a finish reason, and may have no text."""

    text: str = ""
    ids: tuple[int, ...] = ()
    count: int = 0
    """Tokens it took: as many as ids, or more where an engine does not report them all."""
    logprobs: tuple[TokenLogprob, ...] = ()
    """In order; llama.cpp reports none for a token that ends inside a character."""
    finish: str = ""
    """"" while it goes on, then `stop` (end of text or a stop string) or `length`."""


class Engine(Protocol):
    """One loaded model. Safe to use from many coroutines of one event loop."""

    @property
    def name(self) -> str:
        """The runtime's name as the proof states it, e.g. `llamacpp`."""

    @property
    def version(self) -> str:
        """The version of what computes, as the proof states it."""

    @property
    def context(self) -> int:
        """Tokens one request may have, prompt and answer together."""

    @property
    def slots(self) -> int:
        """Requests computed at once."""

    async def tokenize(self, text: str, special: bool = True) -> list[int]:
        """The token ids of `text`; with `special`, those the model puts around a prompt (BOS) too."""

    async def detokenize(self, ids: list[int]) -> str:
        """The text of token ids."""

    def generate(self, ids: list[int], sampling: Sampling) -> AsyncGenerator[Piece]:
        """The answer to a prompt, piece by piece. Closing the iterator stops the work on it.

        Raises: ModelError if the prompt cannot be computed (ids the model does not have, a schema it cannot
        follow); TransientError if the engine is gone.
        """

    async def ended(self) -> None:
        """Returns if the engine ends by itself, which it never should."""

    async def close(self) -> None:
        """Free the model. Nothing may be generated afterwards."""
