"""A LoRA adapter folded into its base: a folder in Hugging Face's layout that needs no PEFT to load.

Computed in float32 by PEFT and rounded once, to bfloat16, which is what the base's own weights are. The same
base and adapter give the same bytes. Limit: it takes the base's memory twice over, in float32.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict

from tuneline.errors import ModelError
from tuneline.train import adapters
from tuneline.train.model import load_network
from tuneline.train.tokenizer import FILES

SHARD = "5GB"
"""What one file of weights holds at most, as `save_pretrained` has it."""
_GENERATION = "generation_config.json"


def merge(base: Path, adapter: Path, folder: Path) -> None:
    """Write the base with its adapter folded in, to `folder`, which must not exist.

    Raises: ModelError if the adapter does not fit its base, or gives numbers that are none.
    """
    network = adapters.load_adapter(load_network(base, torch.float32), adapter)
    try:
        merged = network.merge_and_unload(safe_merge=True)
    except ValueError as error:  # a weight that is not finite
        raise ModelError(
            f"The adapter in {adapter} cannot be merged: {error}",
            hint="Train again with a lower learning rate.",
        ) from error
    folder.mkdir(parents=True)
    save_torch_state_dict(weights_of(merged), folder, max_shard_size=SHARD)
    for name in ("config.json", *FILES):
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)
    (folder / _GENERATION).write_text(_generation(base), encoding="utf-8")


def weights_of(network: Any) -> dict[str, torch.Tensor]:
    """The weights of a transformers model in bfloat16, by name; a head that is the embedding is left out."""
    state = network.state_dict()
    tied = bool(network.config.tie_word_embeddings)
    return {
        name: state[name].to("cpu", torch.bfloat16).contiguous()
        for name in sorted(state)
        if not (tied and name.startswith("lm_head."))
    }


def _generation(base: Path) -> str:
    """The base's settings of generation; where it has none, the tokens its config names."""
    if (base / _GENERATION).is_file():
        return (base / _GENERATION).read_text(encoding="utf-8")
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    found = {name: config[name] for name in names if config.get(name) is not None}
    return json.dumps(found, indent=2, sort_keys=True) + "\n"
