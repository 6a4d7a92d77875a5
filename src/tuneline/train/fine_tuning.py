"""From a base and a recipe to a model that can be trained, and from a trained model to the folder that is
released."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_safetensors

from tuneline.errors import ModelError
from tuneline.train import adapters, fused, machine, quantized, sharding
from tuneline.train.model import TrainedModel, load_network
from tuneline.train.recipe import Recipe
from tuneline.train.tokenizer import load as load_tokenizer
from tuneline.train.tokenizer import tokenizer_hash


def prepare(base: Path, init: Path | None, recipe: Recipe, base_name: str) -> TrainedModel:
    """The model to train: an adapter on the frozen base, or the whole base in float32.

    Args:
        init: an adapter (or a whole model, for `method: full`) to go on from, or None.
    Raises: ModelError if `init` does not fit the base or the method.
    """
    tokenizer = load_tokenizer(base)
    if init is not None:
        _check_fits(base, init, recipe)
    if recipe.method == "full":
        network = load_network(init or base, torch.float32)
        network.requires_grad_(True)
        return TrainedModel(network, tokenizer)
    network = load_network(base, machine.choose_dtype(recipe.dtype), quantized.settings(recipe))
    network.requires_grad_(False)
    targets = adapters.choose_targets(network, recipe.target_modules)
    if init is None:
        adapted = adapters.add_adapter(network, recipe, base_name)
    else:
        adapted = adapters.load_adapter(network, init, train=True)
        _check_same_shape(adapted.peft_config["default"], recipe, targets)
        adapted.peft_config["default"].base_model_name_or_path = base_name
    fused.speed_up(adapted)
    return TrainedModel(adapted, tokenizer)


def trained_state(model: TrainedModel, *, keep: bool) -> dict[str, Any] | None:
    """The weights to save where layers are shared out, whole; else None: the network has them. Every process
    must ask; keep: whether this one writes them."""
    trained = {name: value for name, value in model.network.named_parameters() if value.requires_grad}
    return sharding.whole_weights(trained, keep=keep) if sharding.is_sharded(trained.values()) else None


def save(model: TrainedModel, folder: Path, recipe: Recipe, state: dict[str, Any] | None = None) -> None:
    """Write what was trained: a PEFT adapter, or a whole model in bfloat16 with its config.

    state: that of `trained_state`.
    """
    if recipe.method == "lora":
        adapters.save_adapter(model.network, folder, state)
        return
    state = {**model.network.state_dict(), **(state or {})}
    if model.network.config.tie_word_embeddings:
        state = {name: value for name, value in state.items() if not name.startswith("lm_head.")}
    tensors = {name: state[name].to("cpu", torch.bfloat16).contiguous() for name in sorted(state)}
    (folder / "model.safetensors").write_bytes(to_safetensors(tensors, {"format": "pt"}))
    settings = {key: value for key, value in model.network.config.to_dict().items() if key != "_name_or_path"}
    settings |= {"dtype": "bfloat16", "architectures": [type(model.network).__name__]}
    (folder / "config.json").write_text(
        json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )


def _check_fits(base: Path, init: Path, recipe: Recipe) -> None:
    """Refuse an adapter of another base by what its own tuneline.json says, before its tensors are looked
    at."""
    whole = (init / "model.safetensors").is_file()
    if whole != (recipe.method == "full"):
        raise ModelError(
            f"{init} is a {'whole model' if whole else 'LoRA adapter'}; the project asks for `method: "
            f"{recipe.method}`.",
            hint="Set `train.method` to match, or leave `init_adapter` out.",
        )
    facts = init / "tuneline.json"
    if not facts.is_file():
        return
    said = json.loads(facts.read_text(encoding="utf-8"))
    here = json.loads((base / "base.json").read_text(encoding="utf-8"))
    if said["base"]["file_sha256"] != here["file_sha256"]:
        raise ModelError(
            f"The adapter in {init} does not fit its base: it was trained on {said['base']['name']} "
            f"({said['base']['file_sha256'][:12]}), the project's base is {here['name']} "
            f"({here['file_sha256'][:12]}).",
            hint="Use the base it was trained on, or leave `init_adapter` out.",
        )
    if said["tokenizer_hash"] != tokenizer_hash(base):
        raise ModelError(f"The adapter in {init} was trained with another tokenizer than the base has.")


def _check_same_shape(config: Any, recipe: Recipe, targets: list[str]) -> None:
    """Refuse to go on from an adapter of another rank, scale or place than the recipe asks for."""
    last_parts = sorted({str(name).rpartition(".")[2] for name in config.target_modules})
    has = (config.r, config.lora_alpha, last_parts)
    if has != (recipe.r, recipe.lora_alpha, targets):
        raise ModelError(
            f"The adapter to go on from has r={has[0]}, lora_alpha={has[1]} on {', '.join(has[2])}; "
            "the project asks for "
            f"r={recipe.r}, lora_alpha={recipe.lora_alpha} on {', '.join(targets)}.",
            hint="Set `train:` to what the adapter has, or leave `init_adapter` out.",
        )
