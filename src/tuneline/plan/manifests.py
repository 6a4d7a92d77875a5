"""Everything that stands on a cluster for one endpoint, as Kubernetes' API takes it. Pure.

What stands is in `standing`; engines in `manifest_engine`, routers in `manifest_router`, the route here.
`tuneline export kubernetes` writes it to files, `control` applies it; both get it from `manifests`.
"""

import json
from collections.abc import Sequence
from typing import Any

from tuneline.plan.manifest_engine import engine_objects
from tuneline.plan.manifest_router import router_objects, routers
from tuneline.plan.standing import DOMAIN, Manifest, Wanted, engines, metadata, router_of

KINDS = (
    "ConfigMap", "Service", "Deployment", "PodDisruptionBudget", "HorizontalPodAutoscaler", "ScaledObject",
    "HTTPRoute",
)  # fmt: skip
"""In the order in which they are applied."""
PARTS = 10
"""Of a percent: the weights of a route are whole numbers."""


def manifests(wanted: Wanted, script: str) -> list[Manifest]:
    """All objects, in the order in which they are applied: engines before routers before the route.

    script: the text of `serve/pod_adapters.py`. Raises: SpecError if no number of GPUs holds the weights.
    """
    found: list[Manifest] = []
    for engine in engines(wanted):
        found += engine_objects(wanted, engine, script)
    for name, revisions in routers(wanted).items():
        found += router_objects(wanted, name, revisions)
    if wanted.kubernetes.gateway and (wanted.live or not wanted.by_gateway):
        found.append(route(wanted))
    return found


def route(wanted: Wanted) -> Manifest:
    """The HTTPRoute: what each revision gets, by the rollout's own plan.

    A mirror gets a copy of every request of the rule, whoever answers it, as Gateway API has it.
    """
    namespace, _, name = wanted.kubernetes.gateway.rpartition("/")
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name}
    if namespace:
        parent["namespace"] = namespace
    weights = wanted.weights()
    rule: dict[str, Any] = {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}
    if not wanted.by_gateway:
        rule["backendRefs"] = [_backend(wanted.endpoint)]
    else:
        if wanted.shadow and wanted.candidate:
            mirror = {"backendRef": _backend(_router(wanted, wanted.candidate))}
            rule["filters"] = [{"type": "RequestMirror", "requestMirror": mirror}]
        rule["backendRefs"] = [_weighted(wanted, each.id, weights[each.id]) for each in wanted.revisions]
    spec: dict[str, Any] = {"parentRefs": [parent]}
    if wanted.kubernetes.hosts:
        spec["hostnames"] = list(wanted.kubernetes.hosts)
    body = metadata(wanted, wanted.endpoint, "route")
    shown = {"live": wanted.live, "candidate": wanted.candidate, "weight": wanted.weight}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {**body, "annotations": {f"{DOMAIN}/traffic": json.dumps(shown, sort_keys=True)}},
        "spec": {**spec, "rules": [rule]},
    }


def _router(wanted: Wanted, id: str) -> str:
    return router_of(wanted, next(each for each in wanted.revisions if each.id == id))


def _weighted(wanted: Wanted, id: str, percent: float) -> dict[str, Any]:
    backend = {**_backend(_router(wanted, id)), "weight": round(percent * PARTS)}
    if not wanted.kubernetes.gateway_header:
        return backend
    release = next(each.release for each in wanted.revisions if each.id == id)
    header = {"set": [{"name": "x-tuneline-release", "value": release}]}
    return {**backend, "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": header}]}


def _backend(service: str) -> dict[str, Any]:
    return {"group": "", "kind": "Service", "name": service, "port": 80}


def least(found: Sequence[Manifest], name: str) -> int:
    """The least number of pods that a scaler among them lets the Deployment `name` have; 1 without one."""
    for each in found:
        spec = each.get("spec") or {}
        if (spec.get("scaleTargetRef") or {}).get("name") == name:
            return int(spec.get("minReplicas") or spec.get("minReplicaCount") or 1)
    return 1


def file_name(manifest: Manifest) -> str:
    """`deployment-movie-reviews.yaml`."""
    return f"{manifest['kind'].lower()}-{manifest['metadata']['name']}.yaml"


def ordered(found: Sequence[Manifest]) -> list[Manifest]:
    """By kind, in the order in which they are applied, then by name."""
    return sorted(found, key=lambda each: (KINDS.index(each["kind"]), each["metadata"]["name"]))
