"""`train`: how a base is fine-tuned, or by which code of the project's own. Frozen values; no IO, no YAML."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tuneline.spec.keys import key

ENTRY: Final = r"[\w./-]+\.py:[A-Za-z_]\w*"
"""A function of the project's own code: its file, from the project's folder, and its name."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """How the base is fine-tuned. Names are those of Transformers, TRL and PEFT."""

    entry: str = key(
        "text", "", "Train with code of your own instead: `train.py:main`, see own-code.md.", pattern=ENTRY
    )
    requirements: tuple[str, ...] = key(
        "texts", (), "What that code needs from PyPI, e.g. `scikit-learn==1.7.*`; not installed here."
    )
    params: Mapping[str, Any] = key("free", {}, "Parameters of your own, given to that code as they are.")
    method: str = key("text", "lora", "Train a LoRA adapter, or every weight.", choices=("lora", "full"))
    r: int = key("integer", 8, "The rank of LoRA.", low=1, high=4096)
    lora_alpha: int = key(
        "integer", 16, "The scale of LoRA: the adapter is multiplied by `lora_alpha / r`.", low=1, high=65536
    )
    lora_dropout: float = key("number", 0.0, "Dropout before LoRA.", low=0.0, below=1.0)
    target_modules: str = key("text_or_texts", "all-linear", "`all-linear`, or names of modules.")
    learning_rate: float = key("number", 2e-4, "The highest learning rate.", above=0.0, high=10.0)
    num_train_epochs: float = key("number", 1.0, "How often each row is seen.", above=0.0, high=10_000.0)
    max_steps: int = key("integer", -1, "Stop after so many optimizer steps; -1 goes by epochs.", low=-1)
    per_device_train_batch_size: int = key(
        "integer", 8, "Rows in a batch, for each process that trains.", low=1, high=65536
    )
    gradient_accumulation_steps: int = key("integer", 1, "Batches in an optimizer step.", low=1, high=65536)
    lr_scheduler_type: str = key(
        "text", "cosine", "How the learning rate falls.", choices=("cosine", "linear", "constant")
    )
    warmup_ratio: float = key(
        "number", 0.03, "The fraction of steps over which the learning rate rises.", low=0.0, high=1.0
    )
    weight_decay: float = key("number", 0.0, "AdamW's weight decay.", low=0.0, high=10.0)
    max_grad_norm: float = key("number", 1.0, "Gradients are clipped to this norm; 0 does not clip.", low=0.0)
    max_length: int = key(
        "integer", 512, "Tokens in a row; longer rows are dropped and counted.", low=8, high=1_048_576
    )
    save_steps: int = key("integer", 50, "Optimizer steps between checkpoints.", low=1)
    save_total_limit: int = key("integer", 2, "Checkpoints kept; the oldest go.", low=1, high=1000)
    logging_steps: int = key("integer", 1, "Optimizer steps between two points of the curves.", low=1)
    gradient_checkpointing: bool = key(
        "flag", False, "Compute each layer again on the way back instead of keeping it: less memory, slower."
    )
    load_in_4bit: bool = key("flag", False, "QLoRA: the frozen weights in 4 bits, by bitsandbytes.")
    bnb_4bit_quant_type: str = key("text", "nf4", "How 4 bits hold a weight.", choices=("nf4", "fp4"))
    bnb_4bit_compute_dtype: str = key(
        "text", "auto", "What 4-bit weights become where they are used; `auto` is as `dtype`.",
        choices=("auto", "float32", "bfloat16"),
    )  # fmt: skip
    bnb_4bit_use_double_quant: bool = key("flag", False, "Whether the scales of 4-bit weights are quantized.")
    dtype: str = key(
        "text", "auto", "Of the frozen weights; `auto` is bfloat16 where the processor is good at it.",
        choices=("auto", "float32", "bfloat16"),
    )  # fmt: skip
    num_processes: int = key(
        "integer", 1, "Processes that train together on a machine: as many as it has GPUs.", low=1, high=64
    )
    num_machines: int = key(
        "integer", 1, "Machines that train together, as the pods of one Job.", low=1, high=64
    )
    fsdp: bool = key(
        "flag", False, "Whether several processes share out the layers, instead of each having all of them."
    )
    seed: int = key("integer", 42, "Of initialization, order and dropout.", low=0, high=4_294_967_295)
    init_adapter: str = key(
        "text", "", "Go on from the adapter of an earlier release, `MODEL@VERSION`, or from one in a folder."
    )
