"""A merged release: the adapter folded into its base, the whole model proven like the adapter.

Real trainer and runtime process, tiny random models.
"""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from tests.serve.releases import lora_weights, make_release, make_step, write_package
from tests.tiny import movie_rows
from transformers import AutoModelForCausalLM

from tuneline.errors import ModelError
from tuneline.execute.files import digest_path
from tuneline.serve import package
from tuneline.serve.gguf_merged import convert
from tuneline.steps import merge, verify
from tuneline.steps.verify import Subject
from tuneline.train import merging
from tuneline.train import model as trainer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny releases by family, each with its `merged` folder."""
    os.environ["OMP_NUM_THREADS"] = "1"
    found = {}
    for family in ("llama", "gemma3"):
        folder = make_release(tmp_path_factory.mktemp(family), family)
        merge_step(folder, folder / "merged")
        found[family] = folder
    return found


def merge_step(release: Path, merged: Path) -> None:
    inputs = {name: release / name for name in ("base", "adapter")}
    merge.run(make_step({"model": "tiny"}, inputs, {"merged": merged}))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: value for path in folder.glob("*.safetensors") for name, value in load_file(path).items()}


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_the_weights_are_the_base_plus_the_adapter_rounded_once(made, family):
    """Compared with the formula, in double precision: `W + alpha / r * B A`."""
    folder = made[family]
    base, merged = weights(folder / "base"), weights(folder / "merged")
    adapter = lora_weights(16 if family == "gemma3" else 32)
    assert set(merged) == set(base)
    keys = [key for key in adapter if "lora_A" in key]
    changed = {key.removeprefix("base_model.model.").replace("lora_A.", ""): key for key in keys}
    for name, value in merged.items():
        assert value.dtype == torch.bfloat16
        wanted = base[name].double()
        if name in changed:
            down, up = adapter[changed[name]], adapter[changed[name].replace("lora_A", "lora_B")]
            wanted = wanted + 2 * torch.from_numpy(up.astype(np.float64) @ down.astype(np.float64))
        error = (value.double() - wanted).abs()
        assert bool((error <= wanted.abs() * 2**-8 + 1e-6).all()), name
        assert name in changed or bool((error == 0).all())


def test_transformers_loads_it_without_peft_and_it_answers_as_the_trained_model(made):
    folder = made["gemma3"]
    alone = AutoModelForCausalLM.from_pretrained(folder / "merged", dtype=torch.float32)
    trained = trainer.load(folder / "base", folder / "adapter", "float32")
    ids = torch.tensor([trained.prompt_token_ids(f"Review: {movie_rows(1)[0]['text']}\nSentiment:")])
    with torch.inference_mode():
        ours, theirs = trained.inner(input_ids=ids).logits, alone(input_ids=ids).logits
    assert bool((ours.argmax(-1) == theirs.argmax(-1)).float().mean() > 0.9)
    assert float((ours.log_softmax(-1) - theirs.log_softmax(-1)).abs().mean()) < 0.1


def test_it_is_a_whole_folder_with_a_card_the_same_to_the_byte(made, tmp_path):
    folder = made["llama"]
    names = {path.name for path in (folder / "merged").iterdir()}
    files = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "README.md"}
    assert files <= names
    assert json.loads((folder / "merged/generation_config.json").read_text())["eos_token_id"] == 2
    matter = yaml.safe_load((folder / "merged/README.md").read_text().split("---\n")[1])
    assert (matter["library_name"], matter["base_model_relation"]) == ("transformers", "finetune")
    merge_step(folder, tmp_path / "again")
    assert digest_path(tmp_path / "again") == digest_path(folder / "merged")


def test_large_models_are_written_in_pieces(made, tmp_path, monkeypatch):
    monkeypatch.setattr(merging, "SHARD", "100KB")
    merge_step(made["llama"], tmp_path / "merged")
    index = json.loads((tmp_path / "merged/model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 1
    whole, pieces = weights(made["llama"] / "merged"), weights(tmp_path / "merged")
    assert all(torch.equal(whole[name], pieces[name]) for name in whole)
    trainer.load_network(tmp_path / "merged", torch.float32)


def subject(folder: Path, runtime: str, served: Path, merged: Path) -> Subject:
    parts = (folder / name for name in ("base", "adapter"))
    return Subject(runtime, *parts, served, folder / "test", "float32", merged=merged)


@pytest.mark.parametrize(
    "runtime, family", [("llamacpp", "llama"), ("llamacpp", "gemma3"), ("transformers", "llama")]
)
def test_the_merged_model_is_proven_like_the_adapter(made, tmp_path, runtime, family):
    """llama.cpp gets a GGUF of it; in the llama family with the query and key rows in llama.cpp's order."""
    inputs = {name: made[family] / name for name in ("base", "adapter", "test", "merged")}
    outputs = {"served": tmp_path / "served", "proof": tmp_path / "proof.json"}
    verify.run(make_step({"runtime": runtime, "dtype": "float32", "max_length": 128}, inputs, outputs))
    proof = json.loads(outputs["proof"].read_text())
    assert proof["passed"]
    assert (proof["form"], proof["runtime"]) == ("merged", runtime)
    assert (tmp_path / "served/model.gguf").is_file() == (runtime == "llamacpp")
    assert digest_path(tmp_path / "served/merged") == digest_path(made[family] / "merged")


def test_a_model_without_its_adapter_is_refused(made, tmp_path):
    folder = made["llama"]
    shutil.copytree(folder / "merged", tmp_path / "merged")
    shutil.copyfile(folder / "base/model.safetensors", tmp_path / "merged/model.safetensors")
    asked = subject(folder, "llamacpp", tmp_path / "served", tmp_path / "merged")
    verify.make_served(asked)
    found = verify.prove(asked)
    assert not found.passed
    assert any("log-probabilities differ" in reason for reason in found.reasons)


def test_a_package_says_which_form_it_has_and_keeps_the_adapter(made, tmp_path):
    folder = tmp_path / "release"
    shutil.copytree(made["llama"], folder)
    shutil.rmtree(folder / "served")
    verify.make_served(subject(folder, "llamacpp", folder / "served", folder / "merged"))
    write_package(folder, tmp_path / "package")
    found = package.load(tmp_path / "package")
    assert found.manifest["form"] == "merged"
    assert {
        "adapter/adapter_model.safetensors",
        "served/model.gguf",
        "served/merged/model.safetensors",
    } <= set(found.manifest["files"])
    assert "form" not in package.load(made["llama"] / "package").manifest  # its digest is what it was


def test_a_base_without_a_gguf_is_for_the_transformers_runtime(made, tmp_path):
    folder = made["llama"]
    shutil.copytree(folder / "base", tmp_path / "base")
    (tmp_path / "base/base.gguf").unlink()
    with pytest.raises(ModelError, match=r"has no base\.gguf") as caught:
        convert(tmp_path / "base", folder / "adapter", folder / "merged", tmp_path / "model.gguf")
    assert "transformers" in caught.value.hint


def test_an_adapter_with_a_weight_that_is_no_number_is_not_merged(made, tmp_path):
    shutil.copytree(made["llama"], tmp_path / "release")
    from safetensors.numpy import save_file  # noqa: PLC0415

    values = lora_weights(32)
    next(iter(values.values()))[0, 0] = np.nan
    save_file(values, tmp_path / "release/adapter/adapter_model.safetensors")
    with pytest.raises(ModelError, match="cannot be merged"):
        merge_step(tmp_path / "release", tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
