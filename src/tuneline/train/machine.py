"""What this processor is good at, and the settings that make torch give the same numbers twice."""

import os
import warnings
from pathlib import Path
from typing import Any

import torch

_FAST_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}
"""Processor flags (x86 and Arm) with which bfloat16 matrix products are faster than float32."""


def device() -> torch.device:
    """Where models compute: the first GPU that CUDA shows (`CUDA_VISIBLE_DEVICES`), else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_dtype(asked: str) -> torch.dtype:
    """The dtype of frozen weights and of what flows through them: `auto` is bfloat16 where the processor, or
    the GPU, is good at it."""
    if asked == "auto" and device().type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    if asked == "auto":
        return torch.bfloat16 if _processor_flags() & _FAST_BFLOAT16 else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[asked]


def settle(seed: int) -> int:
    """Fix torch's threads, kernels and random state. Returns the number of threads.

    `OMP_NUM_THREADS` decides the threads where it is set; sums in another order give other last bits.
    """
    threads = int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))
    os.environ.setdefault(
        "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
    )  # without it CUDA has no deterministic products
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
    filling: Any = torch.utils.deterministic
    filling.fill_uninitialized_memory = False  # costs a pass over every new tensor; nothing reads one
    return threads


def quiet() -> None:
    """Silence what libraries print on loading; a task's log is for what a user should read."""
    import transformers  # noqa: PLC0415

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft)\.")


def _processor_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return set()
    lines = (line for line in text.splitlines() if line.lower().startswith(("flags", "features")))
    return set(next(lines, ":").split(":", 1)[1].split())
