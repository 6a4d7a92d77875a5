"""PEFT adapters as llama.cpp reads them. That the numbers are right is what the proof's tests show."""

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.serve.releases import lora_weights

from tuneline.errors import ModelError
from tuneline.serve.gguf_adapter import convert, named_tensors, permuted

LLAMA = {"model_type": "llama", "num_attention_heads": 4, "num_key_value_heads": 2}


def write(folder: Path, weights: dict, **settings: object) -> Path:
    folder.mkdir()
    save_file(weights, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"lora_alpha": 8, **settings}))
    return folder


def test_the_file_says_what_llama_cpp_asks_for_and_is_the_same_each_time(tmp_path: Path) -> None:
    adapter = write(tmp_path / "a", lora_weights(32))
    for name in ("one.gguf", "two.gguf"):
        convert(adapter, LLAMA, tmp_path / name)
    assert (tmp_path / "one.gguf").read_bytes() == (tmp_path / "two.gguf").read_bytes()
    reader = gguf.GGUFReader(tmp_path / "one.gguf")
    said = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    assert said == {
        "general.architecture": "llama", "general.type": "adapter",
        "adapter.type": "lora", "adapter.lora.alpha": 8.0,
    }  # fmt: skip
    assert len(reader.tensors) == 2 * 7 * 2
    assert all(tensor.tensor_type == gguf.GGMLQuantizationType.F32 for tensor in reader.tensors)


def test_query_and_key_rows_of_a_llama_are_interleaved_head_by_head() -> None:
    """Against the slow way: row 2k of a head was row k, row 2k+1 was row k + size/2."""
    weight = np.arange(4 * 6 * 3, dtype=np.float32).reshape(24, 3)
    slow = np.empty_like(weight)
    for head in range(4):
        for row in range(3):
            slow[head * 6 + 2 * row] = weight[head * 6 + row]
            slow[head * 6 + 2 * row + 1] = weight[head * 6 + row + 3]
    assert np.array_equal(permuted(weight, 4), slow)


def test_only_a_llamas_up_matrices_of_query_and_key_change() -> None:
    weights = lora_weights(32)
    key = "base_model.model.model.layers.0.self_attn.{}.lora_{}.weight"
    llama, gemma = named_tensors(weights, "llama", LLAMA), named_tensors(weights, "gemma3", LLAMA)
    for name, module in (("attn_q", "q_proj"), ("attn_k", "k_proj"), ("attn_v", "v_proj")):
        for side in "ab":
            mine = f"blk.0.{name}.weight.lora_{side}"
            trained = weights[key.format(module, side.upper())]
            assert np.array_equal(gemma[mine], trained)
            assert np.array_equal(llama[mine], trained) == (name == "attn_v" or side == "a")


def test_phi3s_fused_projections_have_names() -> None:
    key = "base_model.model.model.layers.1.{}.lora_A.weight"
    weights = {
        key.format(name): np.ones((4, 8), np.float32) for name in ("self_attn.qkv_proj", "mlp.gate_up_proj")
    }
    assert list(named_tensors(weights, "phi3", {})) == [
        "blk.1.attn_qkv.weight.lora_a",
        "blk.1.ffn_up.weight.lora_a",
    ]


def test_bfloat16_is_widened_exactly(tmp_path: Path) -> None:
    """Written by hand, for numpy has no bfloat16: its bits are the upper half of a float32's."""
    exact = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32).view(np.uint32) & 0xFFFF0000
    name = "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight"
    header = json.dumps({name: {"dtype": "BF16", "shape": [4, 64], "data_offsets": [0, 512]}}).encode()
    adapter = write(tmp_path / "a", {})
    data = (exact >> 16).astype("<u2").tobytes()
    (adapter / "adapter_model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + data)
    convert(adapter, LLAMA, tmp_path / "a.gguf")
    assert np.array_equal(gguf.GGUFReader(tmp_path / "a.gguf").tensors[0].data, exact.view(np.float32))


def test_unknown_modules_are_refused_by_name(tmp_path: Path) -> None:
    weights = {**lora_weights(32), "base_model.model.lm_head.lora_A.weight": np.ones((4, 64), np.float32)}
    with pytest.raises(ModelError, match="no place for 1") as caught:
        convert(write(tmp_path / "a", weights), LLAMA, tmp_path / "a.gguf")
    assert caught.value.details == ["base_model.model.lm_head.lora_A.weight"]
    assert not (tmp_path / "a.gguf").exists()


@pytest.mark.parametrize(
    "settings", [{"use_dora": True}, {"use_rslora": True}, {"rank_pattern": {"q": 2}}, {"bias": "all"}]
)
def test_what_an_adapter_file_cannot_say_is_refused(tmp_path: Path, settings: dict) -> None:
    with pytest.raises(ModelError, match=next(iter(settings))):
        convert(write(tmp_path / "a", lora_weights(32), **settings), LLAMA, tmp_path / "a.gguf")


def test_an_unknown_architecture_is_refused_with_those_known(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="`bert`") as caught:
        convert(write(tmp_path / "a", lora_weights(32)), {"model_type": "bert"}, tmp_path / "a.gguf")
    assert "gemma3_text" in caught.value.hint


def test_a_truncated_adapter_is_one_clear_error(tmp_path: Path) -> None:
    adapter = write(tmp_path / "a", lora_weights(32))
    path = adapter / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="cannot be read"):
        convert(adapter, LLAMA, tmp_path / "a.gguf")
