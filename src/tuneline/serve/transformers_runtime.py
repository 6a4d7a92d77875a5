"""The transformers engine: for what llama.cpp cannot load. The trainer's own loading, float32, a key-value
cache.

Requests take turns, one token at a time, on one worker thread: a stream is never starved by a longer one, but
nothing is computed together, so it is several times slower than llama.cpp. Limits: no penalties but
repetition, no JSON schema.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from tuneline.errors import ModelError
from tuneline.serve.decoding import TextStream
from tuneline.serve.engine import Loadable, Piece, Sampling, TokenLogprob
from tuneline.train import model as trainer
from tuneline.train.generation import end_ids

T = TypeVar("T")


async def start(
    loadable: Loadable, version: str, *, threads: int, slots: int, context: int
) -> "Transformers":
    """Load the base with its adapter, or the merged or full model. Raises: ModelError if they do not fit."""
    pool = ThreadPoolExecutor(1, "model")
    torch.set_num_threads(threads)
    load = asyncio.get_running_loop().run_in_executor
    merged = loadable.served / "merged"
    base, adapter = (merged, None) if merged.is_dir() else (loadable.base, loadable.adapter)
    model = await load(pool, trainer.load, base, adapter, "float32")
    limit = int(getattr(model.inner.config, "max_position_embeddings", context) or context)
    return Transformers(version, model, min(context, limit), slots, pool, end_ids(loadable.base, model))


@dataclass
class Transformers:
    """The `Engine`. Build it with `start`."""

    version: str
    model: trainer.TrainedModel
    context: int
    slots: int
    _pool: ThreadPoolExecutor
    _ends: frozenset[int]
    name: str = "transformers"

    async def tokenize(self, text: str, special: bool = True) -> list[int]:
        """Token ids, as in training."""
        return self.model.tokenizer.encode_all([text], special=special)[0]

    async def detokenize(self, ids: list[int]) -> str:
        """Their text, special tokens included."""
        return str(self.model.tokenizer.backend.decode(ids, skip_special_tokens=False))

    async def generate(self, ids: list[int], sampling: Sampling) -> AsyncGenerator[Piece]:
        """The answer, piece by piece."""
        if sampling.json_schema:
            raise ModelError("The transformers runtime cannot follow a JSON schema.", hint="Use llama.cpp.")
        if not all(0 <= token < self.model.inner.config.get_text_config().vocab_size for token in ids):
            raise ModelError("The prompt has token ids that the model does not have.")
        answer = _Answer(self.model, ids, sampling)
        text = TextStream(self._decode, sampling.stop)
        for place in range(sampling.max_tokens):
            token = await self._turn(answer.step)
            logprobs = () if sampling.logprobs is None else (token,)
            if token.id in self._ends and not sampling.ignore_eos:
                yield Piece(text.rest(), (token.id,), 1, logprobs, "stop")
                return
            part = text.add(token.id)
            last = place + 1 == sampling.max_tokens
            finish = "stop" if text.stopped else "length" if last else ""
            yield Piece(part + text.rest() if last else part, (token.id,), 1, logprobs, finish)
            if finish:
                return

    async def ended(self) -> None:
        """Never returns: the model is in this process."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Let the worker finish its token."""
        self._pool.shutdown(cancel_futures=True)

    def _decode(self, ids: Any) -> str:
        return str(self.model.tokenizer.backend.decode(list(ids), skip_special_tokens=False))

    async def _turn(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


@dataclass
class _Answer:
    """One answer as it grows: the cache, and what to feed next."""

    model: trainer.TrainedModel
    ids: list[int]
    sampling: Sampling
    _cache: Any = None
    _next: list[int] = field(default_factory=list)
    _chance: torch.Generator = field(default_factory=torch.Generator)

    def __post_init__(self) -> None:
        self._next = list(self.ids)
        if self.sampling.seed is None:
            self._chance.seed()
        else:
            self._chance.manual_seed(self.sampling.seed)

    @torch.inference_mode()
    def step(self) -> TokenLogprob:
        """Compute and choose one token."""
        inputs = torch.tensor([self._next], device=self.model.device)
        out = self.model.inner(
            input_ids=inputs, past_key_values=self._cache, use_cache=True, logits_to_keep=1
        )
        self._cache = out.past_key_values
        logits = out.logits[0, -1].float().cpu()  # (vocabulary)
        logprobs = torch.log_softmax(logits, dim=-1)
        token = choose(logits, self.sampling, self.ids, self._chance)
        self._next = [token]
        self.ids = [*self.ids, token]
        return self._described(token, logprobs)

    def _described(self, token: int, logprobs: torch.Tensor) -> TokenLogprob:
        backend = self.model.tokenizer.backend

        def one(of: int) -> TokenLogprob:
            return TokenLogprob(
                of, backend.decode([of], skip_special_tokens=True).encode(), float(logprobs[of])
            )

        if not self.sampling.logprobs:
            return one(token)
        best = logprobs.topk(self.sampling.logprobs).indices.tolist()
        chosen = one(token)
        return TokenLogprob(chosen.id, chosen.text, chosen.logprob, tuple(one(other) for other in best))


def choose(logits: torch.Tensor, sampling: Sampling, before: list[int], chance: torch.Generator) -> int:
    """One token id from logits [vocabulary]; the most likely one at temperature 0."""
    if sampling.repetition_penalty != 1.0:
        seen = torch.tensor(sorted(set(before)))
        values = logits[seen]
        scaled = torch.where(
            values > 0, values / sampling.repetition_penalty, values * sampling.repetition_penalty
        )
        logits = logits.index_copy(0, seen, scaled)
    if sampling.temperature == 0:
        return int(logits.argmax())
    shares, order = torch.softmax(logits / sampling.temperature, dim=-1).sort(descending=True)
    keep = torch.ones_like(shares, dtype=torch.bool)
    if sampling.top_k:
        keep[sampling.top_k :] = False
    keep &= (shares.cumsum(0) - shares) < sampling.top_p
    keep &= shares >= sampling.min_p * shares[0]
    keep[0] = True
    return int(order[torch.multinomial(shares * keep, 1, generator=chance)])
