"""Adapters on small random models of three families: where they go, what they refuse, and that bytes do not
depend on place.

Imports torch, transformers and peft: 3 s for the file.
"""

import json
import shutil

import pytest

from tuneline.errors import ModelError
from tuneline.train.recipe import Recipe

torch = pytest.importorskip("torch")
from tuneline.train import adapters, fine_tuning  # noqa: E402
from tuneline.train.model import load, load_network  # noqa: E402

pytestmark = pytest.mark.slow

SPLIT = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
FUSED = ["down_proj", "gate_up_proj", "o_proj", "qkv_proj"]


@pytest.mark.parametrize("family, names", [("gemma3", SPLIT), ("llama", SPLIT), ("phi3", FUSED)])
def test_all_linear_means_every_linear_layer_the_model_really_has(base, family, names):
    network = load_network(base(family), torch.float32)
    assert adapters.choose_targets(network, "all-linear") == names
    model = fine_tuning.prepare(base(family), None, Recipe(r=2), "tiny")
    assert len(model.network.targeted_module_names) == 2 * len(names)
    trained = [name for name, value in model.network.named_parameters() if value.requires_grad]
    assert len(trained) == 4 * len(names)
    assert all("lora_" in name for name in trained)
    assert "lm_head" not in " ".join(trained)


def test_a_module_the_model_does_not_have_is_named_with_the_nearest(base):
    network = load_network(base("phi3"), torch.float32)
    assert adapters.choose_targets(network, "qkv_proj, o_proj") == ["o_proj", "qkv_proj"]
    with pytest.raises(ModelError) as caught:
        adapters.choose_targets(network, "o_proj,qkv_prj,gate_proj")
    assert caught.value.details[0] == "there is no module `qkv_prj`; nearest: `qkv_proj`"
    assert caught.value.hint == "It has: down_proj, gate_up_proj, o_proj, qkv_proj."


@pytest.fixture
def adapter(base, tmp_path):
    """A saved adapter of the tiny Llama, with numbers in both of its matrices."""
    torch.manual_seed(0)
    model = fine_tuning.prepare(base("llama"), None, Recipe(r=4, dtype="float32"), "tiny")
    for name, value in model.network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.1)
    (tmp_path / "adapter").mkdir()
    fine_tuning.save(model, tmp_path / "adapter", Recipe())
    return tmp_path / "adapter"


def test_an_adapter_comes_back_as_it_was_saved_and_names_no_path(base, adapter, tmp_path):
    settings = json.loads((adapter / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == "tiny"
    assert str(tmp_path) not in (adapter / "adapter_config.json").read_text()
    again = fine_tuning.prepare(base("llama"), adapter, Recipe(r=4, dtype="float32"), "tiny")
    (tmp_path / "again").mkdir()
    fine_tuning.save(again, tmp_path / "again", Recipe())
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (adapter / name).read_bytes()


def test_peft_itself_reads_the_adapter_and_gives_the_same_answer(base, adapter):
    from peft import PeftModel  # noqa: PLC0415

    ours = load(base("llama"), adapter, "float32")
    theirs = PeftModel.from_pretrained(load_network(base("llama"), torch.float32), adapter)
    ids = torch.tensor([ours.prompt_token_ids("Review: a good film\nSentiment:")])
    with torch.inference_mode():
        wanted = theirs(input_ids=ids).logits[0, -1].log_softmax(-1)
    (score,) = ours.continuation_logprobs([ids[0].tolist()], [[7]])[0]
    assert score.logprob == pytest.approx(wanted[7].item(), abs=1e-4)
    assert score.argmax == wanted.argmax().item()
    top = wanted.topk(2).values
    assert score.margin == pytest.approx((top[0] - top[1]).item(), abs=1e-4)


@pytest.mark.parametrize("family", ["phi3", "gemma3"])
def test_an_adapter_that_does_not_fit_its_base_is_refused(base, adapter, family):
    with pytest.raises(ModelError) as caught:
        load(base(family), adapter, "float32")
    assert "does not fit its base" in caught.value.message
    assert "Use the base model it was trained on" in caught.value.hint


def test_an_adapter_whose_weights_were_cut_is_refused(base, adapter):
    path = adapter / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ModelError, match="cannot be read"):
        load(base("llama"), adapter, "float32")


def test_a_missing_matrix_is_named(base, adapter):
    from safetensors.torch import load_file, save_file  # noqa: PLC0415

    state = load_file(adapter / "adapter_model.safetensors")
    gone = next(iter(state))
    del state[gone]
    save_file(state, adapter / "adapter_model.safetensors")
    with pytest.raises(ModelError) as caught:
        load(base("llama"), adapter, "float32")
    assert f"`{gone}` is missing" in caught.value.message


def test_going_on_with_another_rank_is_refused(base, adapter):
    with pytest.raises(ModelError, match="has r=4, lora_alpha=16.*asks for r=8"):
        fine_tuning.prepare(base("llama"), adapter, Recipe(r=8), "tiny")


def test_going_on_from_an_adapter_of_another_base_is_refused_by_what_it_says(base, adapter):
    here = json.loads((base("llama") / "base.json").read_text())
    there = here | {"file_sha256": "0" * 64, "name": "other"}
    facts = {"base": there, "tokenizer_hash": here["tokenizer_hash"]}
    (adapter / "tuneline.json").write_text(json.dumps(facts))
    with pytest.raises(ModelError) as caught:
        fine_tuning.prepare(base("llama"), adapter, Recipe(r=4), "tiny")
    assert "does not fit its base: it was trained on other (000000000000)" in caught.value.message


def test_a_lora_adapter_is_not_gone_on_from_with_full_fine_tuning(base, adapter):
    with pytest.raises(ModelError, match="asks for `method: full`"):
        fine_tuning.prepare(base("llama"), adapter, Recipe(method="full"), "tiny")
    shutil.rmtree(adapter)
