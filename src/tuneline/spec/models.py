"""Sizes of known bases and memories of known GPUs: what must be known of them before a pod starts. Pure.

Sizes are those of the weights as published, bfloat16 unless the name says otherwise: parameters times two.
An unknown base is no fault of the table: `deploy.kubernetes.weights_gb` says it.
"""

import re
from collections.abc import Mapping
from typing import Final

WEIGHTS_GB: Final[Mapping[str, float]] = {
    "gemma-3-270m": 0.54, "gemma-3-1b": 2.0, "gemma-3-4b": 8.6, "gemma-3-12b": 24.4, "gemma-3-27b": 54.9,
    "gemma-2-2b": 5.2, "gemma-2-9b": 18.5, "gemma-2-27b": 54.5,
    "llama-3.2-1b": 2.5, "llama-3.2-3b": 6.4, "llama-3.1-8b": 16.1, "llama-3.1-70b": 141.1,
    "llama-3.3-70b": 141.1,
    "mistral-7b": 14.5, "mistral-small-24b": 47.2,
    "phi-3-mini": 7.6, "phi-3.5-mini": 7.6, "phi-4-mini": 7.7, "phi-4": 29.3,
    "qwen2.5-0.5b": 1.0, "qwen2.5-1.5b": 3.1, "qwen2.5-3b": 6.2, "qwen2.5-7b": 15.2, "qwen2.5-14b": 29.5,
    "qwen2.5-32b": 65.5, "qwen2.5-72b": 145.4,
    "qwen3-0.6b": 1.5, "qwen3-1.7b": 4.1, "qwen3-4b": 8.0, "qwen3-8b": 16.4, "qwen3-14b": 29.5,
    "qwen3-32b": 65.5,
    "tinyllama-1.1b": 2.2,
}  # fmt: skip
"""Gigabytes (10^9 bytes) by the beginning of the name."""
GPU_MEMORY_GB: Final[Mapping[str, float]] = {
    "nvidia-tesla-t4": 16, "nvidia-l4": 24, "nvidia-tesla-v100": 16, "nvidia-tesla-a100": 40,
    "nvidia-a100-80gb": 80, "nvidia-h100-80gb": 80, "nvidia-h100-mega-80gb": 80, "nvidia-h200-141gb": 141,
    "nvidia-b200": 180, "nvidia-rtx-pro-6000": 96,
}  # fmt: skip
"""By GKE's name of the accelerator."""


def weights_gb(name: str) -> float:
    """The size of a base by its alias, hub id or path; 0 for one that is not known.

    The longest beginning that fits counts: `google/gemma-3-27b-it` is `gemma-3-27b`.
    """
    last = re.split(r"[/@:]", name.partition("://")[2] or name)
    for part in reversed([part.lower() for part in last if part]):
        fits = [known for known in WEIGHTS_GB if part == known or part.startswith(f"{known}-")]
        if fits:
            return WEIGHTS_GB[max(fits, key=len)]
    return 0.0
