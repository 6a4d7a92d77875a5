"""The fast inner parts against the plain ones they replace: outputs and gradients, on small random models.
Imports torch."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from tuneline.train import attention, fused, machine  # noqa: E402
from tuneline.train.adapters import add_adapter  # noqa: E402
from tuneline.train.model import head_logits, load_network  # noqa: E402
from tuneline.train.recipe import Recipe  # noqa: E402

pytestmark = pytest.mark.slow


def grads_and_loss(model, ids):
    model.zero_grad()
    logits = model(input_ids=ids, use_cache=False).logits
    loss = nn.functional.cross_entropy(
        logits[:, -3:-1].reshape(-1, logits.shape[-1]).float(), ids[:, -2:].reshape(-1)
    )
    loss.backward()
    return {
        name: value.grad.clone() for name, value in model.named_parameters() if value.requires_grad
    }, loss.item()


@pytest.mark.parametrize("family, changed", [("gemma3", 14 + 13), ("llama", 14 + 5), ("phi3", 8 + 5)])
def test_a_sped_up_model_has_the_loss_and_the_gradients_of_the_plain_one(base, family, changed):
    machine.settle(0)
    network = load_network(base(family), torch.float32).requires_grad_(False)
    network.set_attn_implementation("eager")
    model = add_adapter(network, Recipe(r=4), "tiny")
    for name, value in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(value, std=0.05)
    ids = torch.randint(5, 500, (3, 19))
    wanted, wanted_loss = grads_and_loss(model, ids)
    network.set_attn_implementation(attention.register())
    assert fused.speed_up(model) == changed
    found, loss = grads_and_loss(model, ids)
    assert loss == pytest.approx(wanted_loss, abs=1e-5)
    for name, value in wanted.items():
        assert torch.allclose(found[name], value, rtol=1e-3, atol=1e-5), name


def test_a_layer_with_dropout_is_left_as_it_is(base):
    network = load_network(base("llama"), torch.float32).requires_grad_(False)
    model = add_adapter(network, Recipe(r=4, lora_dropout=0.1), "tiny")
    assert fused.speed_up(model) == 5  # the norms


@pytest.mark.parametrize("heads, kv_heads", [(4, 4), (4, 2), (4, 1)])
@pytest.mark.parametrize("mask", ["causal", "bool", "added"])
def test_short_attention_is_attention(heads, kv_heads, mask):
    torch.manual_seed(0)
    q, k, v = torch.randn(2, heads, 9, 8), torch.randn(2, kv_heads, 9, 8), torch.randn(2, kv_heads, 9, 8)
    seen = torch.ones(9, 9, dtype=torch.bool).tril()
    if mask != "causal":
        seen = seen.expand(2, 1, 9, 9).clone()
        seen[1, :, :, :2] = False
        seen[1, :, torch.arange(9), torch.arange(9)] = True
    given = {"causal": None, "bool": seen, "added": torch.zeros(seen.shape).masked_fill(~seen, -1e30)}[mask]
    out, _ = attention.short_attention(nn.Module(), q, k, v, given, scaling=0.3)
    wide = [t.repeat_interleave(heads // kv_heads, 1) for t in (k, v)]
    wanted = nn.functional.scaled_dot_product_attention(q, *wide, attn_mask=seen, scale=0.3)
    assert torch.allclose(out, wanted.transpose(1, 2), atol=1e-5)


@pytest.mark.parametrize("family", ["gemma3", "llama", "phi3"])
def test_the_head_at_some_positions_gives_the_models_own_logits_there(base, family):
    network = load_network(base(family), torch.float32)
    ids = torch.randint(5, 500, (2, 7))
    with torch.inference_mode():
        whole = network(input_ids=ids).logits
        hidden = network.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
    assert torch.allclose(head_logits(network, hidden[[0, 1], [3, 6]]), whole[[0, 1], [3, 6]], atol=1e-5)
