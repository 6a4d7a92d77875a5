"""The llama.cpp engine: a base GGUF, memory-mapped, and a LoRA adapter on top, computed by `xllamacpp` in a
child process.

We speak llama.cpp's native API to the child and OpenAI's to the world, so that prompts, limits, errors and
metrics are the same for every engine. A prompt is tokenized first and sent as ids: what `/tokenize` shows is
what is computed.
"""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from tuneline.errors import ModelError, TransientError
from tuneline.serve.engine import Loadable, Piece, Sampling, TokenLogprob
from tuneline.serve.engine_server import EngineServer
from tuneline.serve.llamacpp_config import Config

_FINISH = {"limit": "length", "eos": "stop", "word": "stop"}


async def start(loadable: Loadable, version: str, *, threads: int, slots: int, context: int) -> "LlamaCpp":
    """Load the base's GGUF with the served adapter, or the served model if it is merged.

    Raises: ModelError, naming both files, if one is missing or llama.cpp refuses them.
    """
    model, adapter = loadable.base / "base.gguf", loadable.served / "adapter.gguf"
    whole = loadable.served / "model.gguf"
    for path in [whole] if whole.is_file() else [model, adapter]:
        if not path.is_file():
            raise ModelError(
                f"There is no model file at {path}.", hint="Run the project again: it makes the file."
            )
    # a connection a request: llama.cpp closes one after a stream unsaid, and the next request on it is lost
    server = EngineServer.at("llama.cpp", keep_idle_s=0)
    merged = whole.is_file()
    loaded, lora = str((whole if merged else model).absolute()), "" if merged else str(adapter.absolute())
    config = Config(loaded, server.socket, lora, slots, context, threads)
    command = [sys.executable, "-m", "tuneline.serve.llamacpp_child", config.to_argument()]
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    engine = LlamaCpp(config, version, child, server)
    try:
        await engine.loaded()
    except BaseException:
        await engine.close()
        raise
    return engine


@dataclass
class LlamaCpp:
    """The `Engine`. Build it with `start`."""

    config: Config
    version: str
    _child: asyncio.subprocess.Process
    _server: EngineServer
    name: str = "llamacpp"

    async def loaded(self) -> None:
        """Until the child has loaded the model. Raises: ModelError with what it said if it could not."""
        assert self._child.stdout is not None
        line = await self._child.stdout.readline()
        answer = json.loads(line) if line.startswith(b"{") else {"error": "it died while loading"}
        if "ready" not in answer:
            raise ModelError(
                f"llama.cpp could not load {self._files()}: {answer['error']}",
                hint="Its own words are just above, in the log. An adapter fits one base only.",
            )

    def _files(self) -> str:
        with_adapter = f" with {self.config.adapter}" if self.config.adapter else ""
        return f"{self.config.model}{with_adapter}"

    @property
    def context(self) -> int:
        """Tokens one request may have."""
        return self.config.context

    @property
    def slots(self) -> int:
        """Requests computed at once."""
        return self.config.slots

    async def tokenize(self, text: str, special: bool = True) -> list[int]:
        """Token ids; control tokens in the text are recognized, as the trainer's tokenizer does."""
        body = {"content": text, "add_special": special, "parse_special": True}
        return list((await self._server.post("/tokenize", body))["tokens"])

    async def detokenize(self, ids: list[int]) -> str:
        """The text of token ids."""
        return str((await self._server.post("/detokenize", {"tokens": ids}))["content"])

    async def generate(self, ids: list[int], sampling: Sampling) -> AsyncGenerator[Piece]:
        """The answer, piece by piece; llama.cpp itself holds back what may become a stop string."""
        body, counted = completion_body(ids, sampling), 0
        if sampling.whole:
            yield read_piece(await self._server.post("/completion", body), sampling.logprobs or 0, 0)
            return
        async with self._server.stream("/completion", body) as lines:
            async for line in lines:
                if line.startswith("data: "):
                    event = json.loads(line[6:])
                    yield read_piece(event, sampling.logprobs or 0, counted)
                    counted = event.get("tokens_predicted", counted)
                elif line.startswith("error: "):
                    raise TransientError(f"llama.cpp stopped: {line[7:]}", hint="Ask again.")

    async def close(self) -> None:
        """End the child and remove its socket."""
        if self._child.returncode is None:
            self._child.kill()  # it has nothing to save, and may be in the middle of loading
            await self._child.wait()
        await self._server.close()

    async def ended(self) -> None:
        """Returns if the child ends by itself, which it never should."""
        await self._child.wait()


def completion_body(ids: list[int], sampling: Sampling) -> dict[str, Any]:
    """The request for llama.cpp's `/completion`.

    Every setting is given: its own defaults are not OpenAI's.
    """
    repeatable = sampling.temperature == 0 or sampling.seed is not None
    body: dict[str, Any] = {
        "prompt": ids,
        "n_predict": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "repeat_penalty": sampling.repetition_penalty,
        "repeat_last_n": len(ids) + sampling.max_tokens,  # OpenAI's penalties look at the whole text
        "seed": -1 if sampling.seed is None else sampling.seed % (1 << 32),
        "stop": list(sampling.stop),
        "ignore_eos": sampling.ignore_eos,
        "cache_prompt": not repeatable,  # cached prompts are summed in another order: other last bits
        "stream": not sampling.whole,
        "return_tokens": True,
    }
    if sampling.logprobs is not None:
        body["n_probs"] = max(1, sampling.logprobs)
    if sampling.json_schema:
        body["json_schema"] = json.loads(sampling.json_schema)
    return body


def read_piece(body: dict[str, Any], alternatives: int, counted: int) -> Piece:
    """One event of llama.cpp's stream, or its whole answer, with so many alternatives to each token.

    `counted`: tokens that the events before it told of.
    """
    finish = _FINISH.get(body.get("stop_type", ""), "stop") if body.get("stop") else ""
    logprobs = tuple(_logprob(entry, alternatives) for entry in body.get("completion_probabilities", ()))
    count = body.get("tokens_predicted", counted) - counted
    return Piece(body.get("content", ""), tuple(body.get("tokens", ())), count, logprobs, finish)


def _logprob(entry: dict[str, Any], alternatives: int) -> TokenLogprob:
    top = tuple(_logprob(other, 0) for other in entry.get("top_logprobs", ())[:alternatives])
    return TokenLogprob(entry["id"], bytes(entry["bytes"]), entry["logprob"], top)
