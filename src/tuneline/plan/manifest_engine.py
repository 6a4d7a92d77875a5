"""An engine's objects: the Deployment of vLLM or of own code, its Service, adapters, budget and scaler. Pure.

The pods run as nobody, with a root file system that cannot be written. A pod is ready once every adapter that
is live is loaded: the readiness probe loads what is listed (`serve/pod_adapters.py`), so that a pod that is
started again, or added by the scaler, is complete before it is asked, with or without a server of ours.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from tuneline.plan.capacity import Capacity
from tuneline.plan.manifest_pods import budget, container_security, hpa, keda, pod_security, quantity
from tuneline.plan.pod_volumes import Mounted, mounted
from tuneline.plan.standing import (
    PORT,
    VLLM,
    Engine,
    Manifest,
    Wanted,
    labels,
    metadata,
    selector,
)

SCRIPTS = "/etc/tuneline"
ADAPTERS = "/adapters"
BASE_NAME = "base"
"""What vLLM calls the base itself."""
CACHE = "/cache"


def engine_objects(wanted: Wanted, engine: Engine, script: str) -> list[Manifest]:
    """All objects of one engine. script: the text of `serve/pod_adapters.py`."""
    wanted = wanted.as_of(engine.revisions[-1])  # the newest says how many pods
    found = [service(wanted, engine), deployment(wanted, engine), budget(wanted, engine.name, "engine")]
    if loads(wanted, engine):
        found.insert(0, adapters(wanted, engine, script))
    if wanted.kubernetes.max_replicas > wanted.kubernetes.replicas:
        found.append(
            keda(wanted, engine.name) if wanted.kubernetes.scale_by == "keda" else hpa(wanted, engine.name)
        )
    return found


def loads(wanted: Wanted, engine: Engine) -> bool:
    """Whether adapters are loaded onto the engine."""
    return wanted.runtime == VLLM and any(each.files for each in engine.revisions)


def adapter_list(wanted: Wanted, engine: Engine) -> list[dict[str, Any]]:
    """What the readiness probe loads. A candidate's adapter keeps no pod from being ready."""
    own = bool(engine.files)
    return [
        {
            "name": each.release,
            "path": ADAPTERS if own else f"{ADAPTERS}/{each.files}",
            "required": each.id == wanted.live,
        }
        for each in engine.revisions
        if each.files
    ]


def adapters(wanted: Wanted, engine: Engine, script: str) -> Manifest:
    """The list of adapters, and the program that loads them."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(wanted, f"{engine.name}-adapters", "engine", engine.name),
        "data": {
            "adapters.json": json.dumps(adapter_list(wanted, engine), indent=1) + "\n",
            "adapters.py": script,
        },
    }


def service(wanted: Wanted, engine: Engine) -> Manifest:
    """Where routers ask it."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(wanted, engine.name, "engine"),
        "spec": {
            "type": "ClusterIP",
            "selector": selector(wanted, "engine", engine.name),
            "ports": [{"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def deployment(wanted: Wanted, engine: Engine) -> Manifest:
    """Its pods."""
    kubernetes, size = wanted.kubernetes, wanted.capacity
    places = _places(wanted, engine, size)
    spec: dict[str, Any] = {
        "revisionHistoryLimit": 3,
        "progressDeadlineSeconds": math.ceil(size.start_s) + 900,
        "selector": {"matchLabels": selector(wanted, "engine", engine.name)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": {
            "metadata": {"labels": labels(wanted, "engine", engine.name)},
            "spec": {**_pod(wanted, engine, size, places)},
        },
    }
    if kubernetes.max_replicas <= kubernetes.replicas:  # else the number is the scaler's
        spec = {"replicas": kubernetes.replicas, **spec}
    annotations = {key: value for place in places for key, value in place.annotations.items()}
    if annotations:
        spec["template"]["metadata"]["annotations"] = annotations
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(wanted, engine.name, "engine"),
        "spec": spec,
    }


def _places(wanted: Wanted, engine: Engine, size: Capacity) -> list[Mounted]:
    """The base first; then adapters, or the package."""
    kubernetes, found = wanted.kubernetes, []
    if wanted.runtime == VLLM:
        found.append(mounted(engine.base, "base", "/base", size.weights_gb * 1.1))
    if engine.files and kubernetes.adapters.startswith("oci://"):
        found.append(mounted(f"oci://{engine.files}", "adapters", ADAPTERS))
    elif loads(wanted, engine) or wanted.runtime != VLLM:
        found.append(mounted(kubernetes.adapters, "adapters", ADAPTERS))
    return found


def _pod(wanted: Wanted, engine: Engine, size: Capacity, places: list[Mounted]) -> dict[str, Any]:
    kubernetes = wanted.kubernetes
    volumes = [dict(volume) for place in places for volume in place.volumes]
    volumes += [{"name": "tmp", "emptyDir": {}}, {"name": "cache", "emptyDir": {}}]
    if size.shm_gb:
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": f"{size.shm_gb}Gi"}})
    if loads(wanted, engine):
        config = {"name": f"{engine.name}-adapters", "defaultMode": 0o444}
        volumes.append({"name": "scripts", "configMap": config})
    if engine.base.startswith("hf://") and kubernetes.hf_secret:
        secret = {"secretName": kubernetes.hf_secret, "items": [{"key": "token", "path": "token"}]}
        volumes.append({"name": "hub", "secret": {**secret, "defaultMode": 0o440}})
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # a Service named vllm would set VLLM_PORT, which vLLM takes for its own
        "securityContext": pod_security(),
        "terminationGracePeriodSeconds": 120,
        "containers": [_container(wanted, engine, size, places)],
        "volumes": volumes,
    }
    if kubernetes.service_account:
        spec["serviceAccountName"] = kubernetes.service_account
    if kubernetes.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in kubernetes.image_pull_secrets]
    nodes = dict(kubernetes.node_selector)
    if size.gpus and not nodes:
        nodes = {"cloud.google.com/gke-accelerator": size.accelerator}
    if nodes:
        spec["nodeSelector"] = nodes
    if size.gpus:
        spec["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    return spec


def _container(wanted: Wanted, engine: Engine, size: Capacity, places: list[Mounted]) -> dict[str, Any]:
    model = wanted.runtime == VLLM
    mounts = [dict(mount) for place in places for mount in place.mounts]
    mounts += [{"name": "tmp", "mountPath": "/tmp"}, {"name": "cache", "mountPath": CACHE}]
    if size.shm_gb:
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})
    if loads(wanted, engine):
        mounts.append({"name": "scripts", "mountPath": SCRIPTS, "readOnly": True})
    if engine.base.startswith("hf://") and wanted.kubernetes.hf_secret:
        mounts.append({"name": "hub", "mountPath": "/etc/hub", "readOnly": True})
    memory = f"{math.ceil(size.memory_gb)}G"
    limits: dict[str, str] = {"memory": memory}
    if size.gpus:
        limits["nvidia.com/gpu"] = str(size.gpus)
    return {
        "name": wanted.runtime,
        "image": wanted.kubernetes.image,
        "imagePullPolicy": "IfNotPresent",
        **(_vllm(wanted, engine, size, places) if model else _pyfunc(engine)),
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        **_probes(wanted, engine, size),
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "resources": {"requests": {"cpu": quantity(size.cpu), "memory": memory}, "limits": limits},
        "securityContext": container_security(),
        "volumeMounts": mounts,
    }


def _vllm(wanted: Wanted, engine: Engine, size: Capacity, places: list[Mounted]) -> dict[str, Any]:
    kubernetes, base = wanted.kubernetes, places[0]
    words = ["vllm", "serve", base.path]
    arguments = [
        "--served-model-name", BASE_NAME, "--host", "0.0.0.0", "--port", str(PORT),
        "--max-model-len", str(kubernetes.max_model_len),
    ]  # fmt: skip
    if base.revision:
        arguments += ["--revision", base.revision]
    if size.gpus > 1:
        arguments += ["--tensor-parallel-size", str(size.gpus)]
    environment = {
        "HOME": CACHE, "USER": VLLM, "XDG_CACHE_HOME": CACHE, "HF_HOME": f"{CACHE}/hub",
        "VLLM_CACHE_ROOT": f"{CACHE}/vllm", "VLLM_NO_USAGE_STATS": "1",
    }  # fmt: skip
    if loads(wanted, engine):
        arguments += [
            "--enable-lora", "--max-loras", str(kubernetes.max_loras),
            "--max-cpu-loras", str(max(8, kubernetes.max_loras)), "--max-lora-rank", str(engine.rank),
        ]  # fmt: skip
        environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True"
    if engine.base.startswith("hf://") and kubernetes.hf_secret:
        environment["HF_TOKEN_PATH"] = "/etc/hub/token"
    if not engine.base.startswith("hf://"):
        environment["HF_HUB_OFFLINE"] = "1"
    return {"command": words, "args": arguments, "env": _environment(environment)}


def _pyfunc(engine: Engine) -> dict[str, Any]:
    release = engine.revisions[0].release
    words = [
        "exec python -m tuneline.serve.runtime --runtime pyfunc --python \"$(command -v python)\"",
        f"--package {ADAPTERS}/{engine.files} --model \"$MODEL\" --release \"$RELEASE\"",
        f"--host 0.0.0.0 --port {PORT}",
    ]  # fmt: skip
    environment = {"HOME": CACHE, "MODEL": release.rpartition("@")[0], "RELEASE": release}
    return {"command": ["sh", "-c", " ".join(words)], "env": _environment(environment)}


def _environment(given: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in sorted(given.items())]


def _probes(wanted: Wanted, engine: Engine, size: Capacity) -> dict[str, Any]:
    """A start may take as long as the weights take; what answered, and does not for a minute, is ended."""
    health = {"httpGet": {"path": "/health", "port": "http"}}
    ready: dict[str, Any] = {**health, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 2}
    if loads(wanted, engine):
        command = {"command": ["python3", f"{SCRIPTS}/adapters.py"]}
        ready = {"exec": command, "periodSeconds": 10, "timeoutSeconds": 60, "failureThreshold": 2}
    return {
        "startupProbe": {**health, "periodSeconds": 5, "timeoutSeconds": 5,
                         "failureThreshold": math.ceil(size.start_s / 5)},
        "livenessProbe": {**health, "periodSeconds": 10, "timeoutSeconds": 10, "failureThreshold": 6},
        "readinessProbe": ready,
    }  # fmt: skip
