"""Where a project's tasks run: its `on:` over the settings' defaults, step by step, and how that travels.

What Kubeflow has words for goes into the pipeline as its SDK writes it: `container.resources`,
`container.env` and the platform document. The rest (namespace, service account, scratch space, times) is the
`on` part that exports carry beside the pipeline. Pure. Limits: to Kubeflow a lost spot node is a failure like
any other.
"""

from collections.abc import Collection, Mapping
from copy import deepcopy
from difflib import get_close_matches
from typing import Any

from tuneline.plan.compile import IMAGE

On = Mapping[str, Any]
"""Keys of `on.kubernetes` as they are spelled in the file, durations in seconds; only what is said."""


def _taint(key: str, value: str) -> Mapping[str, str]:
    return {"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"}


_GKE, _AKS = "cloud.google.com/gke-spot", "kubernetes.azure.com/scalesetpriority"
SPOT_NODES: Mapping[str, tuple[Mapping[str, str], tuple[Mapping[str, str], ...]]] = {
    "gke": ({_GKE: "true"}, (_taint(_GKE, "true"),)),
    "eks": ({"eks.amazonaws.com/capacityType": "SPOT"}, ()),
    "karpenter": ({"karpenter.sh/capacity-type": "spot"}, ()),
    "aks": ({_AKS: "spot"}, (_taint(_AKS, "spot"),)),
}
"""`spot` -> the labels of such nodes, and the taints that keep others away, as each provider has them."""


def placements(
    written: Mapping[str, Any], defaults: Mapping[str, Any], steps: Collection[str]
) -> dict[str, On]:
    """What holds for each step: the project over the defaults, and in each of them a step's own keys over
    those for all steps.

    written, defaults: `{"kubernetes": {...}}` as `spec.on_defaults` gives them. Mappings are merged key by
    key, anything else is replaced. `spot` has become the labels and tolerations it stands for, and GPUs are
    tolerated where they are asked for.
    """
    found: dict[str, On] = {}
    for step in steps:
        merged: dict[str, Any] = {}
        for layer in (defaults, written):
            said = dict(layer.get("kubernetes") or {})
            own = said.pop("steps", {}).get(step, {})
            merged = _over(_over(merged, said), own)
        selector, tolerations = SPOT_NODES.get(merged.get("spot", "none"), ({}, ()))
        if selector:
            merged["node_selector"] = {**merged.get("node_selector", {}), **selector}
        gpu, said = merged.get("gpu_resource", "nvidia.com/gpu"), merged.get("tolerations", ())
        if merged.get("gpus") and gpu not in {each.get("key") for each in said}:
            # whose nodes are tainted by its name, on most clusters
            tolerations = (*tolerations, {"key": gpu, "operator": "Exists", "effect": "NoSchedule"})
        if tolerations:
            merged["tolerations"] = [*merged.get("tolerations", ()), *tolerations]
        found[step] = merged
    return found


def engine_options(written: Mapping[str, Any], defaults: Mapping[str, Any], engine: str) -> dict[str, Any]:
    """What is said of an engine itself, e.g. `airflow`: the project over the defaults."""
    return _over(defaults.get(engine) or {}, written.get(engine) or {})


def unknown_steps(written: Mapping[str, Any], steps: Collection[str]) -> dict[str, str]:
    """Steps under `on.kubernetes.steps` that the line has not: name to the nearest that it has, or "" ."""
    named = (written.get("kubernetes") or {}).get("steps") or {}
    return {
        name: next(iter(get_close_matches(name, list(steps), n=1, cutoff=0.5)), "")
        for name in named
        if name not in steps
    }


def placed(spec: Mapping[str, Any], on: Mapping[str, On]) -> dict[str, Any]:
    """The pipeline with all of `on` that Kubeflow has words for: `{"pipeline_spec", "platform_spec"}`.

    spec: a compiled project. on: by step, from `placements`. Without anything to say the platform is empty.
    """
    pipeline = deepcopy(dict(spec))
    executors: dict[str, Any] = pipeline["deploymentSpec"]["executors"]
    platforms = {}
    for step, said in on.items():
        container = executors[f"exec-{step}"]["container"]
        if said.get("image") and container["image"] == IMAGE:
            container["image"] = said["image"]
        if resources := _resources(said):
            container["resources"] = {**container.get("resources", {}), **resources}
        if variables := said.get("env"):
            own = [{"name": name, "value": value} for name, value in variables.items()]
            container["env"] = [*own, *container.get("env", ())]
        if platform := _platform(said):
            platforms[f"exec-{step}"] = platform
    if not platforms:
        return {"pipeline_spec": pipeline, "platform_spec": {}}
    executors = {"kubernetes": {"deploymentSpec": {"executors": platforms}}}
    return {"pipeline_spec": pipeline, "platform_spec": {"platforms": executors}}


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[key] = {**old, **value}
        else:
            merged[key] = value
    return merged


_AMOUNTS = (("cpu", "Cpu"), ("memory", "Memory"))


def _resources(said: On) -> dict[str, Any]:
    """As the SDK writes `container.resources`; Kubeflow knows cores, memory and one kind of accelerator."""
    found: dict[str, Any] = {}
    for key, word in (("requests", "Request"), ("limits", "Limit")):
        amounts = said.get(key) or {}
        for name, spelled in _AMOUNTS:
            if name in amounts:
                found[f"resource{spelled}{word}"] = amounts[name]
    if said.get("gpus"):
        kind, count = said.get("gpu_resource", "nvidia.com/gpu"), str(said["gpus"])
        found["accelerator"] = {"resourceType": kind, "resourceCount": count, "type": kind, "count": count}
    return found


def _platform(said: On) -> dict[str, Any]:
    """As kfp-kubernetes writes an executor's part of the platform document; its 64-bit numbers are texts."""
    security: dict[str, Any] = {}
    if said.get("run_as_user"):
        security["runAsUser"] = str(said["run_as_user"])
    if "run_as_root" in said:
        security["runAsNonRoot"] = not said["run_as_root"]
    found: dict[str, Any] = {
        "nodeSelector": {"labels": dict(said["node_selector"])} if said.get("node_selector") else {},
        "tolerations": [_toleration(each) for each in said.get("tolerations", ())],
        "secretAsEnv": [_secret(name, place) for name, place in (said.get("secret_env") or {}).items()],
        "imagePullSecret": [
            {"secretName": name, "secretNameParameter": _constant(name)}
            for name in said.get("image_pull_secrets", ())
        ],
        "podMetadata": {key: said[key] for key in ("labels", "annotations") if said.get(key)},
        "securityContext": security,
    }
    if said.get("image_pull_policy"):
        found["imagePullPolicy"] = said["image_pull_policy"]
    if said.get("timeout"):
        found["activeDeadlineSeconds"] = str(round(said["timeout"]))
    return {key: value for key, value in found.items() if value}


def _toleration(each: Mapping[str, Any]) -> dict[str, Any]:
    return {key: str(value) for key, value in each.items()}


def _secret(variable: str, place: str) -> dict[str, Any]:
    name, _, key = place.partition("/")
    return {
        "secretName": name,
        "secretNameParameter": _constant(name),
        "keyToEnv": [{"secretKey": key, "envVar": variable}],
        "optional": False,
    }


def _constant(value: str) -> dict[str, Any]:
    return {"runtimeValue": {"constant": value}}
