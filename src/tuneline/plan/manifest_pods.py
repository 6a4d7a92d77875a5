"""What engines and routers have in common: who their pods run as, how many may be gone, what scales. Pure."""

from typing import Any

from tuneline.plan.standing import Manifest, Wanted, metadata, selector

USER = 10001


def pod_security() -> dict[str, Any]:
    """Of a pod: nobody, and no privileges to be had."""
    return {
        "runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip


def container_security() -> dict[str, Any]:
    """Of a container."""
    return {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip


def budget(wanted: Wanted, name: str, component: str) -> Manifest:
    """At most one pod less at a time, when nodes are drained."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(wanted, name, component),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector(wanted, component, name)},
        },
    }


def hpa(wanted: Wanted, name: str) -> Manifest:
    """More pods when requests wait; fewer slowly, because a start is dear."""
    kubernetes = wanted.kubernetes
    target = {"type": "AverageValue", "averageValue": quantity(kubernetes.scale_at)}
    metric = {"metric": {"name": kubernetes.scale_metric}, "target": target}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(wanted, name, "engine"),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": kubernetes.replicas,
            "maxReplicas": kubernetes.max_replicas,
            "metrics": [{"type": "Pods", "pods": metric}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 600}},
        },
    }


def keda(wanted: Wanted, name: str) -> Manifest:
    """The same by KEDA, which asks Prometheus itself."""
    kubernetes = wanted.kubernetes
    pods = f'namespace="{kubernetes.namespace}",pod=~"{name}-.*"'
    trigger = {
        "type": "prometheus",
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": kubernetes.prometheus,
            "query": f"sum({kubernetes.scale_metric}{{{pods}}})",
            "threshold": f"{kubernetes.scale_at:g}",
        },
    }
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": metadata(wanted, name, "engine"),
        "spec": {
            "scaleTargetRef": {"name": name},
            "minReplicaCount": kubernetes.replicas,
            "maxReplicaCount": kubernetes.max_replicas,
            "cooldownPeriod": 600,
            "triggers": [trigger],
        },
    }


def quantity(number: float) -> str:
    """As Kubernetes writes it, and keeps it: `500m`, `4`."""
    return f"{number:g}" if number == int(number) else f"{round(number * 1000)}m"
