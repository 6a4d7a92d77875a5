"""What `train:` in a project asks for, as the trainer takes it. Names are those of Hugging Face's Trainer
and PEFT."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from tuneline.errors import SpecError

_CHOICES = {
    "method": ("lora", "full"),
    "lr_scheduler_type": ("cosine", "linear", "constant"),
    "dtype": ("auto", "float32", "bfloat16"),
    "bnb_4bit_quant_type": ("nf4", "fp4"),
    "bnb_4bit_compute_dtype": ("auto", "float32", "bfloat16"),
}

_UNSEEN = ("save_total_limit", "logging_steps", "gradient_checkpointing")
"""What changes nothing of what is learned."""
_NEWER = (
    "load_in_4bit", "bnb_4bit_quant_type", "bnb_4bit_compute_dtype", "bnb_4bit_use_double_quant",
)  # fmt: skip
_SEVERAL = ("num_processes", "num_machines", "fsdp")


@dataclass(frozen=True)
class Recipe:
    """Every number of a training. The defaults are the project file's."""

    method: str = "lora"
    r: int = 8
    lora_alpha: int = 16
    lora_dropout: float = 0.0
    target_modules: str = "all-linear"
    learning_rate: float = 2e-4
    num_train_epochs: float = 1.0
    max_steps: int = -1
    """Optimizer steps; -1 for as many as `num_train_epochs` needs."""
    per_device_train_batch_size: int = 8
    gradient_accumulation_steps: int = 1
    lr_scheduler_type: str = "cosine"
    warmup_ratio: float = 0.03
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm; 0 leaves them."""
    max_length: int = 512
    save_steps: int = 50
    """Optimizer steps between checkpoints."""
    dtype: str = "auto"
    seed: int = 42
    save_total_limit: int = 2
    """Checkpoints kept."""
    logging_steps: int = 1
    """Optimizer steps between two points of the curves."""
    gradient_checkpointing: bool = False
    load_in_4bit: bool = False
    bnb_4bit_quant_type: str = "nf4"
    bnb_4bit_compute_dtype: str = "auto"
    """`auto` is as `dtype`."""
    bnb_4bit_use_double_quant: bool = False
    num_processes: int = 1
    """Of one machine."""
    num_machines: int = 1
    fsdp: bool = False
    """Whether the processes share out the layers."""

    @property
    def sharded(self) -> bool:
        """Whether layers are shared out: one process alone keeps them all."""
        return self.fsdp and self.processes > 1

    @property
    def processes(self) -> int:
        """Those that train together, on all machines."""
        return self.num_processes * self.num_machines

    @property
    def batch_rows(self) -> int:
        """Rows of a batch, those of all processes together."""
        return self.per_device_train_batch_size * self.processes

    @classmethod
    def parse(cls, parameters: Mapping[str, Any]) -> Self:
        """The recipe in a step's parameters; KFP gives every number as a float. Raises SpecError with every
        fault."""
        known = {field.name: field.type for field in fields(cls)}
        values = {name: _typed(known[name], value) for name, value in parameters.items() if name in known}
        recipe = cls(**values)
        if faults := recipe._faults():
            raise SpecError(
                "The training's numbers cannot be used.", hint="Correct `train:`.", details=faults
            )
        return recipe

    def to_json(self) -> dict[str, Any]:
        """Every field that decides what is learned, for manifests: equal trainings are equal, however often
        they were shown. Of 4 bits and of several processes only where there are: older releases stay what
        they are.
        """
        left_out = {*_UNSEEN}
        left_out |= set() if self.load_in_4bit else {*_NEWER}
        left_out |= set() if self.processes > 1 else {*_SEVERAL}
        return {name: value for name, value in asdict(self).items() if name not in left_out}

    def alike(self) -> dict[str, Any]:
        """`to_json` as one process would say it, with the whole batch: what is equal of trainings that differ
        only in how many processes share it."""
        said = self.to_json() | {"per_device_train_batch_size": self.batch_rows}
        return {name: value for name, value in said.items() if name not in _SEVERAL}

    def total_steps(self, batches: int) -> int:
        """How many optimizer steps a training over `batches` batches an epoch takes."""
        if self.max_steps > 0:
            return self.max_steps
        return max(1, math.ceil(self.num_train_epochs * self.steps_per_epoch(batches)))

    def steps_per_epoch(self, batches: int) -> int:
        """Optimizer steps in one pass over `batches` batches."""
        return max(1, math.ceil(batches / self.gradient_accumulation_steps))

    def rate(self, step: int, total: int) -> float:
        """The learning rate of optimizer step `step` (0-based) of `total`, as transformers' schedules have
        it."""
        warmup = math.ceil(self.warmup_ratio * total)
        if step < warmup:
            return self.learning_rate * step / max(1, warmup)
        if self.lr_scheduler_type == "constant":
            return self.learning_rate
        done = (step - warmup) / max(1, total - warmup)
        if self.lr_scheduler_type == "linear":
            return self.learning_rate * max(0.0, 1.0 - done)
        return self.learning_rate * max(0.0, 0.5 * (1.0 + math.cos(math.pi * done)))

    def _faults(self) -> list[str]:
        faults = [
            f"train.{name}: `{getattr(self, name)}` is not one of {', '.join(choices)}"
            for name, choices in _CHOICES.items()
            if getattr(self, name) not in choices
        ]
        positive = ("r", "lora_alpha", "learning_rate", "num_train_epochs", "per_device_train_batch_size",
                    "gradient_accumulation_steps", "max_length", "save_steps",
                    "save_total_limit", "logging_steps", "num_processes", "num_machines")  # fmt: skip
        faults += [
            f"train.{name}: {getattr(self, name)} is not above 0"
            for name in positive
            if getattr(self, name) <= 0
        ]
        if self.fsdp and self.load_in_4bit:
            faults.append("train.fsdp: weights in 4 bits (train.load_in_4bit) cannot be shared out")
        if not 0 <= self.lora_dropout < 1:
            faults.append(f"train.lora_dropout: {self.lora_dropout} is not in 0 to 1")
        if not 0 <= self.warmup_ratio <= 1:
            faults.append(f"train.warmup_ratio: {self.warmup_ratio} is not in 0 to 1")
        return faults


def _typed(kind: Any, value: Any) -> Any:
    if kind is bool:
        return value in (True, 1, "true", "True")
    if kind is int:
        return int(value)
    return float(value) if kind is float else str(value)
