"""What a task's platform document and resources mean in a pod. Pure; as Kubeflow's own backend reads them.

Names of secrets, config maps and claims come resolved; a name that was not given (an optional input) leaves
its entry out. A platform document's 64-bit numbers are texts. Source: kubernetes_platform of Kubeflow
Pipelines 2.17.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

GPU = "nvidia.com/gpu"
_AMOUNTS = {"requests": "Request", "limits": "Limit"}
_WISHED = "preferredDuringSchedulingIgnoredDuringExecution"
_DEMANDED = "requiredDuringSchedulingIgnoredDuringExecution"


@dataclass(frozen=True)
class Asked:
    """Parts of a pod, as Kubernetes has them."""

    env: Mapping[str, Any] = field(default_factory=dict)
    """Variable -> `valueFrom`."""
    volumes: tuple[Mapping[str, Any], ...] = ()
    mounts: tuple[Mapping[str, Any], ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    affinity: Mapping[str, Any] = field(default_factory=dict)
    pull_secrets: tuple[str, ...] = ()
    pull_policy: str = ""
    security: Mapping[str, Any] = field(default_factory=dict)
    deadline_s: int = 0


def asked_of(platform: Mapping[str, Any]) -> Asked:
    """What a task's part of a platform document asks for."""
    kept = list(_volumes(platform))
    metadata = platform.get("podMetadata") or {}
    selector = platform.get("nodeSelector") or {}
    return Asked(
        env=dict(_env(platform)),
        volumes=tuple({"name": f"asked-{number}", **source} for number, (source, _) in enumerate(kept)),
        mounts=tuple({"name": f"asked-{number}", **mount} for number, (_, mount) in enumerate(kept)),
        labels=dict(metadata.get("labels") or {}),
        annotations=dict(metadata.get("annotations") or {}),
        node_selector=dict(_value(selector.get("nodeSelectorJson")) or selector.get("labels") or {}),
        tolerations=tuple(_tolerations(platform)),
        affinity=_affinity(platform),
        pull_secrets=tuple(
            name for each in platform.get("imagePullSecret", ()) if (name := _name(each, "secretName"))
        ),
        pull_policy=str(platform.get("imagePullPolicy") or ""),
        security={
            key: value if isinstance(value, bool) else int(value)
            for key, value in (platform.get("securityContext") or {}).items()
        },
        deadline_s=int(platform.get("activeDeadlineSeconds") or 0),
    )


def resources(asked: Mapping[str, Any], on: Mapping[str, Any]) -> dict[str, Any]:
    """A container's resources: the pipeline's own over what `on` says.

    asked: KFP's `container.resources`. A GPU is a limit; Kubernetes makes the request equal.
    """
    found = {key: {name: str(value) for name, value in on.get(key, {}).items()} for key in _AMOUNTS}
    for key, word in _AMOUNTS.items():
        for name, spelled, unit in (("cpu", "Cpu", ""), ("memory", "Memory", "G")):
            if asked.get(f"resource{spelled}{word}"):
                found[key][name] = str(asked[f"resource{spelled}{word}"])
            elif asked.get(f"{name}{word}"):  # of older SDKs: a number of cores or gigabytes
                found[key][name] = f"{asked[f'{name}{word}']:g}{unit}"
    accelerator = asked.get("accelerator") or {}
    count = str(accelerator.get("resourceCount") or accelerator.get("count") or "0")
    if count != "0":
        found["limits"][str(accelerator.get("resourceType") or accelerator.get("type") or GPU)] = count
    elif on.get("gpus"):
        found["limits"][str(on.get("gpu_resource", GPU))] = str(on["gpus"])
    return {key: amounts for key, amounts in found.items() if amounts}


def _env(platform: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    kinds = (("configMapAsEnv", "configMap", "configMapKeyRef"), ("secretAsEnv", "secret", "secretKeyRef"))
    for key, word, reference in kinds:
        for item in platform.get(key, ()):
            if name := _name(item, f"{word}Name"):
                for pair in item.get("keyToEnv", ()):
                    source = {"name": name, "key": pair[f"{word}Key"]}
                    optional = {"optional": True} if item.get("optional") else {}
                    yield pair["envVar"], {reference: {**source, **optional}}
    for item in platform.get("fieldPathAsEnv", ()):
        yield item["name"], {"fieldRef": {"fieldPath": item["fieldPath"]}}


def _volumes(platform: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(a volume's source, its mount)."""
    for item in platform.get("secretAsVolume", ()):
        if name := _name(item, "secretName"):
            source = {"secretName": name, "optional": bool(item.get("optional"))}
            yield {"secret": source}, {"mountPath": item["mountPath"], "readOnly": True}
    for item in platform.get("configMapAsVolume", ()):
        if name := _name(item, "configMapName"):
            source = {"name": name, "optional": bool(item.get("optional"))}
            yield {"configMap": source}, {"mountPath": item["mountPath"], "readOnly": True}
    for item in platform.get("pvcMount", ()):
        if name := _name(item, "pvcName") or str(item.get("constant") or ""):
            part = {"subPath": item["subPath"]} if item.get("subPath") else {}
            yield {"persistentVolumeClaim": {"claimName": name}}, {"mountPath": item["mountPath"], **part}
    for item in platform.get("emptyDirMounts", ()):
        limits = {key: item[key] for key in ("medium", "sizeLimit") if item.get(key)}
        yield {"emptyDir": limits}, {"mountPath": item["mountPath"]}
    if shared := platform.get("enabledSharedMemory"):
        limits = {"sizeLimit": shared["size"]} if shared.get("size") else {}
        yield {"emptyDir": {"medium": "Memory", **limits}}, {"mountPath": "/dev/shm"}
    for item in platform.get("genericEphemeralVolume", ()):
        yield {"ephemeral": {"volumeClaimTemplate": _claim(item)}}, {"mountPath": item["mountPath"]}


def _claim(item: Mapping[str, Any]) -> dict[str, Any]:
    named = "" if item.get("defaultStorageClass") else item.get("storageClassName", "")
    metadata = {key: value for key, value in (item.get("metadata") or {}).items() if value}
    spec = {
        "accessModes": list(item.get("accessModes", ())),
        "resources": {"requests": {"storage": item["size"]}},
        **({"storageClassName": named} if named else {}),
    }
    return {"spec": spec, **({"metadata": metadata} if metadata else {})}


def _tolerations(platform: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for item in platform.get("tolerations", ()):
        given = _value(item.get("tolerationJson")) if "tolerationJson" in item else item
        for each in given if isinstance(given, list) else [given or {}]:
            made = {key: each[key] for key in ("key", "operator", "value", "effect") if each.get(key)}
            if each.get("tolerationSeconds") is not None:
                made["tolerationSeconds"] = int(each["tolerationSeconds"])
            if made:
                yield made


def _affinity(platform: Mapping[str, Any]) -> dict[str, Any]:
    """A weight makes a wish of what is a demand without."""
    found: dict[str, Any] = {}
    for item in platform.get("nodeAffinity", ()):
        if (whole := _value(item.get("nodeAffinityJson"))) is not None:
            found["nodeAffinity"] = whole
            continue
        term = {key: item[key] for key in ("matchExpressions", "matchFields") if item.get(key)}
        nodes = found.setdefault("nodeAffinity", {})
        if item.get("weight"):
            wish = {"weight": int(item["weight"]), "preference": term}
            nodes.setdefault(_WISHED, []).append(wish)
        else:
            nodes.setdefault(_DEMANDED, {"nodeSelectorTerms": []})["nodeSelectorTerms"].append(term)
    for item in platform.get("podAffinity", ()):
        near = found.setdefault("podAntiAffinity" if item.get("anti") else "podAffinity", {})
        term = _near(item)
        if item.get("weight"):
            wish = {"weight": int(item["weight"]), "podAffinityTerm": term}
            near.setdefault(_WISHED, []).append(wish)
        else:
            near.setdefault(_DEMANDED, []).append(term)
    return found


def _near(item: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"topologyKey": item.get("topologyKey", "")}
    if item.get("namespaces"):
        found["namespaces"] = list(item["namespaces"])
    for target, expressions, labels in (
        ("labelSelector", "matchPodExpressions", "matchPodLabels"),
        ("namespaceSelector", "matchNamespaceExpressions", "matchNamespaceLabels"),
    ):
        selector = {"matchExpressions": item.get(expressions), "matchLabels": item.get(labels)}
        if any(selector.values()):
            found[target] = {key: value for key, value in selector.items() if value}
    return found


def _name(item: Mapping[str, Any], key: str) -> str:
    """A name, resolved; empty if it is an optional input that nobody gave."""
    parameter = f"{key}Parameter"
    found = _value(item[parameter]) if parameter in item else item.get(key)
    return "" if found is None else str(found)


def _value(given: Any) -> Any:
    """A resolved input, or a constant as the document has it."""
    if isinstance(given, Mapping) and set(given) == {"runtimeValue"}:
        return given["runtimeValue"].get("constant")
    return given
