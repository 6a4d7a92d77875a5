"""Our runtime on a program that takes vLLM's command line and speaks its routes: real processes, sockets and
signals. What vLLM itself computes is not seen here; docs/serving.md says what was."""

import json
import os
import shutil
import signal
import subprocess
import sys

import httpx
import openai
import psutil
import pytest
from tests.serve.conftest import runtime_arguments
from tests.vllm_stand_in import home

from tuneline.errors import ModelError
from tuneline.serve import child
from tuneline.train import tokenizer

pytestmark = pytest.mark.slow
PROMPT = "Review: a good film\nSentiment:"


def arguments(release, python, **options):
    return [*runtime_arguments(release, "vllm"), "--python", python, "--vllm", json.dumps(options)]


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    return home(tmp_path_factory.mktemp("vllm"))


@pytest.fixture(scope="module")
def served(release, python):
    with child.running(arguments(release, python, max_model_len=256)) as url:
        yield url


@pytest.fixture
def client(served):
    with openai.OpenAI(base_url=f"{served}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_a_stream_says_what_the_whole_answer_says(client):
    asked = {"model": "tiny", "prompt": PROMPT, "max_tokens": 6, "temperature": 0}
    whole = client.completions.create(**asked)
    pieces = list(client.completions.create(**asked, stream=True))
    assert whole.usage.completion_tokens == 6
    assert whole.choices[0].finish_reason == pieces[-1].choices[0].finish_reason == "length"
    assert len(pieces) > 2


def test_prompts_are_tokenized_by_vllm_and_sent_as_ids_to_the_adapter(served, release):
    """The stand-in answers otherwise for the base than for the adapter."""
    ids = httpx.post(f"{served}/tokenize", json={"prompt": PROMPT}).json()["tokens"]
    assert ids == tokenizer.load(release / "base").encode(PROMPT)
    body = {"prompt": PROMPT, "max_tokens": 1, "temperature": 0, "logprobs": 2, "return_token_ids": True}
    found = httpx.post(f"{served}/v1/completions", json=body).json()["choices"][0]
    size = json.loads((release / "base/config.json").read_text())["vocab_size"]
    assert found["prompt_token_ids"] == ids
    assert found["token_ids"] == found["logprobs"]["token_ids"] == [10 + (ids[-1] * 7 + 1) % (size - 40)]
    assert found["logprobs"]["token_logprobs"] == [-0.25]
    assert len(found["logprobs"]["top_logprobs"][0]) == 2


def test_what_vllm_refuses_is_the_clients_fault_and_said(served):
    answer = httpx.post(f"{served}/v1/completions", json={"prompt": [99_999_999], "max_tokens": 1})
    assert answer.status_code == 400
    assert "out of vocabulary" in answer.json()["error"]["message"]
    long = httpx.post(f"{served}/v1/completions", json={"prompt": PROMPT, "max_tokens": 300})
    assert long.json()["error"]["code"] == "context_length_exceeded"


def test_figures_and_version_say_that_vllm_answers(served):
    assert httpx.get(f"{served}/version").json()["runtime_version"].startswith("0.32.1, torch 2.")
    figures = httpx.get(f"{served}/metrics").text
    assert 'runtime="vllm",runtime_version="0.32.1' in figures
    assert "vllm:generation_tokens_total" in figures


def test_a_word_that_vllm_does_not_know_ends_in_its_own_words(release, python):
    given = arguments(release, python, args=["--no-such-word"])
    with pytest.raises(ModelError) as raised, child.running(given):
        pass
    said = "\n".join(raised.value.details)
    assert "unrecognized arguments: --no-such-word" in said
    assert "vLLM could not load" in said


@pytest.mark.parametrize("which", ["vllm", "runtime"])
def test_whichever_process_is_killed_none_is_left(release, python, which):
    """vLLM's second process holds a GPU's memory; here it is a sleeping one."""
    command = [sys.executable, "-m", "tuneline.serve.runtime", *map(str, arguments(release, python))]
    started = subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with started:
        for line in started.stdout:
            if line == b"ready\n":
                break
        runtime = psutil.Process(started.pid)
        (guard,) = runtime.children()
        (server,) = guard.children()
        (engine,) = server.children()
        assert server.cmdline()[1:3] == ["-m", "vllm.entrypoints.openai.api_server"]
        assert os.getpgid(guard.pid) == os.getpgid(engine.pid) != os.getpgid(runtime.pid)
        folder = os.path.dirname(server.cmdline()[server.cmdline().index("--uds") + 1])
        os.kill(server.pid if which == "vllm" else runtime.pid, signal.SIGKILL)
        assert started.wait(20) == (1 if which == "vllm" else -signal.SIGKILL)
        gone, alive = psutil.wait_procs([guard, server, engine], timeout=20)
        assert not alive
        if which == "runtime":  # nobody was left to remove it
            shutil.rmtree(folder)
        assert not os.path.exists(folder)


def test_a_stopped_runtime_takes_its_vllm_along(release, python):
    others = set(psutil.Process().children())
    with child.running(arguments(release, python)) as url:
        assert httpx.get(f"{url}/health").status_code == 200
        (runtime,) = set(psutil.Process().children()) - others
        family = runtime.children(recursive=True)
        assert len(family) == 3
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive
