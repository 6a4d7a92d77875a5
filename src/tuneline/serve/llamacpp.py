"""The llama.cpp engine: a base GGUF, memory-mapped, and a LoRA adapter on top, computed by `xllamacpp` in a
child process.

We speak llama.cpp's native API to the child and OpenAI's to the world, so that prompts, limits, errors and
metrics are the same for every engine. A prompt is tokenized first and sent as ids: what `/tokenize` shows is
what is computed.
"""

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tuneline.errors import ModelError, TransientError
from tuneline.serve.engine import Loadable, Piece, Sampling, TokenLogprob
from tuneline.serve.event_stream import lines_async
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
    folder = Path(tempfile.mkdtemp(prefix="tuneline-"))
    socket = str(folder / "llama.sock")  # in the temporary folder: a socket's path has at most 107 bytes
    merged = whole.is_file()
    loaded, lora = str((whole if merged else model).absolute()), "" if merged else str(adapter.absolute())
    config = Config(loaded, socket, lora, slots, context, threads)
    command = [sys.executable, "-m", "tuneline.serve.llamacpp_child", config.to_argument()]
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    # a connection a request: llama.cpp closes one after a stream unsaid, and the next request on it is lost
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    transport = httpx.AsyncHTTPTransport(uds=socket, limits=limits)
    as_long_as_it_takes = httpx.Timeout(None)
    client = httpx.AsyncClient(transport=transport, base_url="http://llama", timeout=as_long_as_it_takes)
    engine = LlamaCpp(config, version, child, client, folder)
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
    _client: httpx.AsyncClient
    _folder: Path
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
        return list((await self._post("/tokenize", body))["tokens"])

    async def detokenize(self, ids: list[int]) -> str:
        """The text of token ids."""
        return str((await self._post("/detokenize", {"tokens": ids}))["content"])

    async def generate(self, ids: list[int], sampling: Sampling) -> AsyncGenerator[Piece]:
        """The answer, piece by piece; llama.cpp itself holds back what may become a stop string."""
        body, counted = completion_body(ids, sampling), 0
        if sampling.whole:
            yield read_piece(await self._post("/completion", body), sampling.logprobs or 0, 0)
            return
        try:
            async with self._client.stream("POST", "/completion", json=body) as answer:
                if answer.status_code != 200:
                    await answer.aread()
                    raise _refusal(answer)
                async for line in lines_async(answer.aiter_bytes()):
                    if line.startswith("data: "):
                        event = json.loads(line[6:])
                        yield read_piece(event, sampling.logprobs or 0, counted)
                        counted = event.get("tokens_predicted", counted)
                    elif line.startswith("error: "):
                        raise TransientError(f"llama.cpp stopped: {line[7:]}", hint="Ask again.")
        except httpx.TransportError as error:
            raise self._gone() from error

    async def close(self) -> None:
        """End the child and remove its socket."""
        await self._client.aclose()
        if self._child.returncode is None:
            self._child.kill()  # it has nothing to save, and may be in the middle of loading
            await self._child.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def ended(self) -> None:
        """Returns if the child ends by itself, which it never should."""
        await self._child.wait()

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = await self._client.post(path, json=body)
        except httpx.TransportError as error:
            raise self._gone() from error
        if answer.status_code != 200:
            raise _refusal(answer)
        found: dict[str, Any] = answer.json()
        return found

    def _gone(self) -> TransientError:
        return TransientError(
            "The llama.cpp process does not answer.", hint="It is being started anew; ask again."
        )


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


def _refusal(answer: httpx.Response) -> Exception:
    try:
        message = str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = answer.text[:200]
    if answer.status_code < 500:
        return ModelError(f"llama.cpp refused the request: {message}")
    return TransientError(f"llama.cpp failed: {message}", hint="Ask again.")
