"""What vLLM is told, and what its answers say; no vLLM, no process."""

import json

import pytest
from tests.serve.releases import write_json

from tuneline.errors import ModelError, TransientError
from tuneline.serve.engine import Loadable, Sampling, TokenLogprob
from tuneline.serve.vllm_config import (
    GIB,
    completion_body,
    config_of,
    options_of,
    quantization_of,
    read_piece,
)
from tuneline.spec.serving import Vllm
from tuneline.spec.serving_checks import GIVEN


@pytest.fixture
def files(tmp_path):
    """The folders of a release, with what is read of them."""
    for name, about in (("base", {"max_position_embeddings": 512}), ("adapter", {"architectures": ["X"]})):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "config.json", about)
    write_json(tmp_path / "adapter/adapter_config.json", {"r": 4})
    (tmp_path / "served").mkdir()
    return tmp_path


def loadable(files, method="lora", max_length=0):
    names = ("base", "served", "adapter")
    return Loadable(*(files / name for name in names), files / "base", {}, "m", method, max_length)


def after(words, option):
    return words[words.index(option) + 1]


def test_an_adapter_is_a_lora_module_on_its_base(files):
    words = config_of(loadable(files), Vllm(args=("--enforce-eager",))).arguments("/s")
    assert words[:2] == ["-m", "vllm.entrypoints.openai.api_server"]
    assert (after(words, "--model"), after(words, "--uds")) == (str(files / "base"), "/s")
    assert after(words, "--lora-modules") == f"release={files / 'adapter'}"
    assert after(words, "--max-lora-rank") == "8"
    assert words[-1] == "--enforce-eager"
    assert "--kv-cache-memory-bytes" not in words


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_whole_model_is_served_without_lora(files, method):
    if method == "lora":
        (files / "served/merged").mkdir()
        write_json(files / "served/merged/config.json", {})
    config = config_of(loadable(files, method), Vllm())
    assert config.model == files / ("served/merged" if method == "lora" else "adapter")
    assert (config.tokenizer, config.name) == (files / "base", "base")
    assert not [word for word in config.arguments("/s") if "lora" in word]


@pytest.mark.parametrize(
    "about, rank", [({"r": 8}, 8), ({"r": 9}, 16), ({"r": 4, "rank_pattern": {"q_proj": 400}}, 512)]
)
def test_room_is_made_for_the_largest_rank_of_the_adapter(files, about, rank):
    write_json(files / "adapter/adapter_config.json", about)
    assert config_of(loadable(files), Vllm()).rank == rank


def test_a_rank_that_vllm_does_not_serve_is_refused_with_what_to_do(files):
    write_json(files / "adapter/adapter_config.json", {"r": 600})
    with pytest.raises(ModelError, match="rank 600") as raised:
        config_of(loadable(files), Vllm())
    assert "merge" in raised.value.hint


@pytest.mark.parametrize("wanted, trained, context", [(128, 0, 128), (128, 256, 256), (4096, 0, 512)])
def test_the_context_has_what_was_trained_and_what_the_model_can(files, wanted, trained, context):
    assert config_of(loadable(files, max_length=trained), Vllm(max_model_len=wanted)).context == context


def test_a_cache_of_a_given_size_is_given_to_gpus_and_to_processors(files):
    config = config_of(loadable(files), Vllm(kv_cache_gb=3))
    assert after(config.arguments("/s"), "--kv-cache-memory-bytes") == str(3 * GIB)
    assert config.environment({}, None)["VLLM_CPU_KVCACHE_SPACE"] == "3"
    unsaid = config_of(loadable(files), Vllm())
    assert unsaid.environment({}, None)["VLLM_CPU_KVCACHE_SPACE"] == "2"
    assert unsaid.environment({"VLLM_CPU_KVCACHE_SPACE": "7"}, None)["VLLM_CPU_KVCACHE_SPACE"] == "7"


def test_vllm_tells_nobody_asks_nobody_and_is_taken_for_no_runtime_of_ours(files):
    given = config_of(loadable(files), Vllm()).environment(
        {"TUNELINE_REVISION": "folder#1", "HOME": "/h"}, None
    )
    assert given == {
        "HOME": "/h", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_KVCACHE_SPACE": "2",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("said", "threads", "bound"),
    [
        ({}, "3", "nobind"),
        ({"OMP_NUM_THREADS": "8"}, "8", "nobind"),
        ({"VLLM_CPU_OMP_THREADS_BIND": "0-3"}, None, "0-3"),
    ],
)
def test_threads_of_several_revisions_are_not_bound_to_the_same_processors(files, said, threads, bound):
    given = config_of(loadable(files), Vllm()).environment(said, 3)
    assert (given.get("OMP_NUM_THREADS"), given["VLLM_CPU_OMP_THREADS_BIND"]) == (threads, bound)


def test_options_are_read_back_from_the_projects_json():
    body = json.loads(json.dumps({"max_model_len": 64, "args": ["--seed", "1"], "of_another_version": 1}))
    assert options_of(body) == Vllm(max_model_len=64, args=("--seed", "1"))


@pytest.mark.parametrize(
    "args, found",
    [((), "none"), (("--quantization", "fp8"), "fp8"), (("-q=awq",), "awq"), (("--quantization",), "none")],
)
def test_weights_that_vllm_makes_smaller_are_named(args, found):
    assert quantization_of(Vllm(args=args)) == found


def test_a_request_gives_every_setting_and_where_an_answer_ends():
    body = completion_body(
        "release", [2, 5], Sampling(whole=True, temperature=0, logprobs=2), frozenset((1, 106))
    )
    assert (body["model"], body["prompt"], body["stream"]) == ("release", [2, 5], False)
    assert (body["top_p"], body["top_k"], body["repetition_penalty"]) == (1.0, 0, 1.0)
    assert (body["stop_token_ids"], body["logprobs"]) == ([1, 106], 2)
    assert "structured_outputs" not in body
    schema = completion_body(
        "base", [2], Sampling(json_schema='{"type": "object"}', ignore_eos=True), frozenset((1,))
    )
    assert schema["structured_outputs"] == {"json": {"type": "object"}}
    assert schema["stop_token_ids"] == []


def test_only_what_must_be_the_same_again_is_computed_without_the_cache():
    def salt(**settings):
        return completion_body("base", [2], Sampling(**settings), frozenset()).get("cache_salt")

    assert salt() is None
    assert salt(seed=3)
    assert salt(temperature=0) != salt(temperature=0)


def test_an_answer_is_read_with_its_tokens_and_as_many_alternatives_as_were_asked():
    said = {
        "text": " ab", "token_ids": [7, 9], "finish_reason": "length",
        "logprobs": {
            "tokens": ["token_id:7", "token_id:9"], "token_logprobs": [-0.5, -2.0],
            "top_logprobs": [
                {"token_id:7": -0.5, "token_id:8": -1.0}, {"token_id:9": -2.0, "token_id:3": -0.1},
            ],
        },
    }  # fmt: skip
    piece = read_piece(said, 1, lambda id: f"<{id}>".encode())
    assert (piece.text, piece.ids, piece.count, piece.finish) == (" ab", (7, 9), 2, "length")
    assert piece.logprobs[0] == TokenLogprob(7, b"<7>", -0.5, (TokenLogprob(7, b"<7>", -0.5),))
    assert [other.id for other in piece.logprobs[1].top] == [3]
    assert read_piece({"text": "a", "token_ids": [1], "finish_reason": None}, 0, bytes).finish == ""


def test_an_answer_that_was_given_up_is_no_answer():
    with pytest.raises(TransientError, match="abort"):
        read_piece({"text": "", "finish_reason": "abort"}, 0, bytes)


def test_no_word_that_tuneline_gives_may_be_a_projects_too(files):
    words = config_of(loadable(files), Vllm(kv_cache_gb=1)).arguments("/s")
    free = {"--disable-uvicorn-access-log", "--max-loras"}
    assert {word for word in words if word.startswith("--")} - free <= GIVEN
