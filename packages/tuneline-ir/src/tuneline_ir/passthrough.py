"""Settings of a task that its own code wants to know, to hand them on to jobs it starts: `dsl.TaskConfig`.

A component says which settings go into its TASK_CONFIG input; those do not count for the task itself unless
it says so too. The input is written as Kubernetes has such settings.
"""

from collections.abc import Mapping
from typing import Any

from tuneline_ir.model import Component, Container

_PLATFORM = {
    "ENV": ("configMapAsEnv", "secretAsEnv", "fieldPathAsEnv"),
    "KUBERNETES_VOLUMES": ("pvcMount", "secretAsVolume", "configMapAsVolume"),
    "KUBERNETES_NODE_SELECTOR": ("nodeSelector",),
    "KUBERNETES_TOLERATIONS": ("tolerations",),
    "KUBERNETES_AFFINITY": ("nodeAffinity", "podAffinity"),
}
TYPE = "TASK_CONFIG"


def inputs_of(component: Component) -> tuple[str, ...]:
    """The component's inputs that take such settings."""
    return tuple(key for key, spec in component.inputs.parameters.items() if spec.type == TYPE)


def task_config(component: Component, container: Container, platform: Mapping[str, Any]) -> dict[str, Any]:
    """What such an input is given. platform: of the executor, names resolved."""
    passed = component.passthroughs
    found: dict[str, Any] = {}
    if "RESOURCES" in passed and container.resources:
        found["resources"] = _resources(container.resources)
    if "ENV" in passed:
        env = [{"name": name, "value": value} for name, value in container.env.items()]
        found["env"] = [*env, *_env(platform)]
    if "KUBERNETES_VOLUMES" in passed:
        mounts = list(_mounts(platform))
        found["volumes"] = [volume for volume, _ in mounts]
        found["volumeMounts"] = [mount for _, mount in mounts]
    selector = platform.get("nodeSelector") or {}
    if "KUBERNETES_NODE_SELECTOR" in passed and selector:
        found["nodeSelector"] = selector.get("nodeSelectorJson") or selector.get("labels") or {}
    if "KUBERNETES_TOLERATIONS" in passed and platform.get("tolerations"):
        found["tolerations"] = [each for item in platform["tolerations"] for each in _toleration(item)]
    if "KUBERNETES_AFFINITY" in passed and platform.get("nodeAffinity"):
        listed = [
            item["nodeAffinityJson"] for item in platform["nodeAffinity"] if item.get("nodeAffinityJson")
        ]
        found["affinity"] = {"nodeAffinity": listed[0]} if listed else {}
    return found


def own_settings(
    component: Component, env: Mapping[str, str], platform: Mapping[str, Any]
) -> tuple[dict[str, str], dict[str, Any]]:
    """Variables and platform settings that count for the task itself."""
    away = {field for field, applied in component.passthroughs.items() if not applied}
    gone = {key for field in away for key in _PLATFORM.get(field, ())}
    kept = {key: value for key, value in platform.items() if key not in gone}
    return ({} if "ENV" in away else dict(env)), kept


def _resources(resources: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, dict[str, str]] = {"limits": {}, "requests": {}}
    for kind, short in (("limits", "Limit"), ("requests", "Request")):
        for name in ("cpu", "memory"):
            value = resources.get(f"resource{name.capitalize()}{short}")
            if value:
                found[kind][name] = str(value)
    accelerator = resources.get("accelerator") or {}
    device = accelerator.get("resourceType") or accelerator.get("type")
    if device:
        found["limits"][str(device)] = str(accelerator.get("resourceCount") or accelerator.get("count") or 1)
    return {key: value for key, value in found.items() if value}


def _env(platform: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for key, name, reference, part in (
        ("configMapAsEnv", "configMapName", "configMapKeyRef", "configMapKey"),
        ("secretAsEnv", "secretName", "secretKeyRef", "secretKey"),
    ):
        for item in platform.get(key, ()):
            of = item.get(f"{name}Parameter", item.get(name))
            for pair in item.get("keyToEnv", ()):
                source = {reference: {"name": of, "key": pair[part]}}
                found.append({"name": pair["envVar"], "valueFrom": source})
    for item in platform.get("fieldPathAsEnv", ()):
        source = {"fieldRef": {"fieldPath": item.get("fieldPath", "")}}
        found.append({"name": item["name"], "valueFrom": source})
    return found


def _mounts(platform: Mapping[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each volume and where it is mounted."""
    found: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for item in platform.get("pvcMount", ()):
        name = item.get("pvcNameParameter")
        mount = {"name": name, "mountPath": item.get("mountPath", "")}
        if item.get("subPath"):
            mount["subPath"] = item["subPath"]
        found.append(({"name": name, "persistentVolumeClaim": {"claimName": name}}, mount))
    for key, named, kind, inner in (
        ("secretAsVolume", "secretName", "secret", "secretName"),
        ("configMapAsVolume", "configMapName", "configMap", "name"),
    ):
        for item in platform.get(key, ()):
            name = item.get(f"{named}Parameter", item.get(named))
            mount = {"name": name, "mountPath": item.get("mountPath", "")}
            found.append(({"name": name, kind: {inner: name}}, mount))
    return found


def _toleration(item: Mapping[str, Any]) -> list[Any]:
    """One entry may stand for a list of them."""
    given = item.get("tolerationJson")
    if given is not None:
        return given if isinstance(given, list) else [given]
    return [{key: value for key, value in item.items() if key != "tolerationJson"}]
