"""The pod of one attempt, as Kubernetes' JSON. Pure: everything in it is decided before the pod starts.

The task's image, command and user are its own. Around it stand two containers of our own image: `bring`, an
init container that fetches inputs and the newest checkpoint, and `take`, a native sidecar that copies
checkpoints while the task runs and takes its outputs when it has ended, however that was: Kubernetes ends
sidecars after the containers they serve. What was put out comes back in `take`'s termination message, a
long one in its log: both need no more rights than Airflow has, and no bucket's library on its workers. The
pod meets Kubernetes' "restricted" standard, but where `run_as_root` says otherwise.

Limits: Kubernetes 1.29 or newer; one pod a task; the pipeline's task workspace is not built.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tuneline_airflow.launch import Carried, Launch
from tuneline_airflow.pod_parts import Asked, asked_of, resources

ROOT = "/tuneline"
"""Where the pod's scratch space is, in all its containers: everything that is carried lies below it."""
FOLDER = f"{ROOT}/task"
"""Where the task sees the folder of its attempt."""
STATE = f"{ROOT}/state"
"""What outlives attempts: checkpoints, by way of the bucket."""
HOME = f"{ROOT}/home"
OWN_IMAGE = "tuneline"
"""What pipelines call the image of our own steps."""
BASE, BRING, TAKE = "base", "bring", "take"
"""Names of the containers; Airflow calls the task's own `base`."""
SCRATCH, SHARED, SHARED_AT = "tuneline", "tuneline-shm", "/dev/shm"
GROUP = 65532
"""Of the pod's volumes; no user of an image has it by chance."""
MESSAGE_BYTES = 2048
"""Of a termination message: Kubernetes keeps 4096 of one container, and 12 KB of all of a pod's."""
SAVE_S = 10
"""Between two looks for a new checkpoint."""
DISK, UPLOAD_S = "20Gi", 600
STORAGE = "ephemeral-storage"
CARRIER = {"requests": {"cpu": "50m", "memory": "192Mi"}, "limits": {"memory": "2Gi"}}
"""Of `bring` and of `take`: files are streamed, a training's memory is its own."""
LABEL = "tuneline/"


def pod_of(launch: Launch, *, state: str = "", loss: int = 0) -> dict[str, Any]:
    """The pod, its name without the suffix that makes it unique.

    state: the URI below which checkpoints are kept for the next attempt; empty: nowhere. loss: how many
    pods of this attempt were lost with their nodes before. Raises: ValueError naming what cannot be.
    """
    _check(launch)
    on, asked = launch.on, asked_of(launch.platform)
    carried = {"checkpoints": _checkpoints(state, f"{launch.attempt}-{loss}")} if state else {}
    containers = [
        _carrier(launch, BRING, {**_order_in(launch), **carried}),
        {**_carrier(launch, TAKE, {**_order_out(launch), **carried}), "restartPolicy": "Always"},
    ]
    spec = {
        "restartPolicy": "Never",
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
        "initContainers": containers,
        "containers": [_task(launch, asked)],
        "volumes": [
            {"name": SCRATCH, "emptyDir": {"sizeLimit": str(on.get("disk", DISK))}},
            *asked.volumes,
            *([{"name": SHARED, "emptyDir": {"medium": "Memory"}}] if _shares(launch, asked) else ()),
        ],
        **_placed(launch, asked),
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": _metadata(launch, asked, loss), "spec": spec}


def labels_of(launch: Launch) -> dict[str, str]:
    """What a pod of this attempt is found again by."""
    words = {"dag": launch.dag_id, "run": launch.run_id, "task": launch.task, "attempt": str(launch.attempt)}
    return {f"{LABEL}{key}": label_value(value) for key, value in words.items()}


def label_value(text: str) -> str:
    """The text if it can be a label's value, else what is left of it with a hash of all of it."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-_.")
    if plain == text and len(text) <= 63:
        return text
    return f"{plain[:50].rstrip('-_.')}-{_hash(text)}".lstrip("-")


def _metadata(launch: Launch, asked: Asked, loss: int) -> dict[str, Any]:
    on = launch.on
    words = f"{launch.dag_id}-{launch.task}".lower()
    name = re.sub(r"[^a-z0-9]+", "-", words).strip("-")
    return {
        "name": name if len(name) <= 50 else f"{name[:41].rstrip('-')}-{_hash(words)}",
        "namespace": str(on.get("namespace") or "default"),
        "labels": {**on.get("labels", {}), **asked.labels, **labels_of(launch), f"{LABEL}loss": str(loss)},
        "annotations": {
            **on.get("annotations", {}),
            **asked.annotations,
            "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        },
    }


def _placed(launch: Launch, asked: Asked) -> dict[str, Any]:
    """Where the pod runs, as whom, and for how long; what the pipeline itself says goes over `on`."""
    on = launch.on
    pull = dict.fromkeys((*on.get("image_pull_secrets", ()), *asked.pull_secrets))
    tolerations = [dict(each) for each in on.get("tolerations", ())]
    tolerations += [dict(each) for each in asked.tolerations if each not in tolerations]
    known = {each.get("key") for each in tolerations}
    devices = [each for each in _of_devices(resources(launch.resources, on)) if each["key"] not in known]
    deadline = asked.deadline_s or round(on.get("timeout") or 0)
    found = {
        "serviceAccountName": on.get("service_account"),
        "imagePullSecrets": [{"name": name} for name in pull],
        "nodeSelector": {**on.get("node_selector", {}), **asked.node_selector},
        "tolerations": [*tolerations, *devices],
        "affinity": asked.affinity,
        "activeDeadlineSeconds": deadline,
    }
    return {key: value for key, value in found.items() if value}


def _of_devices(asked: Mapping[str, Any]) -> list[dict[str, str]]:
    """Nodes with GPUs are tainted by the resource's name: so does Kubernetes' own ExtendedResourceToleration,
    which many clusters do not have."""
    names = [name for name in asked.get("limits", {}) if "/" in name]
    return [{"key": name, "operator": "Exists", "effect": "NoSchedule"} for name in names]


def _task(launch: Launch, asked: Asked) -> dict[str, Any]:
    on = launch.on
    literal = {**_own_env(launch), **on.get("env", {}), **launch.env}
    secret = {
        name: {"secretKeyRef": dict(zip(("name", "key"), place.split("/", 1), strict=True))}
        for name, place in on.get("secret_env", {}).items()
    }
    sources = {**secret, **asked.env}
    given = [{"name": name, "valueFrom": source} for name, source in sources.items()]
    security: dict[str, Any] = {**_hardened(), **asked.security}
    if on.get("run_as_root"):
        security["runAsNonRoot"] = False
    return {
        "name": BASE,
        "image": _image(launch, launch.image),
        "imagePullPolicy": asked.pull_policy or on.get("image_pull_policy", "IfNotPresent"),
        **({"command": [_exact(word) for word in launch.command]} if launch.command else {}),
        **({"args": [_exact(word) for word in launch.args]} if launch.args else {}),
        "env": [*(_literal(name, value) for name, value in literal.items() if name not in sources), *given],
        "resources": _with_disk(resources(launch.resources, on), str(on.get("disk", ""))),
        "securityContext": security,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": SCRATCH, "mountPath": ROOT},
            *asked.mounts,
            *([{"name": SHARED, "mountPath": SHARED_AT}] if _shares(launch, asked) else ()),
        ],
    }


def _shares(launch: Launch, asked: Asked) -> bool:
    """Whether the task has several GPUs, whose processes talk by shared memory; a container has 64 MB of it.
    What the pipeline mounts there itself goes over it."""
    limits = resources(launch.resources, launch.on).get("limits", {})
    several = any("/" in name and int(amount) > 1 for name, amount in limits.items())
    return several and all(each["mountPath"] != SHARED_AT for each in asked.mounts)


def _with_disk(asked: Mapping[str, Any], disk: str) -> dict[str, Any]:
    """With the scratch space, where the project says one, as a request: else the scheduler knows nothing of
    it, and where a container may write only what it asked for (GKE Autopilot: 1Gi, if it asks for nothing)
    the pod is evicted. The default is not requested: small nodes do not have it to spare."""
    if not disk or any(STORAGE in amounts for amounts in asked.values()):
        return dict(asked)
    return {**asked, "requests": {**asked.get("requests", {}), STORAGE: disk}}


def _literal(name: str, value: str) -> dict[str, str]:
    return {"name": name, "value": _exact(value)}


def _own_env(launch: Launch) -> dict[str, str]:
    found = {
        "TUNELINE_HOME": HOME,
        "TUNELINE_TASK_STATE": STATE,
        "TUNELINE_RUN_ID": launch.run_id,
        "TUNELINE_TASK": launch.task,
    }
    if launch.on.get("run_as_user"):  # a user that the image does not know has no home
        found["HOME"] = HOME
    return found


def _carrier(launch: Launch, name: str, order: Mapping[str, Any]) -> dict[str, Any]:
    on, text = launch.on, json.dumps(order, separators=(",", ":"), ensure_ascii=False)
    direction = "in" if name == BRING else "out"
    return {
        "name": name,
        "image": _image(launch, OWN_IMAGE),
        "imagePullPolicy": on.get("image_pull_policy", "IfNotPresent"),
        "command": ["tuneline", "carry", direction],
        "args": ["--order", _exact(text)],
        "env": [{"name": "TUNELINE_HOME", "value": HOME}, {"name": "HOME", "value": HOME}],
        "resources": CARRIER,
        "securityContext": _hardened(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": SCRATCH, "mountPath": ROOT}],
    }


def _checkpoints(state: str, who: str) -> dict[str, str]:
    return {"uri": f"{state}/checkpoints", "path": f"{STATE}/checkpoints", "who": who}


def _order_in(launch: Launch) -> dict[str, Any]:
    files = (*launch.parameters.values(), *(each.path for each in launch.outputs), launch.output_file)
    folders = {HOME, STATE, *(path.rpartition("/")[0] for path in files)}
    return {"inputs": _carrying(launch.inputs), "folders": sorted(folders)}


def _order_out(launch: Launch) -> dict[str, Any]:
    return {
        "outputs": _carrying(launch.outputs),
        "parameters": dict(launch.parameters),
        "output_file": launch.output_file,
        "every_s": SAVE_S,
        "limit": MESSAGE_BYTES,
    }


def _carrying(carried: Sequence[Carried]) -> list[dict[str, str]]:
    return [{"name": each.name, "uri": each.uri, "path": each.path} for each in carried]


def _check(launch: Launch) -> None:
    if launch.workspace:
        raise ValueError("its pipeline has a task workspace, which pods do not have; mount a claim instead")
    for each in (*launch.inputs, *launch.outputs):
        if "://" not in each.uri:
            raise ValueError(
                f"`{each.name}` is kept at {each.uri}, which no pod sees; `root` must be a bucket"
            )
    paths = (*launch.parameters.values(), *(each.path for each in launch.outputs), launch.output_file)
    for path in paths:
        if not path.startswith(f"{ROOT}/"):
            raise ValueError(f"{path} is outside the pod's scratch space {ROOT}")
    _image(launch, OWN_IMAGE)


def _image(launch: Launch, image: str) -> str:
    if image != OWN_IMAGE:
        return image
    if not launch.on.get("image"):
        raise ValueError(
            "`on.kubernetes.image` is not set: the image of our own steps, which also carry files"
        )
    return str(launch.on["image"])


def _hardened() -> dict[str, Any]:
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def _exact(text: str) -> str:
    """A text that Kubernetes expands to `text`: `$$` is a dollar, and `$(NAME)` would be a variable."""
    return text.replace("$", "$$")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
