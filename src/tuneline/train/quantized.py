"""QLoRA: the frozen weights of a base in 4 bits while an adapter is trained on them, by bitsandbytes.

Only training sees the 4 bits. Scoring, proof and serving take the base as it is, as PEFT and vLLM do with
such an adapter; what that costs, the held-out rows say. Limits: LoRA alone; on a CPU bitsandbytes unpacks
every matrix for each batch, which is slow and saves memory alone.
"""

import importlib.util
from typing import Any

import torch

from tuneline.errors import MissingPartError, SpecError
from tuneline.train import machine
from tuneline.train.recipe import Recipe


def check(recipe: Recipe) -> None:
    """Called before anything is loaded. Raises: SpecError, MissingPartError."""
    if not recipe.load_in_4bit:
        return
    if recipe.method != "lora":
        raise SpecError(
            "`train.load_in_4bit` trains an adapter on frozen weights; `train.method: full` freezes none.",
            hint="Set train.method: lora, or leave load_in_4bit out.",
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingPartError(
            "`train.load_in_4bit` needs bitsandbytes, which is not installed.",
            hint="Install it with: pip install 'tuneline[qlora]'",
        )


def settings(recipe: Recipe) -> Any:
    """What `from_pretrained` is given as `quantization_config`; None where nothing is quantized."""
    if not recipe.load_in_4bit:
        return None
    from transformers import BitsAndBytesConfig  # noqa: PLC0415 - only who quantizes pays for it

    asked = recipe.bnb_4bit_compute_dtype
    computed: torch.dtype = machine.choose_dtype(recipe.dtype if asked == "auto" else asked)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=recipe.bnb_4bit_quant_type,
        bnb_4bit_compute_dtype=computed,
        bnb_4bit_use_double_quant=recipe.bnb_4bit_use_double_quant,
    )
