"""The comparison behind a proof, with plain numbers; and what may be served on it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tuneline.errors import ProofError
from tuneline.serve import proof
from tuneline.serve.asking import aligned
from tuneline.serve.package import Package
from tuneline.serve.proof import LONG, Compared, Identity, check_servable, prove

IDENTITY = Identity("llamacpp", "1", "Q4_K_M", "b", "f", "a", "s", "t", "k")
SAME = Compared((1, 2), (1, 2), (7, 8), (-0.1, -0.2), (-0.1, -0.2), (7, 8), (2.0, 2.0))
EMPTY = Compared((1, 2), (1, 2), (), (), (), (), ())


def test_equal_sides_pass() -> None:
    found = prove(IDENTITY, [SAME] * 64)
    assert found.passed
    assert (found.token_ids_equal, found.decided, found.answers_equal, found.agreement) == (64, 64, 64, 1.0)
    assert found.to_json()["mean_logprob_diff"] == 0.0


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([SAME] * 63, "63 held-out prompts"),
        ([SAME] * 63 + [replace(SAME, prompt_ids_served=(1, 3))], "1 of 64 prompts have other token ids"),
        ([SAME] * 62 + [replace(SAME, best_trained=(7, 9))] * 2, "62 of 64 decided answers"),
        ([replace(SAME, logprobs_served=(-0.1, -0.41))] * 64, "differ by 0.105 nat"),
        ([EMPTY] * 64, "differ by inf"),
        ([replace(SAME, logprobs_served=(float("nan"), -0.2))] * 64, "differ by nan"),
    ],
)  # fmt: skip
def test_each_bound_refuses_with_its_number(rows: list[Compared], reason: str) -> None:
    found = prove(IDENTITY, rows)
    assert not found.passed
    assert any(reason in said for said in found.reasons), found.reasons


def test_exactly_at_the_bounds_is_still_proven() -> None:
    rows = [SAME] * 97 + [replace(SAME, best_trained=(7, 9))] * 3
    assert prove(IDENTITY, rows).passed
    tenth = replace(SAME, logprobs_served=(0.0, -0.25), logprobs_trained=(0.0, -0.05))  # 0.2 over two tokens
    assert prove(IDENTITY, [tenth] * 64).passed


def test_what_the_trainer_has_not_decided_may_differ() -> None:
    unsure = replace(SAME, best_trained=(9, 8), margins_trained=(0.5, 2.0))
    assert prove(IDENTITY, [SAME] * 32 + [unsure] * 32).decided == 32
    later = replace(
        SAME, best_trained=(9, 8), margins_trained=(0.6, 0.1)
    )  # it parts before it becomes unsure
    assert prove(IDENTITY, [SAME] * 63 + [later]).decided == 64


def test_of_answers_that_are_not_decided_to_their_end_the_decided_tokens_are_compared() -> None:
    """The first token is a toss-up, so no answer is decided; the second is another than the trainer's."""
    torn = replace(SAME, best_trained=(7, 9), margins_trained=(0.1, 2.0))
    found = prove(IDENTITY, [replace(torn, best_trained=(7, 8))] * 60 + [torn] * 4)
    assert (found.decided, found.decided_tokens, found.tokens_equal) == (0, 64, 60)
    assert found.reasons == ("60 of 64 decided tokens are the same (93.8%); at least 97% must be",)


def test_faults_found_before_asking_are_reasons() -> None:
    assert prove(IDENTITY, [SAME] * 64, ["another tokenizer"]).reasons == ("another tokenizer",)


def test_unreported_tokens_have_no_logprob_and_are_not_compared() -> None:
    assert aligned((1, 2, 3), [(1, -0.1), (3, -0.3)]) == (-0.1, None, -0.3)
    assert aligned((1, 5, 5, 3), [(1, -0.1), (5, -0.5), (3, -0.3)]) == (-0.1, None, None, -0.3)
    row = replace(SAME, logprobs_served=(None, -0.2))
    assert prove(IDENTITY, [row] * 64).mean_logprob_diff == 0.0


def test_only_the_proven_combination_may_be_served(tmp_path: Path) -> None:
    (tmp_path / "base.gguf").write_bytes(b"base")
    sha = proof.base_file_sha256(tmp_path, "llamacpp")
    proven = prove(replace(IDENTITY, base_file_sha256=sha), [SAME] * 64).to_json()
    manifest = {
        "model": "m", "served_digest": "s", "adapter_digest": "a", "template_hash": "t",
        "tokenizer_hash": "k",
    }  # fmt: skip
    package = Package(tmp_path, manifest, {})
    proven = json.loads(json.dumps(proven))
    check_servable(package, proven, "llamacpp", "1", tmp_path)

    def refused(match: str, package: Package = package, proven: dict = proven, version: str = "1") -> None:
        with pytest.raises(ProofError, match=match):
            check_servable(package, proven, "llamacpp", version, tmp_path)

    refused("runtime_version: proven 1, here 2", version="2")
    refused("never proven", proven={**proven, "passed": False})
    refused("never proven", proven={})
    for name in ("served_digest", "adapter_digest", "template_hash", "tokenizer_hash"):
        refused(f"{name}: proven", package=Package(tmp_path, {**manifest, name: "other"}, {}))
    (tmp_path / "base.gguf").write_bytes(b"requantized")
    refused("base_file_sha256")
    with pytest.raises(ProofError, match="no model.safetensors"):
        check_servable(package, proven, "transformers", "1", tmp_path)


def test_long_answers_are_held_to_their_tokens() -> None:
    """As measured: 59 of 61 long answers were the same of an honest pair, and 99.8 % of the tokens."""
    size = 11
    alike = Compared((1,), (1,), (7,) * size, (-0.1,) * size, (-0.1,) * size, (7,) * size, (2.0,) * size)
    parted = replace(alike, best_trained=(7,) * (size - 1) + (9,))
    honest = [alike] * 62 + [parted] * 2
    assert not prove(IDENTITY, honest).passed
    assert prove(IDENTITY, honest, bounds=LONG).passed
    found = prove(IDENTITY, [alike] * 56 + [parted] * 8, bounds=LONG)
    assert found.reasons == ("696 of 704 decided tokens are the same (98.9%); at least 99% must be",)
