"""One training on several machines, as Kubernetes' API takes it: an Indexed Job and a headless Service. Pure.

Each pod is one machine: it brings the inputs from the bucket, runs `tuneline step tune`, which starts
`train.num_processes` workers, and finds the others through the first pod's name. The first alone takes
outputs and checkpoints to the bucket. Limits: a pod that is lost fails what the others compute, and all of
them begin again at the last checkpoint; the Job knows neither the record nor what comes after `tune`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuneline.errors import SpecError
from tuneline.plan.compile import Values
from tuneline.plan.components import TUNE
from tuneline.plan.placement import On
from tuneline.plan.standing import Manifest, slug
from tuneline_ir import convert

ROOT = "/tuneline"
STATE, HOME, TASK = f"{ROOT}/state", f"{ROOT}/home", f"{ROOT}/task"
PORT = 29500
"""Where rank 0 is met; torchrun's own."""
SCRATCH, SHARED = "tuneline", "shared-memory"
GROUP = 65532
INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
LOST_RETRIES = 6
"""How often a pod may fail before the Job does: one that is lost takes the others with it."""
USER_FAULT = 2
"""The exit code of what trying again does not change."""
DISK, UPLOAD_S, SAVE_S = "20Gi", 600, 10
CARRIER = {"requests": {"cpu": "50m", "memory": "192Mi"}, "limits": {"memory": "2Gi"}}


@dataclass(frozen=True)
class Training:
    """What is to be trained, and where its files are: URIs of a bucket."""

    name: str
    """Of the project."""
    machines: int
    processes: int
    """Of each machine."""
    parameters: Mapping[str, Any]
    """Of the step `tune`."""
    base: str
    rows: str
    to: str
    """Below it: `adapter`, `metrics`, `logs`, `state`."""
    init: str = ""
    """The adapter to go on from; empty: none."""


def training_of(project: Values, base: str, rows: str, to: str, init: str = "") -> Training:
    """The training a project describes, on files that are in a bucket.

    Raises: SpecError with every place that no pod sees.
    """
    places = {"base": base, "train": rows, "to": to, **({"init": init} if init else {})}
    faults = [f"--{name}: {uri} is in no bucket" for name, uri in places.items() if "://" not in uri]
    if faults:
        raise SpecError(
            "Pods find files in buckets alone.", hint="Give URIs: gs://, s3:// or az://.", details=faults
        )
    parameters = {param.name: convert(project.value(param.field), param.type) for param in TUNE.params}
    machines, processes = int(parameters["num_machines"]), int(parameters["num_processes"])
    name, to = str(project.value("name")), to.rstrip("/")
    return Training(name, machines, processes, parameters, base.rstrip("/"), rows.rstrip("/"), to, init)


def training_manifests(training: Training, on: On) -> list[Manifest]:
    """The Service and the Job. on: `on.kubernetes` of the step `tune`, defaults merged.

    Raises: SpecError if no image is named, or a machine has fewer GPUs than processes.
    """
    if not on.get("image"):
        raise SpecError(
            "`on.kubernetes.image` is not set: the image of our own steps.",
            hint="Write `on: {kubernetes: {image: ghcr.io/you/tuneline@sha256:...}}`.",
        )
    if 0 < int(on.get("gpus") or 0) < training.processes:
        raise SpecError(
            f"train.num_processes is {training.processes}, but a pod of `tune` has {on['gpus']} GPUs.",
            hint=f"Set on.kubernetes.steps.tune.gpus: {training.processes}, or fewer processes.",
        )
    return [_service(training, on), _job(training, on)]


def _service(training: Training, on: On) -> Manifest:
    """It gives the pods names, before they are ready too: they wait for each other."""
    name = _name(training)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(training, on),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"batch.kubernetes.io/job-name": name},
            "ports": [{"name": "meeting", "port": PORT}],
        },
    }


def _job(training: Training, on: On) -> Manifest:
    """One pod a machine, at the same time. A pod taken away with its node counts as no failure; a fault of
    the user's ends the Job at once."""
    lost = {"type": "DisruptionTarget", "status": "True"}
    fault = {"containerName": "base", "operator": "In", "values": [USER_FAULT]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(training, on),
        "spec": {
            "completionMode": "Indexed",
            "completions": training.machines,
            "parallelism": training.machines,
            "backoffLimitPerIndex": LOST_RETRIES,
            "maxFailedIndexes": 0,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {"action": "FailJob", "onExitCodes": fault},
                    {"action": "Ignore", "onPodConditions": [lost]},
                ]
            },
            **({"activeDeadlineSeconds": round(on["timeout"])} if on.get("timeout") else {}),
            "template": {"metadata": _pod_metadata(training, on), "spec": _pod(training, on)},
        },
    }


def _pod(training: Training, on: On) -> dict[str, Any]:
    pull = [{"name": name} for name in on.get("image_pull_secrets", ())]
    placed = {
        "serviceAccountName": on.get("service_account"),
        "imagePullSecrets": pull,
        "nodeSelector": dict(on.get("node_selector", {})),
        "tolerations": [dict(each) for each in on.get("tolerations", ())],
    }
    return {
        "restartPolicy": "Never",
        "subdomain": _name(training),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": round(on.get("upload_time", UPLOAD_S)),
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": GROUP,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
            **({"runAsUser": on["run_as_user"]} if on.get("run_as_user") else {}),
        },
        "initContainers": [
            _carrier(on, "bring", "in", order_in(training)),
            {**_carrier(on, "take", "out", order_out(training)), "restartPolicy": "Always"},
        ],
        "containers": [_task(training, on)],
        "volumes": [
            {"name": SCRATCH, "emptyDir": {"sizeLimit": str(on.get("disk", DISK))}},
            {"name": SHARED, "emptyDir": {"medium": "Memory"}},
        ],
        **{key: value for key, value in placed.items() if value},
    }


def _task(training: Training, on: On) -> dict[str, Any]:
    name = _name(training)
    meeting = {"MASTER_ADDR": f"{name}-0.{name}", "MASTER_PORT": str(PORT)}
    own = {"TUNELINE_HOME": HOME, "TUNELINE_TASK_STATE": STATE, "HOME": HOME}
    literal = {**own, **on.get("env", {}), **meeting}
    secret = {
        variable: {"secretKeyRef": dict(zip(("name", "key"), place.split("/", 1), strict=True))}
        for variable, place in on.get("secret_env", {}).items()
    }
    resources = {key: dict(on[key]) for key in ("requests", "limits") if on.get(key)}
    if on.get("gpus"):
        limits = {**resources.get("limits", {}), on.get("gpu_resource", "nvidia.com/gpu"): str(on["gpus"])}
        resources["limits"] = limits
    return {
        "name": "base",
        "image": on["image"],
        "imagePullPolicy": on.get("image_pull_policy", "IfNotPresent"),
        "command": ["tuneline", "step", "tune"],
        "args": ["--executor-input", _exact(json.dumps(executor_input(training), sort_keys=True))],
        "env": [
            *({"name": key, "value": _exact(text)} for key, text in literal.items() if key not in secret),
            *({"name": key, "valueFrom": source} for key, source in secret.items()),
            _index(),
        ],
        "resources": resources,
        "securityContext": _hardened(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": SCRATCH, "mountPath": ROOT},
            {"name": SHARED, "mountPath": "/dev/shm"},
        ],
    }


def executor_input(training: Training) -> dict[str, Any]:
    """What `tuneline step tune` is given, as Kubeflow's contract has it."""

    def artifact(path: str) -> dict[str, Any]:
        return {"artifacts": [{"uri": path}]}

    given = {name: artifact(f"{ROOT}/in/{name}") for name in ("base", "train", "init")}
    made = {name: artifact(f"{TASK}/{name}") for name in (out.name for out in TUNE.outputs)}
    return {
        "inputs": {"parameterValues": dict(training.parameters), "artifacts": given},
        "outputs": {"artifacts": made, "outputFile": f"{TASK}/output.json"},
    }


def order_in(training: Training) -> dict[str, Any]:
    """What `tuneline carry in` brings."""
    inputs = {"base": training.base, "train": training.rows, "init": training.init}
    return {
        "folders": [HOME, STATE, TASK, *([] if training.init else [f"{ROOT}/in/init"])],
        "inputs": [
            {"name": name, "uri": uri, "path": f"{ROOT}/in/{name}"} for name, uri in inputs.items() if uri
        ],
        "checkpoints": _checkpoints(training),
    }


def order_out(training: Training) -> dict[str, Any]:
    """What `tuneline carry out` takes, of the first machine alone."""
    return {
        "outputs": [
            {"name": out.name, "uri": f"{training.to}/{out.name}", "path": f"{TASK}/{out.name}"}
            for out in TUNE.outputs
        ],
        "output_file": f"{TASK}/output.json",
        "every_s": SAVE_S,
        "checkpoints": _checkpoints(training),
        "first_machine_only": True,
    }


def _checkpoints(training: Training) -> dict[str, str]:
    return {"uri": f"{training.to}/state/checkpoints", "path": f"{STATE}/checkpoints", "who": "job"}


def _carrier(on: On, name: str, direction: str, order: Mapping[str, Any]) -> dict[str, Any]:
    text = json.dumps(order, separators=(",", ":"), ensure_ascii=False)
    return {
        "name": name,
        "image": on["image"],
        "imagePullPolicy": on.get("image_pull_policy", "IfNotPresent"),
        "command": ["tuneline", "carry", direction],
        "args": ["--order", _exact(text)],
        "env": [{"name": "TUNELINE_HOME", "value": HOME}, {"name": "HOME", "value": HOME}, _index()],
        "resources": CARRIER,
        "securityContext": _hardened(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": SCRATCH, "mountPath": ROOT}],
    }


def _index() -> dict[str, Any]:
    return {"name": "NODE_RANK", "valueFrom": {"fieldRef": {"fieldPath": INDEX}}}


def _name(training: Training) -> str:
    return f"{slug(training.name)}-tune"


def _metadata(training: Training, on: On) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": "tuneline-tune", "app.kubernetes.io/instance": _name(training),
              "app.kubernetes.io/managed-by": "tuneline"}  # fmt: skip
    return {"name": _name(training), "namespace": str(on.get("namespace") or "default"), "labels": labels}


def _pod_metadata(training: Training, on: On) -> dict[str, Any]:
    labels = {**on.get("labels", {}), **_metadata(training, on)["labels"]}
    annotations = {
        **on.get("annotations", {}),
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    }
    return {"labels": labels, "annotations": annotations}


def _hardened() -> dict[str, Any]:
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def _exact(text: str) -> str:
    """A text that Kubernetes expands to `text`: `$$` is a dollar, and `$(NAME)` would be a variable."""
    return text.replace("$", "$$")
