"""A real runtime process on a tiny model, asked by the clients people use."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import psutil
import pytest
from tests.serve.conftest import runtime_arguments
from tests.serve.releases import make_release

from tuneline.errors import ModelError
from tuneline.serve import child

pytestmark = pytest.mark.slow
PROMPT = "Review: a good film\nSentiment:"


@pytest.fixture
def client(runtime: str):
    with openai.OpenAI(base_url=f"{runtime}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_the_openai_client_completes(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="tiny", prompt=PROMPT, max_tokens=5, temperature=0)
    assert answer.object == "text_completion"
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 5


def test_temperature_zero_says_the_same_again_alone_and_in_company(client: openai.OpenAI) -> None:
    def ask(_: int) -> str:
        return (
            client.completions.create(model="tiny", prompt=PROMPT, max_tokens=8, temperature=0)
            .choices[0]
            .text
        )

    with ThreadPoolExecutor(4) as pool:
        assert len({ask(0), *pool.map(ask, range(8))}) == 1


def test_a_seed_says_the_same_again_and_n_answers_differ(client: openai.OpenAI) -> None:
    def ask(n: int) -> list[str]:
        answer = client.completions.create(model="tiny", prompt=PROMPT, max_tokens=8, seed=5, n=n)
        return [choice.text for choice in answer.choices]

    assert ask(1) == ask(1)
    three = ask(3)
    assert len(set(three)) == 3
    assert three[0] == ask(1)[0]


def test_chat_applies_the_trained_template_to_the_last_user_message(
    client: openai.OpenAI, runtime: str
) -> None:
    parts = [{"type": "text", "text": "a good "}, {"type": "text", "text": "film"}]
    messages = [{"role": "user", "content": "first"}, {"role": "user", "content": parts}]
    chat = client.chat.completions.create(
        model="tiny", messages=messages, max_completion_tokens=6, temperature=0
    )
    plain = client.completions.create(model="tiny", prompt=PROMPT, max_tokens=6, temperature=0)
    assert chat.choices[0].message.role == "assistant"
    assert chat.choices[0].message.content == plain.choices[0].text
    assert chat.usage == plain.usage


def test_a_text_may_hold_what_ends_a_line_elsewhere(client: openai.OpenAI) -> None:
    """Real reviews do; llama.cpp's last event quotes the prompt as it is."""
    messages = [{"role": "user", "content": "the film\u0085it was\u2028good"}]
    answer = client.chat.completions.create(model="tiny", messages=messages, max_tokens=4, temperature=0)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 4


def test_a_stream_has_the_role_first_the_reason_last_then_usage_and_done(
    client: openai.OpenAI, runtime: str
) -> None:
    body = {
        "messages": [{"role": "user", "content": "a good film"}],
        "max_tokens": 6,
        "temperature": 0,
        "stream": True,
    }
    body["stream_options"] = {"include_usage": True}
    with httpx.stream("POST", f"{runtime}/v1/chat/completions", json=body, timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    events = [json.loads(line[6:]) for line in lines[:-1]]
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert events[-2]["choices"][0]["finish_reason"] == "length"
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["completion_tokens"] == 6
    text = "".join(event["choices"][0]["delta"].get("content", "") for event in events[:-1])
    whole = client.chat.completions.create(
        model="tiny", messages=body["messages"], max_tokens=6, temperature=0
    )
    assert text == whole.choices[0].message.content


def test_several_streamed_choices_each_end(client: openai.OpenAI) -> None:
    ends, texts = {}, {0: "", 1: ""}
    for event in client.completions.create(
        model="tiny", prompt=PROMPT, n=2, seed=1, max_tokens=5, stream=True
    ):
        for choice in event.choices:
            texts[choice.index] += choice.text
            ends[choice.index] = choice.finish_reason or ends.get(choice.index)
    assert ends == {0: "length", 1: "length"}
    assert texts[0] != texts[1]


def test_a_stop_string_ends_the_answer_and_is_not_in_it(client: openai.OpenAI) -> None:
    def ask(**more: object) -> openai.types.CompletionChoice:
        return client.completions.create(
            model="tiny", prompt=PROMPT, max_tokens=24, temperature=0, **more
        ).choices[0]

    text = ask().text
    stop = text[3:6]  # further on, a random model writes broken characters too
    for given in (stop, ["never said", stop]):
        choice = ask(stop=given)
        assert choice.finish_reason == "stop"
        assert choice.text == text[: text.index(stop)]


def test_logprobs_come_in_both_shapes(client: openai.OpenAI) -> None:
    chat = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "a good film"}], max_tokens=3, temperature=0,
        logprobs=True, top_logprobs=2,
    )  # fmt: skip
    entries = chat.choices[0].logprobs.content
    assert all(len(entry.top_logprobs) == 2 for entry in entries)
    assert entries[0].logprob == entries[0].top_logprobs[0].logprob < 0
    assert bytes(entries[0].bytes).decode(errors="replace") == entries[0].token
    plain = client.completions.create(model="tiny", prompt=PROMPT, max_tokens=3, temperature=0, logprobs=2)
    assert plain.choices[0].logprobs.token_logprobs == [entry.logprob for entry in entries]
    assert plain.choices[0].logprobs.text_offset[0] == 0


def test_echo_lists_of_prompts_and_token_ids_are_understood(client: openai.OpenAI, runtime: str) -> None:
    ids = httpx.post(f"{runtime}/tokenize", json={"prompt": PROMPT}).json()["tokens"]
    texts = client.completions.create(
        model="tiny", prompt=[PROMPT, PROMPT], max_tokens=4, temperature=0, echo=True
    )
    by_ids = client.completions.create(model="tiny", prompt=ids, max_tokens=4, temperature=0)
    assert [choice.text for choice in texts.choices] == [PROMPT + by_ids.choices[0].text] * 2
    assert texts.usage.prompt_tokens == 2 * len(ids)


def test_a_json_schema_is_followed(client: openai.OpenAI) -> None:
    schema = {"name": "s", "schema": {"enum": ["yes", "no"]}}
    answer = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "a good film"}], temperature=0, max_tokens=20,
        response_format={"type": "json_schema", "json_schema": schema},
    )  # fmt: skip
    assert json.loads(answer.choices[0].message.content) in ("yes", "no")


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"model": "gpt-5", "prompt": "a"}, 404, "model"),
        ({"prompt": "a", "temperature": 3}, 400, "temperature"),
        ({"prompt": "a", "max_tokens": 600}, 400, "max_tokens"),
        ({"prompt": "film " * 600}, 400, "prompt"),
        ({"prompt": [9999999]}, 400, None),
        ({}, 400, "prompt"),
    ],
)
def test_a_bad_request_gets_openais_envelope(
    runtime: str, body: dict, status: int, param: str | None
) -> None:
    answer = httpx.post(f"{runtime}/v1/completions", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param)
    assert error["type"] == "invalid_request_error"
    assert set(error) == {"message", "type", "param", "code"}


def test_the_client_raises_its_own_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="this endpoint serves `tiny`"):
        client.completions.create(model="other", prompt="a")
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="tiny", prompt="film " * 600)
    assert caught.value.code == "context_length_exceeded"


def test_unknown_fields_and_the_release_name_are_accepted(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model="tiny@1.0.0",
        prompt="a",
        max_tokens=1,
        user="me",
        extra_body={"service_tier": "x", "made_up": {"a": 1}},
    )
    assert answer.usage.completion_tokens == 1
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").owned_by == "tuneline"


def test_every_response_names_the_release_and_the_request(runtime: str) -> None:
    for path in ("/health", "/v1/models", "/nowhere", "/metrics", "/"):
        answer = httpx.get(runtime + path, headers={"x-request-id": "mine"})
        assert (answer.headers["x-tuneline-release"], answer.headers["x-request-id"]) == (
            "tiny@1.0.0",
            "mine",
        )
    assert httpx.get(f"{runtime}/nowhere").json()["error"]["type"] == "invalid_request_error"


def test_vllms_generate_gives_prompt_and_answer(runtime: str, client: openai.OpenAI) -> None:
    body = {"prompt": PROMPT, "max_tokens": 4, "temperature": 0}
    plain = client.completions.create(model="tiny", **body).choices[0].text
    assert httpx.post(f"{runtime}/generate", json=body).json() == {"text": [PROMPT + plain]}
    lines = httpx.post(f"{runtime}/generate", json={**body, "stream": True}).text.splitlines()
    assert json.loads(lines[-1]) == {"text": [PROMPT + plain]}


def test_text_survives_tokenize_and_detokenize(runtime: str) -> None:
    found = httpx.post(
        f"{runtime}/tokenize", json={"prompt": "a good film", "add_special_tokens": False}
    ).json()
    assert found["count"] == len(found["tokens"])
    assert found["max_model_len"] == 512
    text = httpx.post(f"{runtime}/detokenize", json={"tokens": found["tokens"]}).json()["prompt"]
    assert text == "a good film"


def test_metrics_have_vllms_names_and_count(runtime: str) -> None:
    before = figures(runtime)
    answer = httpx.post(
        f"{runtime}/v1/completions", json={"prompt": PROMPT, "max_tokens": 7, "temperature": 0}
    ).json()
    after = figures(runtime)
    labels = '{engine="0",model_name="tiny"}'
    grown = {name: after[name] - before[name] for name in after if name in before}
    assert grown["vllm:generation_tokens_total" + labels] == 7
    assert grown["vllm:prompt_tokens_total" + labels] == answer["usage"]["prompt_tokens"]
    assert grown['vllm:request_success_total{engine="0",finished_reason="length",model_name="tiny"}'] == 1
    for name in ("time_to_first_token_seconds", "e2e_request_latency_seconds", "request_queue_time_seconds"):
        assert grown[f"vllm:{name}_count{labels}"] == 1
    assert after["vllm:num_requests_running" + labels] == after["vllm:num_requests_waiting" + labels] == 0
    assert after["vllm:kv_cache_usage_perc" + labels] == 0


def test_hanging_up_stops_the_work(runtime: str) -> None:
    """Streamed and not: what nobody reads must not keep a slot."""
    aborted = 'vllm:request_success_total{engine="0",finished_reason="abort",model_name="tiny"}'
    before = figures(runtime)[aborted]
    endless = {"prompt": PROMPT, "max_tokens": 480, "ignore_eos": True}
    with httpx.stream("POST", f"{runtime}/v1/completions", json={**endless, "stream": True}) as answer:
        next(answer.iter_lines())
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{runtime}/v1/completions", json={**endless, "n": 8}, timeout=0.1)
    wait_for(lambda: figures(runtime)['vllm:num_requests_running{engine="0",model_name="tiny"}'] == 0)
    assert figures(runtime)[aborted] >= before + 2


def test_health_is_503_while_loading_and_sigterm_finishes_open_answers(release: Path) -> None:
    command = [sys.executable, "-m", "tuneline.serve.runtime", *map(str, runtime_arguments(release))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        url = "http://127.0.0.1:" + process.stdout.readline().split()[2].decode()
        runtime = psutil.Process(
            process.pid
        )  # its child is taken after its exec: suspended before, it holds up
        wait_for(
            lambda: any("tuneline.serve.llamacpp_child" in each.cmdline() for each in runtime.children())
        )
        (model,) = runtime.children()
        model.suspend()  # the tiny model would be loaded between two requests
        loading = httpx.get(f"{url}/health")
        assert (loading.status_code, loading.json()["error"]["type"]) == (503, "service_unavailable")
        assert httpx.post(f"{url}/v1/completions", json={}).status_code == 503
        model.resume()
        assert process.stdout.readline() == b"ready\n"
        lines = []
        body = {"prompt": PROMPT, "max_tokens": 300, "ignore_eos": True, "stream": True}
        with httpx.stream("POST", f"{url}/v1/completions", json=body) as answer:
            stream = answer.iter_lines()
            lines.append(next(stream))
            process.send_signal(signal.SIGTERM)
            lines += [line for line in stream if line]
        assert lines[-1] == "data: [DONE]"
        assert '"finish_reason":"length"' in lines[-2]
        assert process.wait(10) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/health")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_dead_model_process_ends_the_runtime_and_open_streams_with_an_error(release: Path) -> None:
    before = psutil.Process().children()
    with child.running(runtime_arguments(release)) as url:
        (parent,) = set(psutil.Process().children()) - set(before)
        body = {"prompt": PROMPT, "max_tokens": 480, "ignore_eos": True, "stream": True}
        with httpx.stream("POST", f"{url}/v1/completions", json=body) as answer:
            lines = answer.iter_lines()
            next(lines)
            for model in parent.children():
                model.kill()
            rest = [line for line in lines if line]
        assert '"error"' in rest[-1]
        assert parent.wait(10) == 1


def test_killing_the_runtime_leaves_no_model_process(release: Path) -> None:
    before = psutil.Process().children()
    with child.running(runtime_arguments(release)):
        (parent,) = set(psutil.Process().children()) - set(before)
        models = parent.children()
        assert models
        parent.kill()
        psutil.wait_procs(models, 5)
        assert not any(model.is_running() and model.status() != psutil.STATUS_ZOMBIE for model in models)


def test_a_taken_port_is_one_clear_error(release: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [
            sys.executable,
            "-m",
            "tuneline.serve.runtime",
            *map(str, runtime_arguments(release)),
            "--port",
            port,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert f"Port {port} on 127.0.0.1 cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_tampered_package_does_not_start(release: Path, tmp_path: Path) -> None:
    shutil.copytree(release, tmp_path / "release")
    template = tmp_path / "release" / "package" / "template.json"
    template.write_text(template.read_text().replace("Review: ", "Review:"))
    with pytest.raises(ModelError) as caught, child.running(runtime_arguments(tmp_path / "release")):
        pass
    assert "template.json was changed" in "\n".join(caught.value.details)


def test_an_adapter_of_another_model_does_not_start(release: Path, tmp_path: Path) -> None:
    """Gemma's adapter on a Llama: llama.cpp's refusal becomes our error."""
    other = make_release(tmp_path / "other", "gemma3")
    arguments = [*runtime_arguments(release)[:-1], other / "package"]
    with pytest.raises(ModelError) as caught, child.running(arguments):
        pass
    assert any("could not load" in line for line in caught.value.details)


def test_the_transformers_runtime_speaks_the_same(release: Path, runtime: str) -> None:
    body = {
        "messages": [{"role": "user", "content": "a good film"}],
        "max_tokens": 4,
        "temperature": 0,
        "logprobs": True,
    }
    with child.running(runtime_arguments(release, "transformers")) as url:
        slow = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60).json()
        streamed = httpx.post(
            f"{url}/v1/completions", json={"prompt": PROMPT, "stop": "a", "seed": 1, "stream": True}
        )
        seeded = [
            httpx.post(
                f"{url}/v1/completions", json={"prompt": PROMPT, "seed": 3, "max_tokens": 8, "n": 2}
            ).json()
            for _ in range(2)
        ]
    fast = httpx.post(f"{runtime}/v1/chat/completions", json=body).json()
    assert slow["choices"][0]["message"] == fast["choices"][0]["message"]
    assert slow["usage"] == fast["usage"]
    pairs = zip(
        slow["choices"][0]["logprobs"]["content"], fast["choices"][0]["logprobs"]["content"], strict=True
    )
    assert all(abs(one["logprob"] - other["logprob"]) < 0.05 for one, other in pairs)
    assert streamed.text.endswith("data: [DONE]\n\n")
    assert seeded[0]["choices"] == seeded[1]["choices"]


def figures(url: str) -> dict[str, float]:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")
    }


def wait_for(true, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.002)
