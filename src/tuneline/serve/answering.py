"""Runs an `Ask` on an engine: tokens, limits, slots, figures; several choices of one request side by side.

Between the wire (`app.py`) and the engine. Who stops reading stops the work: closing a stream here closes it
there.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace

from tuneline.errors import TunelineError
from tuneline.serve.engine import Engine, Piece, Sampling, TokenLogprob
from tuneline.serve.metrics import Metrics
from tuneline.serve.openai import Ask, RequestRefused
from tuneline.serve.prompting import Prompting
from tuneline.serve.shapes import Answer, Usage


@dataclass(frozen=True)
class Choice:
    """One answer to make: its prompt and how to sample it."""

    ids: list[int]
    echo: str
    sampling: Sampling
    token_ids: bool = False
    """Whether the ids are wanted with the text."""


class Answering:
    """What `app.py` asks. One a loaded model."""

    def __init__(self, engine: Engine, prompting: Prompting, metrics: Metrics) -> None:
        self.engine, self.prompting, self.metrics = engine, prompting, metrics
        self._slots = asyncio.Semaphore(engine.slots)

    async def choices(self, ask: Ask) -> list[Choice]:
        """The answers to make: each prompt `n` times, seeds apart.

        Raises: RequestRefused if a prompt has nothing, or with its answer does not fit the context.
        """
        made = []
        for text, ids in await self._prompts(ask):
            room = self._room(len(ids), ask.max_tokens)
            whole = not ask.stream and (ask.token_ids or ask.sampling.logprobs is not None)
            sampling = replace(ask.sampling, max_tokens=room, whole=whole)
            for copy in range(ask.n):
                seed = None if sampling.seed is None else sampling.seed + copy
                made.append(
                    Choice(ids, text if ask.echo else "", replace(sampling, seed=seed), ask.token_ids)
                )
        return made

    async def stream(self, choices: list[Choice]) -> AsyncGenerator[tuple[int, Piece]]:
        """The pieces of all choices as they come, each with its choice's place."""
        if len(choices) == 1:  # by far the most frequent: no queue between the engine and the reader
            async with aclosing(self._one(choices[0])) as pieces:
                async for piece in pieces:
                    yield 0, piece
            return
        queue: asyncio.Queue[tuple[int, Piece] | BaseException | None] = asyncio.Queue()

        async def feed(place: int, choice: Choice) -> None:
            try:
                async with aclosing(self._one(choice)) as pieces:
                    async for piece in pieces:
                        queue.put_nowait((place, piece))
                queue.put_nowait(None)
            except Exception as error:
                queue.put_nowait(error)

        tasks = [asyncio.create_task(feed(place, choice)) for place, choice in enumerate(choices)]
        try:
            left = len(tasks)
            while left:
                found = await queue.get()
                if isinstance(found, BaseException):
                    raise found
                if found is None:
                    left -= 1
                else:
                    yield found
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task

    async def whole(self, choices: list[Choice]) -> tuple[list[Answer], Usage]:
        """All answers, when all are there."""
        pieces: list[list[Piece]] = [[] for _ in choices]
        async with aclosing(self.stream(choices)) as stream:
            async for place, piece in stream:
                pieces[place].append(piece)
        answers = [_answer(found, choice) for found, choice in zip(pieces, choices, strict=True)]
        return answers, usage(choices, sum(piece.count for found in pieces for piece in found))

    async def _one(self, choice: Choice) -> AsyncGenerator[Piece]:
        sequence = self.metrics.arrived(len(choice.ids))
        try:
            await self._slots.acquire()
        except BaseException:
            self.metrics.left()
            raise
        self.metrics.started(sequence)
        reason = "abort"
        try:
            async with aclosing(self.engine.generate(choice.ids, choice.sampling)) as pieces:
                async for piece in pieces:
                    self.metrics.produced(sequence, piece.count)
                    reason = piece.finish or reason
                    yield piece
        except TunelineError:
            reason = "error"
            raise
        finally:
            self._slots.release()
            self.metrics.ended(sequence, reason)

    async def _prompts(self, ask: Ask) -> list[tuple[str, list[int]]]:
        if ask.messages:
            text = self.prompting.chat_prompt(ask.messages)
            return [(text, await self.engine.tokenize(text, special=self.prompting.adds_special))]
        found = []
        for prompt in ask.prompts:
            if isinstance(prompt, str):
                found.append((prompt, await self.engine.tokenize(prompt)))
            else:
                found.append((await self.engine.detokenize(prompt) if ask.echo else "", prompt))
        return found

    def _room(self, prompt: int, wanted: int | None) -> int:
        """How many tokens the answer may have."""
        context = self.engine.context
        if prompt == 0:
            raise RequestRefused("The prompt has no tokens.", param="prompt")
        if prompt + (wanted or 1) > context:
            asked = f" and {wanted} for the answer" if wanted else ""
            raise RequestRefused(
                f"This model's maximum context length is {context} tokens; the prompt has {prompt}{asked}.",
                param="prompt" if prompt >= context else "max_tokens",
                code="context_length_exceeded",
            )
        return wanted or context - prompt


def usage(choices: list[Choice], completion: int) -> Usage:
    """Each prompt counts once, however many answers it has."""
    prompts = {id(choice.ids): len(choice.ids) for choice in choices}
    return Usage(sum(prompts.values()), completion)


def _answer(pieces: list[Piece], choice: Choice) -> Answer:
    logprobs: tuple[TokenLogprob, ...] = tuple(token for piece in pieces for token in piece.logprobs)
    finish = next((piece.finish for piece in reversed(pieces) if piece.finish), "stop")
    ids = tuple(token for piece in pieces for token in piece.ids) if choice.token_ids else None
    text = "".join(piece.text for piece in pieces)
    wanted = None if choice.sampling.logprobs is None else logprobs
    return Answer(text, finish, wanted, ids, tuple(choice.ids))
