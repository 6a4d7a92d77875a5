"""`on:`: where a project's tasks run when an engine on a cluster runs them. Frozen values; no IO, no YAML.

`On.written` is what the file says and nothing more: further defaults come from the settings, and only what is
written goes over them (`plan.placement`). What a pod is made of it stands in docs/pods.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tuneline.spec.keys import key

SPOT: Final = ("none", "gke", "eks", "karpenter", "aks")
"""Whose spot nodes a task may run on: each marks them in its own way."""
QUANTITY: Final = r"[0-9]+(\.[0-9]+)?(m|[kMGTPE]i?)?"
"""An amount as Kubernetes writes it."""
OBJECT: Final = r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"
"""The name of an object of Kubernetes."""
LABEL: Final = r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
"""The key of a label, an annotation or a resource."""
LABEL_VALUE: Final = r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?"
SECRET_KEY: Final = rf"{OBJECT}/[A-Za-z0-9._-]+"
"""A key of a Secret of Kubernetes: `name/key`."""
VARIABLE: Final = r"[A-Za-z_][A-Za-z0-9_]*"
OPEN_VARIABLE: Final = (
    rf"(?!(?i:.*(TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE))){VARIABLE}"
)
"""A variable whose value may stand in a file that is kept on record."""


@dataclass(frozen=True, kw_only=True)
class Kubernetes:
    """The pods of tasks on a cluster: for all steps, and under `steps` for some."""

    namespace: str = key("text", "default", "Where the pods are made; not under `steps`.", pattern=OBJECT)
    image: str = key(
        "text", "", "The image of our own steps, best by digest: `ghcr.io/you/tuneline@sha256:...`."
    )
    service_account: str = key(
        "text", "", "The service account of the pods: the identity that reads and writes the bucket.",
        pattern=OBJECT,
    )  # fmt: skip
    image_pull_secrets: tuple[str, ...] = key(
        "texts", (), "Secrets of Kubernetes to pull images with, by name.", pattern=OBJECT
    )
    image_pull_policy: str = key(
        "text", "IfNotPresent", "When an image is pulled.", choices=("IfNotPresent", "Always", "Never")
    )
    gpus: int = key("integer", 0, "GPUs of a task.", low=0, high=64)
    gpu_resource: str = key("text", "nvidia.com/gpu", "What the cluster calls a GPU.", pattern=LABEL)
    requests: Mapping[str, str] = key(
        "map", {}, "What a task is promised, e.g. `{cpu: 2, memory: 8Gi}`.", names=LABEL, entries=QUANTITY
    )
    limits: Mapping[str, str] = key(
        "map", {}, "What a task may not exceed, e.g. `{memory: 16Gi}`.", names=LABEL, entries=QUANTITY
    )
    node_selector: Mapping[str, str] = key(
        "map", {}, "Labels that a node must have.", names=LABEL, entries=LABEL_VALUE
    )
    tolerations: tuple[Mapping[str, Any], ...] = key(
        "tolerations", (), "Taints of nodes that do not matter, written as in a pod."
    )
    spot: str = key(
        "text", "none", "Run on spot nodes as this cluster marks them; `none`: not.", choices=SPOT
    )
    spot_retries: int = key(
        "integer", 3, "Pods that may be lost with their node before the attempt counts as failed.",
        low=0, high=100,
    )  # fmt: skip
    env: Mapping[str, str] = key("map", {}, "Variables of a task, none of them secret.", names=OPEN_VARIABLE)
    secret_env: Mapping[str, str] = key(
        "map", {}, "Variables from Secrets of Kubernetes: `{HF_TOKEN: huggingface/token}`.",
        names=VARIABLE, entries=SECRET_KEY,
    )  # fmt: skip
    disk: str = key(
        "text", "20Gi", "Scratch space of a task: its inputs, outputs and checkpoints.", pattern=QUANTITY
    )
    timeout_s: float = key("duration", 0.0, "How long a pod may run, e.g. `6h`; 0: for ever.", low=0)
    startup_timeout_s: float = key(
        "duration", 1800.0, "How long a pod may wait for a node and its images.", low=1
    )
    upload_time_s: float = key(
        "duration", 600.0, "How long outputs may take to reach the bucket when a task has ended.", low=30
    )
    run_as_user: int = key("integer", 0, "The user id of a task; 0: its image's own.", low=0)
    run_as_root: bool = key("flag", False, "Whether a task's image may run as root.")
    labels: Mapping[str, str] = key("map", {}, "Further labels of pods.", names=LABEL, entries=LABEL_VALUE)
    annotations: Mapping[str, str] = key("map", {}, "Further annotations of pods.", names=LABEL)
    steps: Mapping[str, Mapping[str, Any]] = key(
        "steps", {}, "The same keys for single steps: `{tune: {gpus: 1}}`; mappings are merged."
    )


@dataclass(frozen=True, kw_only=True)
class Airflow:
    """How Airflow runs the pods."""

    connection: str = key(
        "text", "", "Airflow's connection to the cluster; by default the cluster it runs in."
    )
    deferrable: bool = key("flag", True, "Whether a worker is free while a pod runs.")
    pool: str = key("text", "", "Airflow's pool for the tasks; by default its own.")


@dataclass(frozen=True, kw_only=True)
class On:
    """Where tasks run, by what runs them."""

    kubernetes: Kubernetes = field(default_factory=Kubernetes)
    airflow: Airflow = field(default_factory=Airflow)
    written: Mapping[str, Any] = field(default_factory=dict)
    """`{"kubernetes": {...}, "airflow": {...}}`, JSON values, as far as it is written. No key."""


ONLY_FOR_ALL: Final = ("namespace", "steps")
"""Keys of `on.kubernetes` that no single step has."""


def toleration_fault(toleration: Mapping[str, Any]) -> str:
    """What Kubernetes' API would refuse of a toleration whose keys are each right; empty if it takes it."""
    exists = toleration.get("operator") == "Exists"
    if not toleration.get("key") and not exists:
        return "has no `key`, and so must have `operator: Exists`"
    if exists and toleration.get("value"):
        return "has a `value`, which `operator: Exists` does not take"
    if "tolerationSeconds" in toleration and toleration.get("effect") != "NoExecute":
        return "has `tolerationSeconds`, which `effect: NoExecute` alone takes"
    return ""
