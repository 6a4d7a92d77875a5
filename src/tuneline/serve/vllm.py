"""The vLLM engine: the base as it was trained on with the adapter as PEFT wrote it, or a merged or full
model, computed by vLLM's own server in an environment of its own.

One vLLM a revision, so a release comes, goes and fails by itself; the base is in memory once for each. It is
spoken to on a Unix socket that only its user can reach: vLLM's own routes know no keys. Prompts, limits,
errors and figures are those of every engine; what vLLM has beyond them (tools, images) is not given on.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import httpx

from tuneline.errors import ModelError, TransientError
from tuneline.serve.engine import Loadable, Piece, Sampling
from tuneline.serve.engine_server import EngineServer
from tuneline.serve.vllm_config import Config, completion_body, config_of, read_piece
from tuneline.serve.vllm_python import Installed
from tuneline.spec.serving import Vllm as Options
from tuneline.train import tokenizer

LOOK_S = 0.2
"""The time between two looks at whether it is ready."""
IDLE_S = 2.0
"""How long an idle connection is kept: less than vLLM does, which closes one unsaid after five."""


async def start(loadable: Loadable, installed: Installed, options: Options) -> "Vllm":
    """Start vLLM on a release and wait until it answers. Raises: ModelError if it ends before."""
    config = config_of(loadable, options)
    words = tokenizer.load(loadable.base)
    server = EngineServer.at("vLLM", keep_idle_s=IDLE_S)
    guard = [sys.executable, "-m", "tuneline.serve.vllm_child", str(installed.python)]
    child = await asyncio.create_subprocess_exec(
        *guard,
        *config.arguments(server.socket),
        stdin=asyncio.subprocess.PIPE,
        stdout=sys.stderr.fileno(),  # the runtime's own has its two words alone
        env=config.environment(os.environ, installed.threads),
        start_new_session=True,
    )

    @lru_cache(maxsize=65536)
    def text_of(token: int) -> bytes:
        return str(words.backend.decode([token], skip_special_tokens=True)).encode()

    ends = tokenizer.end_ids(loadable.base, words)
    engine = Vllm(config, installed.version, child, server, ends, text_of)
    try:
        await engine.loaded()
    except BaseException:
        await engine.close()
        raise
    return engine


@dataclass
class Vllm:
    """The `Engine`. Build it with `start`."""

    config: Config
    version: str
    _child: asyncio.subprocess.Process
    _server: EngineServer
    _ends: frozenset[int]
    _text_of: Callable[[int], bytes]
    name: str = "vllm"

    async def loaded(self) -> None:
        """Until vLLM has answered one request. Raises: ModelError if it ended.

        It says that it is well before it ever computed: what it compiles at its first log-probabilities took
        half a minute on two cores, which is no client's to wait for.
        """
        first = Sampling(max_tokens=1, temperature=0.0, logprobs=1, ignore_eos=True, whole=True)
        body = completion_body(self.config.name, [min(self._ends)], first, self._ends)
        while self._child.returncode is None:
            with contextlib.suppress(httpx.TransportError, TransientError):
                if (await self._server.http.get("/health", timeout=5.0)).status_code == 200:
                    await self._server.post("/v1/completions", body)
                    return
            await asyncio.sleep(LOOK_S)
        with_adapter = f" with {self.config.adapter}" if self.config.adapter else ""
        raise ModelError(
            f"vLLM could not load {self.config.model}{with_adapter}.",
            hint="Its own words are just above, in the log.",
        )

    @property
    def context(self) -> int:
        """Tokens one request may have."""
        return self.config.context

    @property
    def slots(self) -> int:
        """Requests computed at once."""
        return self.config.options.max_num_seqs

    async def tokenize(self, text: str, special: bool = True) -> list[int]:
        """Token ids, by vLLM's own tokenizer."""
        body = {"model": self.config.name, "prompt": text, "add_special_tokens": special}
        return list((await self._server.post("/tokenize", body))["tokens"])

    async def detokenize(self, ids: list[int]) -> str:
        """The text of token ids."""
        body = {"model": self.config.name, "tokens": ids}
        return str((await self._server.post("/detokenize", body))["prompt"])

    async def generate(self, ids: list[int], sampling: Sampling) -> AsyncGenerator[Piece]:
        """The answer, piece by piece; vLLM itself holds back what may become a stop string."""
        body = completion_body(self.config.name, ids, sampling, self._ends)
        alternatives = sampling.logprobs or 0
        if sampling.whole:
            found = await self._server.post("/v1/completions", body)
            yield read_piece(found["choices"][0], alternatives, self._text_of)
            return
        async with self._server.stream("/v1/completions", body) as lines:
            async for line in lines:
                event = self._event(line)
                for choice in event.get("choices", ()):
                    piece = read_piece(choice, alternatives, self._text_of)
                    yield piece
                    if piece.finish:
                        return
        raise self._server.gone()

    def _event(self, line: str) -> dict[str, Any]:
        """One line of a stream. Raises: ModelError or TransientError if it says that the answer ends here by
        a fault: vLLM looks at some of a request only after it began to answer."""
        if not line.startswith("data: ") or line == "data: [DONE]":
            return {}
        event: dict[str, Any] = json.loads(line[6:])
        if "error" in event:
            said = event["error"]
            raise self._server.fault(said.get("code") or 500, str(said.get("message", said)))
        return event

    async def ended(self) -> None:
        """Returns if vLLM ends by itself, which it never should."""
        await self._child.wait()

    async def close(self) -> None:
        """End all of vLLM's processes and remove the socket."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody of its session is left
            os.killpg(self._child.pid, signal.SIGKILL)
        await self._child.wait()
        await self._server.close()
