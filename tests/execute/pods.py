"""Pipelines of single containers with a platform document, and an engine that is a script."""

from pathlib import Path
from typing import Any

from tests.execute.doubles import EventLog, submitted

from tuneline.execute.runner import Runner
from tuneline.plan.events import AttemptStarted, RunEnded
from tuneline.types import RunId

OUT = "{{$.outputs.parameters['Output'].output_file}}"

PODMAN = r"""#!/bin/sh
# Runs the command of `run` as a process of this machine, and writes down everything it is asked.
printf '%s\n' "$*" >> {log}
case "$1" in
    info) exit {answer} ;;
    rm) exit 0 ;;
esac
shift
while [ $# -gt 0 ]; do
    case "$1" in
        --rm|--init) shift ;;
        --entrypoint) entry="$2"; shift 2 ;;
        --*) shift 2 ;;
        *) break ;;
    esac
done
shift
exec ${{entry:-sh}} "$@"
"""


def engine(folder: Path, name: str = "podman", *, answers: bool = True) -> Path:
    """A container engine in `folder`; what it is asked is in the file returned."""
    folder.mkdir(exist_ok=True)
    log = folder / "asked.txt"
    program = folder / name
    program.write_text(PODMAN.format(log=log, answer=0 if answers else 1))
    program.chmod(0o755)
    return log


def pipeline(
    containers: dict[str, dict[str, Any]],
    platform: dict[str, dict[str, Any]] | None = None,
    *,
    config: dict[str, Any] | None = None,
    parameters: dict[str, Any] | None = None,
    retries: int = 0,
) -> dict[str, Any]:
    """IR and platform document of independent tasks, each with one output parameter `Output`."""
    tasks, components, executors = {}, {}, {}
    for name, container in containers.items():
        outputs = {"parameters": {"Output": {"parameterType": "STRING"}}}
        components[f"comp-{name}"] = {"executorLabel": f"exec-{name}", "outputDefinitions": outputs}
        executors[f"exec-{name}"] = {"container": container}
        tasks[name] = {
            "componentRef": {"name": f"comp-{name}"},
            "retryPolicy": {"maxRetryCount": retries},
        }
    spec = {
        "pipelineInfo": {"name": "pods"},
        "components": components,
        "deploymentSpec": {"executors": executors},
        "root": {"dag": {"tasks": tasks}, "inputDefinitions": {"parameters": parameters or {}}},
        "schemaVersion": "2.1.0",
    }
    asked = {f"exec-{name}": body for name, body in (platform or {}).items()}
    kubernetes = {"deploymentSpec": {"executors": asked}, "pipelineConfig": config or {}}
    return {"pipeline_spec": spec, "platform_spec": {"platforms": {"kubernetes": kubernetes}}}


def shell(script: str, image: str = "alpine:3.20", **more: Any) -> dict[str, Any]:
    """A container that runs a shell script, whose `$0` is the file of its output parameter."""
    return {"image": image, "command": ["sh", "-c", script], "args": [OUT], **more}


def run(runner: Runner, log: EventLog, ir: dict[str, Any], values: Any = None, id: str = "r1") -> RunEnded:
    """Run it to its end."""
    runner.start(submitted(id, ir, values), log.lease(id))
    assert runner.wait(50, RunId(id)), log.of(id)
    ended = log.of(id)[-1]
    assert isinstance(ended, RunEnded)
    return ended


def outputs(log: EventLog, id: str = "r1") -> dict[str, Any]:
    """The output parameter of every task that succeeded."""
    found = (event for event in log.of(id) if event.kind == "task_succeeded")
    return {event.task: event.outputs.parameters.get("Output") for event in found}  # type: ignore[attr-defined]


def started(log: EventLog, task: str, id: str = "r1") -> AttemptStarted:
    """The start of a task's last attempt."""
    return [e for e in log.of(id) if isinstance(e, AttemptStarted) and e.task == task][-1]
