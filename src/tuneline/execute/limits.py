"""Limits and wishes about the machine a task runs on: those that a container engine can keep, and a sentence
about each that nothing here does. Values may be texts or numbers, as SDKs wrote them at different times."""

from collections.abc import Mapping
from typing import Any

from tuneline.execute.quantities import quantity

_ELSEWHERE = "not heeded here, honoured on Kubernetes"
_SCHEDULING = {
    "nodeSelector": "certain nodes",
    "tolerations": "tainted (preemptible) nodes to be allowed",
    "nodeAffinity": "certain nodes",
    "podAffinity": "a place near or far from other pods",
    "podResourceClaims": "devices by a resource claim",
    "imagePullSecret": "a secret to pull its image with",
}
_PULL = {"Always": "always", "Never": "never", "IfNotPresent": "missing"}


def limits(resources: Mapping[str, Any], platform: Mapping[str, Any]) -> dict[str, Any]:
    """What a container engine is told; see `Call.options`. Raises: ValueError."""
    found: dict[str, Any] = {}
    cpus = _number(resources, "resourceCpuLimit", "cpuLimit", 1.0)
    memory = _number(resources, "resourceMemoryLimit", "memoryLimit", 1e9)
    if cpus:
        found["cpus"] = cpus
    if memory:
        found["memory_bytes"] = int(memory)
    shared = platform.get("enabledSharedMemory") or {}
    if shared.get("size"):
        found["shm_bytes"] = int(quantity(str(shared["size"])))
    if platform.get("imagePullPolicy"):
        found["pull"] = _PULL.get(str(platform["imagePullPolicy"]), "")
    user, group = ((platform.get("securityContext") or {}).get(key) for key in ("runAsUser", "runAsGroup"))
    if user is not None:
        found["user"] = f"{int(user)}:{int(group)}" if group is not None else str(int(user))
    return found


def unheeded(resources: Mapping[str, Any], platform: Mapping[str, Any]) -> tuple[str, ...]:
    """A sentence for each wish that is only recorded, whatever runs the task."""
    notes = []
    accelerator = resources.get("accelerator") or {}
    kind = accelerator.get("resourceType") or accelerator.get("type")
    count = accelerator.get("resourceCount") or accelerator.get("count")
    if kind or count:
        notes.append(f"asks for {count or 1} x {kind or 'an accelerator'}: {_ELSEWHERE}")
    for key, what in _SCHEDULING.items():
        if platform.get(key):
            notes.append(f"asks for {what}: {_ELSEWHERE}")
    return tuple(dict.fromkeys(notes))


def unlimited(options: Mapping[str, Any]) -> tuple[str, ...]:
    """A sentence about limits, for a task that runs without a container."""
    parts = []
    if "cpus" in options:
        parts.append(f"{options['cpus']:g} core{'' if options['cpus'] == 1 else 's'}")
    if "memory_bytes" in options:
        parts.append(f"{options['memory_bytes'] / 1e9:g} GB of memory")
    notes = [f"is limited to {' and '.join(parts)}: {_ELSEWHERE}"] if parts else []
    if "user" in options:
        notes.append(f"asks to run as user {options['user']}: {_ELSEWHERE}")
    return tuple(notes)


def _number(resources: Mapping[str, Any], key: str, old: str, unit: float) -> float:
    """A limit by its name, or by the old name of a field that counts in `unit`."""
    if resources.get(key):
        return quantity(str(resources[key]))
    return float(resources.get(old) or 0) * unit
