"""What pods say of why they are not ready, for people: pure, from objects as Kubernetes' API has them."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

HOPELESS = ("InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError")
"""Reasons of waiting that waiting does not change."""
LOOPING = "CrashLoopBackOff"
PASSING = (
    "ErrImagePull", "ImagePullBackOff", "ImageInspectError", "CreateContainerError", "RunContainerError",
)  # fmt: skip
"""Those that may pass: a registry or a node that is busy for some minutes."""
MAX_RESTARTS = 2
"""A container that ended more often than this, and never was ready, will not be."""
Object = Mapping[str, Any]


def is_ready(pod: Object) -> bool:
    """Whether it gets requests."""
    return _condition(pod, "Ready") == "True" and not pod["metadata"].get("deletionTimestamp")


def available(deployment: Object | None) -> bool:
    """Whether what was last asked of a Deployment is there and ready, at least one pod of it."""
    if deployment is None:
        return False
    status, wanted = deployment.get("status") or {}, int((deployment.get("spec") or {}).get("replicas", 1))
    seen = int(status.get("observedGeneration", 0)) >= int(deployment["metadata"].get("generation", 1))
    enough = (
        int(status.get("updatedReplicas", 0)) >= wanted and int(status.get("availableReplicas", 0)) >= wanted
    )
    return seen and enough and wanted > 0


def serving(deployment: Object | None) -> bool:
    """Whether any pod of a Deployment is ready: it answers while others start, are drained or scaled."""
    return int(((deployment or {}).get("status") or {}).get("availableReplicas") or 0) > 0


def hopeless(pods: Sequence[Object], now: float, patience_s: float) -> str:
    """Why none of the pods will get ready, by what they say; empty if one may.

    now: Unix seconds. patience_s: for how long after a pod came to its node an image may fail to be pulled.
    """
    said = [reason for pod in pods if (reason := _hopeless(pod, now - _begun(pod, now) > patience_s))]
    return said[0] if said and len(said) == len(pods) else ""


def reasons(pod: Object) -> list[str]:
    """What a pod says of itself: not scheduled, not pulled, ended with which code; one line each."""
    found = []
    status = pod.get("status") or {}
    for each in status.get("conditions") or []:
        if each["type"] == "PodScheduled" and each["status"] == "False":
            found.append(f"it is not scheduled: {each.get('message', '')}")
    for each in status.get("containerStatuses") or []:
        state = each.get("state") or {}
        if waiting := state.get("waiting"):
            found.append(
                f"{each['name']} waits: {waiting.get('reason')}. {waiting.get('message', '')}".strip()
            )
        for ended in (state.get("terminated"), (each.get("lastState") or {}).get("terminated")):
            if ended:
                found.append(
                    f"{each['name']} ended with {ended.get('exitCode')}, {ended.get('reason', '')}".strip()
                )
    return found


def story(pods: Sequence[Object], events: Sequence[Object], log: str) -> str:
    """All of it: what pods say, the warnings among events, the log's end."""
    lines = [f"{pod['metadata']['name']}: {reason}" for pod in pods for reason in reasons(pod)]
    warnings = [each for each in events if each.get("type") == "Warning"]
    warnings.sort(key=lambda each: str(each.get("lastTimestamp") or each.get("eventTime") or ""))
    lines += [f"{each.get('reason')}: {each.get('message')}" for each in warnings[-5:]]
    text = " ".join(dict.fromkeys(line.rstrip(".") + "." for line in lines))
    return f"{text} Its log ends with:\n{log.strip()}".strip() if log.strip() else text


def ended_for_memory(pods: Sequence[Object]) -> bool:
    """Whether any container was ended because it took more memory than it may."""
    return any("OOMKilled" in reason for pod in pods for reason in reasons(pod))


def _hopeless(pod: Object, impatient: bool) -> str:
    if is_ready(pod):
        return ""
    for each in (pod.get("status") or {}).get("containerStatuses") or []:
        waiting = ((each.get("state") or {}).get("waiting") or {}).get("reason", "")
        again = waiting == LOOPING and int(each.get("restartCount", 0)) > MAX_RESTARTS
        if waiting in HOPELESS or again or (impatient and waiting in PASSING):
            return str(waiting)
    return ""


def _begun(pod: Object, now: float) -> float:
    """When its node took it: the node itself may have come minutes after the pod was asked for."""
    with suppress(ValueError):
        return datetime.fromisoformat(str((pod.get("status") or {}).get("startTime"))).timestamp()
    return now


def _condition(pod: Object, kind: str) -> str:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return next((str(each["status"]) for each in conditions if each["type"] == kind), "")
