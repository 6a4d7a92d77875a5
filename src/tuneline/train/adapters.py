"""LoRA adapters: which modules they change, how they are made, saved, loaded, and refused where they do not
fit.

An adapter folder is PEFT's own (`adapter_config.json`, `adapter_model.safetensors`), so PEFT, vLLM and
llama.cpp's tools read it. It names no path and no time: the same training gives the same bytes.
"""

import difflib
import json
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors
from torch import nn

from tuneline.errors import ModelError
from tuneline.train.recipe import Recipe

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def linear_names(model: Any) -> list[str]:
    """The last parts of the names of all linear layers but the vocabulary head, sorted: `down_proj`,
    `qkv_proj`, ..."""
    head = model.get_output_embeddings()
    found = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head
    }
    return sorted(found)


def choose_targets(model: Any, asked: str) -> list[str]:
    """The modules `target_modules` means in this model: `all-linear`, or names with commas between.

    Raises ModelError if the model has no such module, with the nearest it has.
    """
    known = linear_names(model)
    if not known:
        raise ModelError(
            "This model has no linear layers that LoRA could change.", hint="Use `method: full`."
        )
    if asked == "all-linear":
        return known
    wanted = [name.strip() for name in asked.split(",") if name.strip()]
    faults = [_unknown(name, known) for name in wanted if name not in known]
    if faults or not wanted:
        raise ModelError(
            f"`target_modules: {asked}` does not fit this model.",
            hint=f"It has: {', '.join(known)}.",
            details=faults,
        )
    return sorted(set(wanted))


def add_adapter(model: Any, recipe: Recipe, base_name: str) -> PeftModel:
    """A new adapter on `model`: A random from torch's state, B zero, both float32; all else frozen."""
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.r,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules=choose_targets(model, recipe.target_modules),
    )
    model.name_or_path = (
        base_name  # PEFT writes it into adapter_config.json; a path there would differ by machine
    )
    return get_peft_model(model, config)


def save_adapter(model: PeftModel, folder: Path, weights: dict[str, Any] | None = None) -> None:
    """Write the adapter in PEFT's format, in float32. weights: by their names in `model`; default: its
    own."""
    state = get_peft_model_state_dict(model, weights, save_embedding_layers=False)
    tensors = {name: state[name].detach().to("cpu", torch.float32).contiguous() for name in sorted(state)}
    (folder / WEIGHTS).write_bytes(to_safetensors(tensors, {"format": "pt"}))
    settings = {key: _plain(value) for key, value in model.peft_config["default"].to_dict().items()}
    settings["inference_mode"] = True
    (folder / CONFIG).write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load_adapter(model: Any, folder: Path, *, train: bool = False) -> PeftModel:
    """`model` with the adapter in `folder` on it. Raises ModelError if the adapter does not fit the model."""
    config = _read_config(folder)
    model.name_or_path = config.base_model_name_or_path
    try:
        state = load_file(str(folder / WEIGHTS))
    except Exception as error:
        raise ModelError(
            f"{folder / WEIGHTS} cannot be read: {error}.", hint="The adapter was cut short; make it again."
        ) from error
    config.inference_mode = not train
    if unknown := _unknown_targets(model, config.target_modules):
        raise _misfit(folder, [f"the base has no module `{name}`" for name in unknown])
    try:
        adapted = get_peft_model(model, config)
    except ValueError as error:
        raise _misfit(folder, [str(error)]) from error
    if faults := _shape_faults(adapted, state):
        raise _misfit(folder, faults)
    set_peft_model_state_dict(adapted, state)
    return adapted


def _unknown_targets(model: Any, targets: Any) -> list[str]:
    """Those of an adapter's targets that end no linear layer's name; a pattern is left to PEFT."""
    if isinstance(targets, str):
        return []
    names = [f".{name}" for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return sorted(target for target in targets if not any(name.endswith(f".{target}") for name in names))


def _shape_faults(model: PeftModel, state: dict[str, torch.Tensor]) -> list[str]:
    wanted = get_peft_model_state_dict(model, save_embedding_layers=False)
    faults = [f"`{name}` is missing" for name in sorted(set(wanted) - set(state))]
    faults += [
        f"`{name}` is for a module the base does not have" for name in sorted(set(state) - set(wanted))
    ]
    faults += [
        f"`{name}` is {list(state[name].shape)}, the base needs {list(wanted[name].shape)}"
        for name in sorted(set(state) & set(wanted))
        if state[name].shape != wanted[name].shape
    ]
    return faults


def _misfit(folder: Path, faults: list[str]) -> ModelError:
    shown = faults[:5] + ([f"and {len(faults) - 5} more"] if len(faults) > 5 else [])
    return ModelError(
        f"The adapter in {folder} does not fit its base: {faults[0]}.",
        hint="Use the base model it was trained on, or an adapter of this one.",
        details=shown,
    )


def _read_config(folder: Path) -> LoraConfig:
    try:
        settings = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{folder} is not an adapter: {error}.", hint=f"It needs {CONFIG} and {WEIGHTS}."
        ) from error
    kind = settings.get("peft_type")
    if kind != "LORA":
        raise ModelError(f"{folder} is a {kind} adapter; tuneline goes on from LoRA.")
    return LoraConfig(
        **{key: value for key, value in settings.items() if key in LoraConfig.__dataclass_fields__}
    )


def _plain(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return getattr(value, "value", value)


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"there is no module `{name}`" + (f"; nearest: `{near[0]}`" if near else "")
