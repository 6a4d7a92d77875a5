"""What our runtime costs over llama.cpp alone: the same model, adapter and requests, asked of both in one go.

The raw side is llama.cpp's own HTTP server in the very child process that our runtime stands in front of, so
the difference is our layer: tokenizing first, OpenAI's shapes, figures, one more hop. Needs a machine doing
nothing else.

    python bench/serve.py
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
from safetensors.numpy import save_file

from tuneline.serve import child, gguf_adapter
from tuneline.serve.llamacpp_config import Config
from tuneline.spec.template import Template
from tuneline.train.base_models import make_base

PROMPT = "Review: A film that takes its time, and is worth every minute of it.\nSentiment:"
TOKENS, THREADS, ROUNDS = 64, 2, 5
_LINEAR = {
    "self_attn.q_proj": (640, 1024), "self_attn.k_proj": (640, 256), "self_attn.v_proj": (640, 256),
    "self_attn.o_proj": (1024, 640), "mlp.gate_proj": (640, 2048), "mlp.up_proj": (640, 2048),
    "mlp.down_proj": (2048, 640),
}  # fmt: skip


def main() -> None:
    """Print a table."""
    with tempfile.TemporaryDirectory() as folder:
        base, adapter, served = make_model(Path(folder))
        with raw(base, served) as llama, ours(base, adapter, served) as runtime:
            print(f"{TOKENS} tokens an answer, {THREADS} threads, median of {ROUNDS} rounds\n")
            print(f"{'':34}{'llama.cpp':>12}{'tuneline':>12}{'cost':>8}")
            for parallel in (1, 8):
                for stream in (False, True):
                    compare(llama, runtime, parallel, stream)


def compare(llama: httpx.Client, runtime: httpx.Client, parallel: int, stream: bool) -> None:
    """One line: both sides in turns, so that neither has the quieter machine."""
    rates: dict[str, list[float]] = {"raw": [], "ours": []}
    for _ in range(ROUNDS):
        rates["raw"].append(rate(lambda: ask_raw(llama, stream), parallel))
        rates["ours"].append(rate(lambda: ask_ours(runtime, stream), parallel))
    one, other = statistics.median(rates["raw"]), statistics.median(rates["ours"])
    name = f"{parallel} at once, {'streamed' if stream else 'whole'}"
    print(f"{name:34}{one:8.1f} t/s{other:8.1f} t/s{(one / other - 1) * 100:7.1f}%")


def rate(ask: Callable[[], int], parallel: int) -> float:
    """Tokens a second."""
    began = time.perf_counter()
    with ThreadPoolExecutor(parallel) as pool:
        tokens = sum(pool.map(lambda _: ask(), range(max(2, parallel))))
    return tokens / (time.perf_counter() - began)


def ask_raw(client: httpx.Client, stream: bool) -> int:
    """llama.cpp's own API."""
    body = {
        "prompt": PROMPT,
        "n_predict": TOKENS,
        "temperature": 0,
        "ignore_eos": True,
        "cache_prompt": False,
    }
    return read(client, "/completion", {**body, "stream": stream})


def ask_ours(client: httpx.Client, stream: bool) -> int:
    """OpenAI's."""
    body = {"prompt": PROMPT, "max_tokens": TOKENS, "temperature": 0, "ignore_eos": True, "stream": stream}
    return read(client, "/v1/completions", body)


def read(client: httpx.Client, path: str, body: dict[str, object]) -> int:
    """The whole answer, thrown away; the tokens it had."""
    with client.stream("POST", path, json=body) as answer:
        assert answer.status_code == 200, answer.read()
        for _ in answer.iter_lines():
            pass
    return TOKENS


@contextmanager
def raw(base: Path, served: Path) -> Iterator[httpx.Client]:
    """llama.cpp alone."""
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/llama.sock"
        config = Config(str(base / "base.gguf"), socket, str(served / "adapter.gguf"), 8, 4096, THREADS)
        command = [sys.executable, "-m", "tuneline.serve.llamacpp_child", config.to_argument()]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin
        assert process.stdout
        assert "ready" in json.loads(process.stdout.readline())
        limits = httpx.Limits(max_keepalive_connections=0)
        transport = httpx.HTTPTransport(uds=socket, limits=limits)
        with httpx.Client(transport=transport, base_url="http://llama", timeout=600) as client:
            yield client
        process.stdin.close()
        process.wait()


@contextmanager
def ours(base: Path, adapter: Path, served: Path) -> Iterator[httpx.Client]:
    """Our runtime, asked over TCP as clients do."""
    arguments = ["--model", "bench", "--base", base, "--served", served, "--adapter", adapter]
    with (
        child.running([*arguments, "--threads", str(THREADS)]) as url,
        httpx.Client(base_url=url, timeout=600) as client,
    ):
        yield client


def make_model(folder: Path) -> tuple[Path, Path, Path]:
    """Gemma and a random adapter: base, adapter and served folders."""
    base, adapter, served = folder / "base", folder / "adapter", folder / "served"
    about = make_base("gemma-3-270m", base, lambda note: print(note, file=sys.stderr))
    adapter.mkdir()
    served.mkdir()
    chance = np.random.default_rng(0)
    tensors = {}
    for layer in range(18):
        for module, (size_in, size_out) in _LINEAR.items():
            key = f"base_model.model.model.layers.{layer}.{module}"
            tensors[f"{key}.lora_A.weight"] = chance.normal(0, 0.02, (8, size_in)).astype(np.float32)
            tensors[f"{key}.lora_B.weight"] = chance.normal(0, 0.002, (size_out, 8)).astype(np.float32)
    save_file(tensors, adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text(json.dumps({"lora_alpha": 16, "r": 8}))
    template = Template("{text}", "{label}")
    facts = {
        "method": "lora",
        "base": about,
        "template_hash": template.hash,
        "recipe": {},
        "format": "prompt",
    }
    facts["template"] = {"prompt": template.prompt, "completion": template.completion}
    (adapter / "tuneline.json").write_text(json.dumps(facts))
    config = json.loads((base / "config.json").read_text())
    gguf_adapter.convert(adapter, config, served / "adapter.gguf")
    return base, adapter, served


if __name__ == "__main__":
    main()
