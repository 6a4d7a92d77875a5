"""vLLM's command line for one release, the request it is sent, and what its answers say. Pure: no process, no
HTTP.

The routes and fields are those of vLLM's OpenAI server (`entrypoints/openai`); every sampling setting is
given, because vLLM's defaults are the model's own, not OpenAI's.
"""

import itertools
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneline.errors import ModelError, TransientError
from tuneline.plan.standing import RANKS
from tuneline.serve.engine import Loadable, Piece, Sampling, TokenLogprob
from tuneline.serve.loading import read_json
from tuneline.spec.serving import Vllm

BASE, RELEASE = "base", "release"
"""What vLLM calls the base and the adapter; only we ask it, so the names mean nothing outside."""
PROCESSOR_CACHE_GB = 2
"""Of the key-value cache where vLLM computes on processors and nobody said how much."""
GIB = 1 << 30
_TOKEN = "token_id:"


@dataclass(frozen=True)
class Config:
    """What to load and how."""

    model: Path
    """A folder in Hugging Face's layout: the base, or the whole model that was made of it."""
    tokenizer: Path
    adapter: Path | None
    """PEFT's folder; None where the model is whole."""
    rank: int
    """The largest rank that vLLM makes room for."""
    context: int
    """Tokens of prompt and answer."""
    options: Vllm

    @property
    def name(self) -> str:
        """The model to ask for."""
        return RELEASE if self.adapter else BASE

    def arguments(self, socket: str) -> list[str]:
        """The words after the interpreter. socket: the path where it shall listen."""
        options = self.options
        words: list[str | Path | int | float] = [
            "-m", "vllm.entrypoints.openai.api_server", "--model", self.model, "--tokenizer", self.tokenizer,
            "--served-model-name", BASE, "--uds", socket, "--dtype", options.dtype,
            "--max-model-len", self.context, "--max-num-seqs", options.max_num_seqs,
            "--tensor-parallel-size", options.gpus,
            "--gpu-memory-utilization", options.gpu_memory_utilization,
            "--generation-config", "vllm", "--logprobs-mode", "raw_logprobs", "--max-logprobs", 20,
            "--disable-uvicorn-access-log",
        ]  # fmt: skip
        if options.kv_cache_gb:
            words += ["--kv-cache-memory-bytes", options.kv_cache_gb * GIB]
        if self.adapter:
            words += ["--enable-lora", "--max-loras", 1, "--max-lora-rank", self.rank]
            words += ["--lora-modules", f"{RELEASE}={self.adapter}"]
        return [*map(str, words), *options.args]

    def environment(self, env: Mapping[str, str], threads: int | None) -> dict[str, str]:
        """`env` with what vLLM takes from there: it tells nobody that it runs, and asks no hub. Without what
        is ours: the controller knows a runtime by it.

        threads: how many compute, on processors. The system places them: vLLM itself would bind those of
        every revision to the same processors.
        """
        others = {name: value for name, value in env.items() if not name.startswith("TUNELINE_")}
        cache = self.options.kv_cache_gb or env.get("VLLM_CPU_KVCACHE_SPACE") or PROCESSOR_CACHE_GB
        if threads is not None and "VLLM_CPU_OMP_THREADS_BIND" not in others:
            others = {"OMP_NUM_THREADS": str(threads), **others, "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        return {
            **others, "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1",
            "VLLM_CPU_KVCACHE_SPACE": str(cache),
        }  # fmt: skip


def options_of(body: Mapping[str, Any]) -> Vllm:
    """`deploy.vllm` as JSON has it; keys that are not known are left out."""
    known: dict[str, Any] = {name: body[name] for name in Vllm.__dataclass_fields__ if name in body}
    return Vllm(**(known | {name: tuple(one) for name, one in known.items() if isinstance(one, list)}))


def quantization_of(options: Vllm) -> str:
    """To what vLLM makes the weights smaller, e.g. `fp8`: what proof and figures name; `none` by default."""
    words = [part for word in options.args for part in word.split("=", 1)]
    for option, value in itertools.pairwise(words):
        if option in ("--quantization", "-q"):
            return value
    return "none"


def config_of(loadable: Loadable, options: Vllm) -> Config:
    """What of a release's files vLLM loads. Raises: ModelError if one is missing, or the rank too large."""
    base, adapter = loadable.base.absolute(), loadable.adapter.absolute()
    merged = loadable.served.absolute() / "merged"
    model = merged if merged.is_dir() else base if loadable.method == "lora" else adapter
    lora = adapter if model == base else None
    about = read_json(model / "config.json")
    limit = int((about.get("text_config") or about).get("max_position_embeddings") or 0)
    wanted = max(options.max_model_len, loadable.max_length)
    context = min(wanted, limit) if limit else wanted
    return Config(model, base, lora, _rank(lora) if lora else 0, context, options)


def _rank(adapter: Path) -> int:
    about = read_json(adapter / "adapter_config.json")
    largest = max([int(about["r"]), *map(int, (about.get("rank_pattern") or {}).values())])
    for rank in RANKS:
        if rank >= largest:
            return rank
    raise ModelError(
        f"The adapter in {adapter} has rank {largest}; vLLM serves up to {RANKS[-1]}.",
        hint="Set `release: {merge: true}`, or train with a smaller `train.r`.",
    )


def completion_body(model: str, ids: list[int], sampling: Sampling, ends: frozenset[int]) -> dict[str, Any]:
    """The request for `/v1/completions`. ends: the ids that end an answer."""
    body: dict[str, Any] = {
        "model": model, "prompt": ids, "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k,
        "min_p": sampling.min_p, "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty, "repetition_penalty": sampling.repetition_penalty,
        "seed": sampling.seed, "stop": list(sampling.stop), "ignore_eos": sampling.ignore_eos,
        "stop_token_ids": [] if sampling.ignore_eos else sorted(ends), "stream": not sampling.whole,
        "return_token_ids": True,
    }  # fmt: skip
    if sampling.temperature == 0 or sampling.seed is not None:
        # a prompt of its own: cached ones are summed in another order, which gives other last bits
        body["cache_salt"] = secrets.token_hex(8)
    if sampling.logprobs is not None:
        body |= {"logprobs": sampling.logprobs, "return_tokens_as_token_ids": True}
    if sampling.json_schema:
        body["structured_outputs"] = {"json": json.loads(sampling.json_schema)}
    return body


def read_piece(choice: Mapping[str, Any], alternatives: int, text_of: Callable[[int], bytes]) -> Piece:
    """One choice of vLLM's stream, or its whole answer, with so many alternatives to each token.

    text_of: a token's own text. Raises: TransientError if vLLM gave the answer up.
    """
    finish = choice.get("finish_reason") or ""
    if finish not in ("", "stop", "length"):
        raise TransientError(f"vLLM gave the answer up: {finish}.", hint="Ask again.")
    ids = tuple(choice.get("token_ids") or ())
    logprobs = _logprobs(choice.get("logprobs"), alternatives, text_of)
    return Piece(choice.get("text") or "", ids, len(ids), logprobs, finish)


def _logprobs(
    said: Mapping[str, Any] | None, alternatives: int, text_of: Callable[[int], bytes]
) -> tuple[TokenLogprob, ...]:
    if not said:
        return ()

    def one(token: str, logprob: float) -> TokenLogprob:
        id = int(token.removeprefix(_TOKEN))
        return TokenLogprob(id, text_of(id), logprob)

    tops = said.get("top_logprobs") or [None] * len(said["tokens"])
    found = []
    for token, logprob, top in zip(said["tokens"], said["token_logprobs"], tops, strict=True):
        best = sorted((top or {}).items(), key=lambda each: -each[1])[:alternatives]
        chosen = one(token, logprob)
        found.append(
            TokenLogprob(chosen.id, chosen.text, chosen.logprob, tuple(one(*other) for other in best))
        )
    return tuple(found)
