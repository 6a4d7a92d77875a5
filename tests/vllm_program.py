"""A program that takes vLLM's command line and speaks the routes of its OpenAI server that matter here.

    PYTHON -m vllm.entrypoints.openai.api_server --model DIR --uds PATH ...

An unknown word ends it with 2, as argparse does; requests are checked as vLLM checks them. It has a second
process, as vLLM has its engine. Answers: each token follows from the one before it, and from whether the
adapter is asked. With `VLLM_STAND_IN=trainer` in its environment a real model computes them, by the trainer's
code: then what it says can be proven.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tuneline.train import tokenizer

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


def parse(words):
    """vLLM's options that are given to it; any other ends the program."""
    parser = argparse.ArgumentParser(prog="api_server.py", allow_abbrev=False)
    for option in ("model", "tokenizer", "served-model-name", "uds", "generation-config", "logprobs-mode"):
        parser.add_argument(f"--{option}", required=True)
    parser.add_argument("--dtype", choices=("auto", "bfloat16", "float16", "float32"), default="auto")
    for option in ("max-model-len", "max-num-seqs", "tensor-parallel-size", "max-logprobs"):
        parser.add_argument(f"--{option}", type=int, required=True)
    parser.add_argument("--gpu-memory-utilization", type=float, default=0.9)
    parser.add_argument("--kv-cache-memory-bytes", type=int)
    parser.add_argument("--disable-uvicorn-access-log", action="store_true")
    parser.add_argument("--enable-lora", action="store_true")
    parser.add_argument("--max-loras", type=int, default=1)
    parser.add_argument("--max-lora-rank", type=int, default=16, choices=RANKS)
    parser.add_argument("--lora-modules", nargs="*", default=[])
    return parser.parse_args(words)


class Models:
    """What answers: one token after another."""

    def __init__(self, options):
        self.adapters = dict(each.split("=", 1) for each in options.lora_modules)
        for folder in self.adapters.values():
            rank = json.loads((Path(folder) / "adapter_config.json").read_text())["r"]
            if rank > options.max_lora_rank:
                raise SystemExit(f"ValueError: LoRA rank {rank} is greater than {options.max_lora_rank}.")
        self.options, self.words = options, tokenizer.load(Path(options.tokenizer))
        self.vocabulary = json.loads((Path(options.model) / "config.json").read_text())["vocab_size"]
        self.network = None
        if os.environ.get("VLLM_STAND_IN") == "trainer":
            model = importlib.import_module("tuneline.train.model")
            adapter = next(map(Path, self.adapters.values()), None)
            self.network = model.load(Path(options.model), adapter, "float32")

    def known(self, name):
        return name == self.options.served_model_name or name in self.adapters

    def next(self, name, ids):
        """The most likely tokens after `ids`, best first: (id, log-probability)."""
        if self.network is None:
            first = 10 + (ids[-1] * 7 + (name in self.adapters)) % (self.vocabulary - 40)
            return [(first + at, -0.25 - at) for at in range(20)]
        torch = importlib.import_module("torch")
        with torch.inference_mode():
            logits = self.network.inner(input_ids=torch.tensor([ids])).logits[0, -1].float()
        best = torch.log_softmax(logits, -1).topk(20)
        return list(zip(best.indices.tolist(), best.values.tolist(), strict=True))

    def text(self, ids):
        return self.words.backend.decode(list(ids), skip_special_tokens=True)


class Refused(Exception):
    """400, with these words."""


def tokens(models, body):
    """The steps of one completion: (id, alternatives, finish)."""
    ids = list(body["prompt"])
    if not models.known(body.get("model")):
        raise Refused(f"The model `{body.get('model')}` does not exist.")
    if any(not 0 <= token < models.vocabulary for token in ids):
        raise Refused(f"Token id {max(ids)} is out of vocabulary")
    if len(ids) + body["max_tokens"] > models.options.max_model_len:
        raise Refused(f"This model's maximum context length is {models.options.max_model_len} tokens.")
    for at in range(body["max_tokens"]):
        best = models.next(body["model"], ids)
        ends = best[0][0] in body["stop_token_ids"]
        ids.append(best[0][0])
        yield ids[-1], best, "stop" if ends else "length" if at + 1 == body["max_tokens"] else None
        if ends:
            return


def choice(models, body, steps):
    """One choice of an answer or of a stream."""
    ids = [token for token, _, _ in steps]
    found = {"index": 0, "text": models.text(ids), "token_ids": ids, "finish_reason": steps[-1][2]}
    if body.get("logprobs") is not None:
        assert body["return_tokens_as_token_ids"]
        found["logprobs"] = {
            "tokens": [f"token_id:{token}" for token in ids],
            "token_logprobs": [best[0][1] for _, best, _ in steps],
            "top_logprobs": [
                {f"token_id:{other}": value for other, value in best[: max(1, body["logprobs"])]}
                for _, best, _ in steps
            ],
        }
    return found


def app(models):
    """The routes."""

    async def health(_):
        return Response()

    async def tokenize(request):
        body = await request.json()
        found = models.words.encode_all([body["prompt"]], special=body["add_special_tokens"])[0]
        return JSONResponse({"tokens": found, "count": len(found), "max_model_len": 1})

    async def detokenize(request):
        found = models.words.backend.decode((await request.json())["tokens"], skip_special_tokens=False)
        return JSONResponse({"prompt": found})

    async def complete(request):
        body = await request.json()
        steps = tokens(models, body)
        try:
            first = next(steps)
        except Refused as error:
            said = {"error": {"message": str(error), "type": "BadRequestError", "code": 400}}
            if body["stream"] and "vocabulary" in str(error):  # seen by the engine, after the answer began
                return StreamingResponse([f"data: {json.dumps(said)}\n\n"], media_type="text/event-stream")
            return JSONResponse(said, status_code=400)
        if not body["stream"]:
            return JSONResponse({"choices": [choice(models, body, [first, *steps])]})

        def events():
            for step in (first, *steps):
                yield f"data: {json.dumps({'choices': [choice(models, body, [step])]})}\n\n"
            yield "data: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    post = {"methods": ["POST"]}
    return Starlette(
        routes=[
            Route("/health", health), Route("/tokenize", tokenize, **post),
            Route("/detokenize", detokenize, **post), Route("/v1/completions", complete, **post),
        ]
    )  # fmt: skip


def main() -> None:
    """Serve until a signal."""
    options = parse(sys.argv[1:])
    models = Models(options)
    engine = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "vllm-engine"])
    try:
        uvicorn.run(app(models), uds=options.uds, log_level="warning", access_log=False)
    finally:
        engine.kill()
