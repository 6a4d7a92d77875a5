"""Latency of real runtimes of a tiny model, candidate and live by turns. No test asserts a time."""

import json
import os
from pathlib import Path

import pytest
from tests.serve.releases import make_release, make_step, write_test_split

from tuneline.errors import DataError, ModelError
from tuneline.steps import measure

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    os.environ["OMP_NUM_THREADS"] = "1"
    folder = make_release(tmp_path_factory.mktemp("llama"), "llama")
    (folder / "none").mkdir()
    return folder


def run(made: Path, folder: Path, *, runtime: str = "llamacpp", live: str = "none", **inputs: Path) -> dict:
    outputs = {"latency": folder / "latency.json"}
    given = {name: made / name for name in ("base", "adapter", "served", "test")} | {"live": made / live}
    parameters = {"runtime": runtime, "task": "classify", "max_new_tokens": 8, "live_base": ""}
    measure.run(make_step(parameters, given | inputs, outputs))
    return json.loads(outputs["latency"].read_text())


def test_candidate_and_live_are_timed_on_the_same_prompts_token_by_token(made, tmp_path):
    found = run(made, tmp_path, live="package")
    assert found["warmup"] == 4
    for who in ("candidate", "live"):
        one = found[who]
        assert (one["prompts"], one["runtime"]) == (64, "llamacpp")
        assert len(one["per_prompt"]["mean"]) == len(one["per_prompt"]["ttft_mean"]) == 64
        assert 0 < one["least"] <= one["p50"] <= one["p95"] <= one["most"]
        assert 0 < one["ttft_p50"] < one["p95"]
        assert one["spread"]["p50"][0] <= one["p50"] <= one["spread"]["p50"][1]
        assert one["tokens_per_s"] == pytest.approx(one["tokens"] / sum(one["per_prompt"]["mean"]))
    assert found["candidate"]["tokens"] == found["live"]["tokens"] >= 64  # the same model, greedily


def test_transformers_is_timed_too_and_a_first_release_alone(made, tmp_path):
    found = run(made, tmp_path, runtime="transformers")
    assert found["live"] is None
    assert found["candidate"]["runtime"] == "transformers"
    assert found["candidate"]["ttft_mean"] > 0


def test_a_runtime_that_does_not_start_says_why(made, tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "adapter.gguf").write_bytes(b"no adapter")
    with pytest.raises(ModelError, match="did not start"):
        run(made, tmp_path, served=tmp_path / "served")


def test_too_few_prompts_are_refused_before_anything_starts(made, tmp_path):
    few = write_test_split(tmp_path / "few", rows=12)
    with pytest.raises(DataError, match="has 12 rows; to measure latency takes 20"):
        run(made, tmp_path, test=few)
