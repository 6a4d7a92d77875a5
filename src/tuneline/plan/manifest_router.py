"""A router's objects: its traffic.json, the Deployment of `serve/pod_router.py`, its Service. Pure.

With a Gateway there is one for each revision, which it gives everything; else one for the endpoint. Its
traffic.json is that of a router at home, with the engine's address for a revision's and the name by which
vLLM knows its adapter. A ConfigMap reaches pods within a minute or so; a server that reconciles the endpoint
tells them at once.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tuneline.plan.manifest_engine import BASE_NAME
from tuneline.plan.manifest_pods import budget, container_security, pod_security
from tuneline.plan.standing import (
    ADMIN_PORT,
    PORT,
    VLLM,
    Manifest,
    Placed,
    Wanted,
    address,
    engine_of,
    labels,
    metadata,
    router_of,
    selector,
)

FOLDER = "/run/tuneline"
TRAFFIC = "/etc/tuneline/traffic"
TOKEN = "/etc/tuneline/token"
"""Where the key of the admin port is mounted, if a server made one: without it that port refuses all."""
CLOSED = ("/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/metrics")
"""What clients may not ask vLLM: loading adapters is the controller's."""
DRAIN_S = 30


def routers(wanted: Wanted) -> dict[str, tuple[Placed, ...]]:
    """The routers there are to be: name -> the revisions of each. One without revisions refuses all."""
    if not wanted.by_gateway:
        return {wanted.endpoint: wanted.revisions}
    return {router_of(wanted, each): (each,) for each in wanted.revisions}


def router_objects(wanted: Wanted, name: str, revisions: Sequence[Placed]) -> list[Manifest]:
    """All objects of one router."""
    return [
        config(wanted, name, traffic(wanted, revisions)),
        service(wanted, name),
        deployment(wanted, name),
        budget(wanted, name, "router"),
    ]


def traffic(wanted: Wanted, revisions: Sequence[Placed]) -> dict[str, Any]:
    """A router's traffic.json. A router that has but one revision gives it everything."""
    weights = wanted.weights() if not wanted.by_gateway else {each.id: 100.0 for each in revisions}
    mirrored = wanted.shadow and wanted.candidate and not wanted.by_gateway
    body = {
        "generation": 1,
        **wanted.traffic,
        "endpoint": wanted.endpoint,
        "revisions": [_revision(wanted, each, weights[each.id]) for each in revisions],
        "shadow": {"revision": wanted.candidate} if mirrored else None,
        "closed": list(CLOSED) if wanted.runtime == VLLM else [],
        "page": wanted.runtime == VLLM,
    }
    return {**body, "sticky_headers": list(wanted.sticky)} if wanted.sticky else body


def _revision(wanted: Wanted, revision: Placed, weight: float) -> dict[str, Any]:
    model = (revision.release if revision.files else BASE_NAME) if wanted.runtime == VLLM else ""
    host = address(wanted, engine_of(wanted, revision))
    return {"id": revision.id, "release": revision.release, "host": host, "port": PORT, "weight": weight,
            "model": model}  # fmt: skip


def config(wanted: Wanted, name: str, body: Mapping[str, Any]) -> Manifest:
    """Its traffic.json, for pods that start."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(wanted, f"{name}-traffic", "router", name),
        "data": {"traffic.json": json.dumps(body, indent=1, sort_keys=True) + "\n"},
    }


def service(wanted: Wanted, name: str) -> Manifest:
    """Where clients ask, or the gateway."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(wanted, name, "router"),
        "spec": {
            "type": "ClusterIP" if wanted.kubernetes.gateway else wanted.kubernetes.service,
            "selector": selector(wanted, "router", name),
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def deployment(wanted: Wanted, name: str) -> Manifest:
    """Its pods."""
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security(),
        "terminationGracePeriodSeconds": DRAIN_S + 15,
        "containers": [_container(wanted)],
        "volumes": [
            {"name": "run", "emptyDir": {"sizeLimit": "2Gi"}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "traffic", "configMap": {"name": f"{name}-traffic", "defaultMode": 0o444}},
            {"name": "token", "secret": {"secretName": secret_name(wanted.endpoint), "optional": True,
                                         "defaultMode": 0o440}},
        ],
        "topologySpreadConstraints": [
            {
                "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector(wanted, "router", name)},
            }
        ],
    }  # fmt: skip
    if wanted.kubernetes.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": each} for each in wanted.kubernetes.image_pull_secrets]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(wanted, name, "router"),
        "spec": {
            "replicas": wanted.kubernetes.router_replicas,
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": selector(wanted, "router", name)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {"metadata": {"labels": labels(wanted, "router", name)}, "spec": pod},
        },
    }


def secret_name(endpoint: str) -> str:
    """The Secret with the key of the admin port: made by the server, never part of an export."""
    return f"{endpoint}-router-token"


def _container(wanted: Wanted) -> dict[str, Any]:
    words = ["python", "-m", "tuneline.serve.pod_router", "--dir", FOLDER, "--port", str(PORT),
             "--admin-port", str(ADMIN_PORT), "--traffic", f"{TRAFFIC}/traffic.json",
             "--token", f"{TOKEN}/token", "--drain-s", str(DRAIN_S)]  # fmt: skip
    health = {"httpGet": {"path": "/router/health", "port": "http"}, "timeoutSeconds": 5}
    memory = f"{256 + 128 * math.ceil(wanted.traffic.get('workers', 1))}Mi"
    return {
        "name": "router",
        "image": wanted.kubernetes.router_image,
        "imagePullPolicy": "IfNotPresent",
        "command": words,
        "env": [{"name": "HOME", "value": "/tmp"}, {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
        "ports": [
            {"name": "http", "containerPort": PORT, "protocol": "TCP"},
            {"name": "admin", "containerPort": ADMIN_PORT, "protocol": "TCP"},
        ],
        "startupProbe": {**health, "periodSeconds": 2, "failureThreshold": 30},
        "livenessProbe": {**health, "periodSeconds": 10, "failureThreshold": 6},
        "readinessProbe": {**health, "periodSeconds": 5, "failureThreshold": 2},
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "resources": {"requests": {"cpu": "100m", "memory": memory}, "limits": {"memory": memory}},
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "run", "mountPath": FOLDER},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "traffic", "mountPath": TRAFFIC, "readOnly": True},
            {"name": "token", "mountPath": TOKEN, "readOnly": True},
        ],
    }
