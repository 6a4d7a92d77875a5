"""Statuses of pods as Kubernetes gives them, and a pipeline of one task, for the tests of reasons and of
runs."""

import json
from typing import Any

RESULT = {
    "values": {}, "files": {"rows": "7"}, "error": None,
    "artifacts": {"model": [{"name": "model", "uri": "s3://lines/model", "metadata": {"r": 8}}]},
}  # fmt: skip
RUNNING: dict[str, Any] = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


def ended(code: int, message: str = "", **more: Any) -> dict[str, Any]:
    """The state of a container that has ended."""
    return {"terminated": {"exitCode": code, "message": message, **more}}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    """The state of one that has not begun."""
    return {"waiting": {"reason": reason, "message": message}}


def told(**message: Any) -> dict[str, Any]:
    """The state of a carrier that left a message."""
    return ended(0 if message.get("ok") else 1, json.dumps(message))


def status(phase: str, base: Any = None, take: Any = None, bring: Any = None, **more: Any) -> dict[str, Any]:
    """A pod's, with those containers that have a state."""
    around = [_container(name, state) for name, state in (("bring", bring), ("take", take)) if state]
    return {
        "phase": phase,
        "initContainerStatuses": around,
        "containerStatuses": [_container("base", base)] if base else None,
        **more,
    }


def _container(name: str, state: Any) -> dict[str, Any]:
    return {"name": name, "state": state, "ready": False, "restartCount": 0, "image": "i", "imageID": "i"}


PENDING = status("Pending")
AT_WORK = status("Running", RUNNING, RUNNING, ended(0))
SAVING = status("Running", ended(0), RUNNING, ended(0))
DONE = status("Succeeded", ended(0), told(ok=True, result=RESULT), ended(0))
SHUT_DOWN = status(
    "Failed", ended(143), told(ok=True, result={**RESULT, "files": {}}), ended(0), reason="Terminated",
    message="Pod was terminated in response to imminent node shutdown.",
)  # fmt: skip


def failed(base: Any, take: Any = None, **more: Any) -> dict[str, Any]:
    """A pod whose task has failed."""
    return status("Failed", base, take or told(ok=True, result={**RESULT, "files": {}}), ended(0), **more)


def pipeline(retries: int = 0) -> dict[str, Any]:
    """One task `work` that puts out the number `rows` and the artifact `model`."""
    task: dict[str, Any] = {
        "taskInfo": {"name": "work"}, "componentRef": {"name": "comp-work"}, "cachingOptions": {},
    }  # fmt: skip
    if retries:
        task["retryPolicy"] = {"maxRetryCount": retries, "backoffDuration": "0s"}
    made = {
        "parameters": {"rows": {"parameterType": "NUMBER_INTEGER"}},
        "artifacts": {"model": {"artifactType": {"schemaTitle": "system.Model", "schemaVersion": "0.0.1"}}},
    }
    container = {
        "image": "python:3.12", "command": ["work"], "args": ["{{$.outputs.parameters['rows'].output_file}}"],
    }  # fmt: skip
    return {
        "pipelineInfo": {"name": "p"},
        "schemaVersion": "2.1.0",
        "components": {"comp-work": {"executorLabel": "exec-work", "outputDefinitions": made}},
        "deploymentSpec": {"executors": {"exec-work": {"container": container}}},
        "root": {"dag": {"tasks": {"work": task}}},
    }
