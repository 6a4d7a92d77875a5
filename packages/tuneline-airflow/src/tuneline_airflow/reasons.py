"""How a pod stands, from what Kubernetes says of it: pure, over the pod's JSON.

`ended` tells a pod that is done from one that failed by itself and from one that was lost with its node: a
lost one is made again without using up a try. `stuck` says why one that has not begun never will. Sources:
the pod lifecycle and pod disruption pages of Kubernetes' documentation, kubelet's and the eviction
manager's reasons.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tuneline_airflow.pods import BASE, BRING, TAKE

PULL_S, CONFIG_S = 300.0, 60.0
"""How long an image may fail to come, or what a container is made of be missing, before that is the end."""
_NEVER = ("InvalidImageName", "ErrImageNeverPull")
_PULLING = ("ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable")
_MAKING = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff")
_LOST = (
    "Preempting", "Shutdown", "NodeShutdown", "NodeLost", "Terminated", "NodeAffinity",
    "UnexpectedAdmissionError", "OutOfcpu", "OutOfmemory", "OutOfpods",
)  # fmt: skip
"""A pod's own reasons that speak of its node. `Terminated`: of a node that shuts down in good order."""
_OWN_DISK = ("exceeds the limit", "exceeds the total limit", "exceeds its local ephemeral storage limit")


class How(Enum):
    """How a pod stands."""

    RUNNING = "running"
    DONE = "done"
    LOST = "lost"
    FAILED = "failed"


@dataclass(frozen=True)
class Standing:
    """How a pod stands, and why."""

    how: How
    reason: str = ""
    retry: bool = True
    """Of a failure: whether it may work in another try."""
    message: Mapping[str, Any] | None = None
    """What `take` left, if the task is done."""


GONE = Standing(How.LOST, "the pod is not there any more: its node was lost, or somebody deleted it")


def ended(pod: Mapping[str, Any]) -> Standing:
    """How a pod stands that may have ended."""
    status = pod.get("status") or {}
    if status.get("phase") not in ("Succeeded", "Failed"):
        return Standing(How.RUNNING)
    base, took = _terminated(status, BASE), _left(status, TAKE)
    if base is not None and base.get("exitCode") == 0 and took is not None:
        if took.get("ok"):
            return Standing(How.DONE, message=took)
        return _told(took.get("error") or {}, "its outputs did not reach the bucket")
    reason, said = str(status.get("reason") or ""), str(status.get("message") or "").strip()
    if reason == "DeadlineExceeded":
        return Standing(How.FAILED, "it took longer than it may: raise on.kubernetes.timeout")
    if reason == "Evicted" and any(words in said for words in _OWN_DISK):
        return Standing(How.FAILED, f"it was evicted, as its disk was full: {said} Raise on.kubernetes.disk.")
    if lost := _lost(status, reason, said):
        return Standing(How.LOST, lost)
    if (brought := _terminated(status, BRING)) is not None and brought.get("exitCode") != 0:
        return _carrier_failed(brought, _left(status, BRING))
    if base is None:
        return Standing(How.FAILED, f"the pod failed: {reason or 'no reason is given'}. {said}".strip())
    if base.get("exitCode") == 0:
        what = "its outputs did not reach the bucket in time: raise on.kubernetes.upload_time"
        return Standing(How.FAILED, f"{what}. {_of_take(status)}".strip())
    return _task_failed(pod, base, took)


def stuck(pod: Mapping[str, Any], waited_s: float, limit_s: float) -> str:
    """Why a pod that has not begun is given up; empty while it is not.

    waited_s: since it was made. limit_s: how long it may wait for its node and its images.
    """
    status = pod.get("status") or {}
    if status.get("phase") not in (None, "Pending"):
        return ""
    waiting = dict(_waiting(status))
    for name, (reason, said) in waiting.items():
        patience = 0.0 if reason in _NEVER else PULL_S if reason in _PULLING else CONFIG_S
        if reason in (*_NEVER, *_PULLING, *_MAKING) and waited_s >= min(patience, limit_s):
            return f"container `{name}` cannot start: {reason}. {said} {_advice(reason, said)}".strip()
    if _state(status, BRING, "running") is not None:
        return ""
    if waited_s < limit_s:
        return ""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            said = str(condition.get("message") or "").strip()
            return f"no node took the pod within {limit_s:.0f} s: {condition.get('reason')}. {said}".strip()
    return f"the pod did not start within {limit_s:.0f} s. {_listed(waiting)}".strip()


def _lost(status: Mapping[str, Any], reason: str, said: str) -> str:
    if reason == "Evicted" or reason in _LOST:
        return f"{reason}: {said}".rstrip(": ")
    for condition in status.get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return f"{condition.get('reason')}: {condition.get('message') or 'its node is taken away'}"
    return ""


def _task_failed(pod: Mapping[str, Any], base: Mapping[str, Any], took: Mapping[str, Any] | None) -> Standing:
    if base.get("reason") == "OOMKilled":
        limit = _limit(pod)
        may = f"it may have {limit}" if limit else "its node had no more"
        return Standing(How.FAILED, f"it ran out of memory ({may}): raise on.kubernetes.limits.memory")
    error = ((took or {}).get("result") or {}).get("error")
    if error:
        return _told(error, "")
    how = f"signal {base['signal']}" if base.get("signal") else f"exit code {base.get('exitCode')}"
    reason = base.get("reason") or ""
    more = "" if reason in ("", "Error") else f" ({reason})"
    return Standing(How.FAILED, f"it ended with {how}{more}\n{_tail(base)}".rstrip())


def _carrier_failed(brought: Mapping[str, Any], left: Mapping[str, Any] | None) -> Standing:
    if left is not None and left.get("error"):
        return _told(left["error"], "its inputs could not be brought")
    if brought.get("reason") == "OOMKilled":
        return Standing(How.FAILED, "the carrier of its inputs ran out of memory")
    what = f"its inputs could not be brought: exit code {brought.get('exitCode')}"
    return Standing(How.FAILED, f"{what}\n{_tail(brought)}".rstrip())


def _told(error: Mapping[str, Any], what: str) -> Standing:
    """A failure that our own programs put into words."""
    said = f"{error.get('message', '')} {error.get('hint', '')}".strip()
    return Standing(How.FAILED, ": ".join(filter(None, (what, said))), bool(error.get("retry", True)))


def _statuses(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def _terminated(status: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    return _state(status, name, "terminated")


def _state(status: Mapping[str, Any], name: str, which: str) -> Mapping[str, Any] | None:
    for each in _statuses(status):
        if each.get("name") == name:
            found: Mapping[str, Any] | None = (each.get("state") or {}).get(which)
            return found
    return None


def _left(status: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """A carrier's termination message, if it is one."""
    try:
        body = json.loads((_terminated(status, name) or {}).get("message") or "")
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _waiting(status: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
    for each in _statuses(status):
        if waiting := (each.get("state") or {}).get("waiting"):
            yield each["name"], (str(waiting.get("reason") or ""), str(waiting.get("message") or "").strip())


def _advice(reason: str, said: str) -> str:
    if "run as root" in said or "non-numeric user" in said:
        return "Set on.kubernetes.run_as_user, e.g. 1000, or run_as_root: true."
    if reason in (*_NEVER, *_PULLING):
        return "Check the image's name and digest, and on.kubernetes.image_pull_secrets."
    return ""


def _of_take(status: Mapping[str, Any]) -> str:
    took = _terminated(status, TAKE)
    return f"The carrier ended with exit code {took.get('exitCode')}." if took else ""


def _listed(waiting: Mapping[str, tuple[str, str]]) -> str:
    return " ".join(f"`{name}` waits: {reason}. {said}".strip() for name, (reason, said) in waiting.items())


def _limit(pod: Mapping[str, Any]) -> str:
    for each in (pod.get("spec") or {}).get("containers") or ():
        if each.get("name") == BASE:
            return str(((each.get("resources") or {}).get("limits") or {}).get("memory") or "")
    return ""


def _tail(terminated: Mapping[str, Any]) -> str:
    """The end of the log, which Kubernetes keeps as the message of a container that failed."""
    return str(terminated.get("message") or "").strip()
