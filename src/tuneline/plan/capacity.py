"""What pods of an endpoint take: GPUs, processors, memory, and how long they may need to start. Pure.

Rules of thumb, said to be such: the tensors of a base are split over the smallest number of GPUs whose memory
holds weights and half as much again for keys, values and activations; a start takes two minutes and what the
weights need from where they lie. Every figure can be set in `deploy.kubernetes`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tuneline.errors import SpecError
from tuneline.spec.models import GPU_MEMORY_GB, weights_gb
from tuneline.spec.serving import Kubernetes

NO_GPU: Final = "none"
USABLE: Final = 0.9
"""Of a GPU's memory, as vLLM takes by default."""
SECONDS_PER_GB: Final[Mapping[str, float]] = {"gs": 8.0, "pvc": 6.0, "oci": 6.0, "hf": 12.0}
"""Reading weights and bringing them to the GPU, on the slow side."""
START_S: Final = 120.0
"""Python, kernels and graphs, whatever the weights."""


@dataclass(frozen=True)
class Capacity:
    """Of one pod."""

    gpus: int
    accelerator: str
    cpu: float
    memory_gb: float
    shm_gb: int
    """Shared memory: what the processes of several GPUs talk through."""
    weights_gb: float
    start_s: float
    """After which a pod that is not ready is started again."""

    def text(self, pods: int = 1) -> str:
        """`2 pods, each with 1 nvidia-l4, 4 CPU and 11 GB of memory`."""
        what = f"{self.gpus} {self.accelerator}, " if self.gpus else ""
        each = "a pod with" if pods == 1 else f"{pods} pods, each with"
        return f"{each} {what}{self.cpu:g} CPU and {self.memory_gb:g} GB of memory"


def capacity(kubernetes: Kubernetes, base_model: str, runtime: str = "vllm") -> Capacity:
    """What one pod takes. base_model: the project's, for the table of sizes.

    Raises: SpecError if 16 GPUs of the kind do not hold the weights.
    """
    if runtime != "vllm":
        cpu, memory = kubernetes.cpu or 1.0, kubernetes.memory_gb or 2.0
        return Capacity(0, NO_GPU, cpu, memory, 0, 0.0, kubernetes.start_timeout_s or 300.0)
    size = kubernetes.weights_gb or weights_gb(base_model) or weights_gb(kubernetes.base)
    place = (kubernetes.base or kubernetes.adapters).partition("://")[0]
    start_s = kubernetes.start_timeout_s or START_S + size * SECONDS_PER_GB.get(place, 12.0)
    if kubernetes.accelerator == NO_GPU:
        cpu, memory = kubernetes.cpu or 4.0, kubernetes.memory_gb or float(math.ceil(size * 2 + 8))
        return Capacity(0, NO_GPU, cpu, memory, 2, size, 2 * start_s)
    gpus = kubernetes.gpus or _gpus(size, kubernetes.accelerator)
    cpu = kubernetes.cpu or 4.0 * gpus
    # what lies in shared memory counts as the pod's: each further GPU brings 2 GB of it
    memory = kubernetes.memory_gb or float(math.ceil(size * 1.2 + 8) + 2 * (gpus - 1))
    return Capacity(gpus, kubernetes.accelerator, cpu, memory, 2 * gpus, size, start_s)


def _gpus(size_gb: float, accelerator: str) -> int:
    memory = GPU_MEMORY_GB[accelerator]
    for count in (1, 2, 4, 8, 16):  # heads are split evenly, so it is a power of two
        if count * memory * USABLE >= size_gb * 1.5:
            return count
    raise SpecError(
        f"The base has {size_gb:g} GB of weights, which 16 {accelerator} of {memory:g} GB do not hold.",
        hint="Give a larger `deploy.kubernetes.accelerator`, or `gpus` if you know better.",
    )
