"""The run that an imported bundle is on record as: what `propose` read, and what came of it. Pure.

It has a task for each thing that was read, named as at home, so that lineage, pages and the report look the
same. Limits: the tasks before those are not in the bundle, so nobody knows them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuneline.plan.events import (
    ArtifactRef,
    AttemptStarted,
    Event,
    Outputs,
    Read,
    RunEnded,
    RunStarted,
    TaskSucceeded,
)

MAKERS: Mapping[str, str] = {
    "base": "base", "package": "package", "verdict": "gate", "proof": "verify", "report": "evaluate",
}  # fmt: skip
"""What `propose` reads -> the task that made it."""
_CONTAINER = {"image": "tuneline", "command": ["tuneline", "step", "propose"]}


@dataclass(frozen=True)
class Imported:
    """One thing that was read, where it is now."""

    name: str
    ref: ArtifactRef


def imported_ir(model: str, things: tuple[Imported, ...]) -> dict[str, Any]:
    """The pipeline: an importer a thing, and `propose`, which needs them all."""
    kind = {thing.name: {"schemaTitle": thing.ref.type, "schemaVersion": "0.0.1"} for thing in things}
    makers = {thing.name: MAKERS[thing.name] for thing in things}
    components: dict[str, Any] = {
        f"comp-{makers[name]}": {
            "executorLabel": f"exec-{makers[name]}",
            "outputDefinitions": {"artifacts": {"artifact": {"artifactType": kind[name]}}},
        }
        for name in makers
    }
    executors: dict[str, Any] = {
        f"exec-{makers[thing.name]}": {
            "importer": {"artifactUri": {"constant": thing.ref.uri}, "typeSchema": kind[thing.name]}
        }
        for thing in things
    }
    tasks: dict[str, Any] = {
        maker: {"taskInfo": {"name": maker}, "componentRef": {"name": f"comp-{maker}"}}
        for maker in makers.values()
    }
    components["comp-propose"] = {
        "executorLabel": "exec-propose",
        "inputDefinitions": {"artifacts": {name: {"artifactType": kind[name]} for name in makers}},
    }
    executors["exec-propose"] = {"container": dict(_CONTAINER)}
    tasks["propose"] = {
        "taskInfo": {"name": "propose"},
        "componentRef": {"name": "comp-propose"},
        "dependentTasks": sorted(makers.values()),
        "inputs": {
            "artifacts": {
                name: {"taskOutputArtifact": {"producerTask": maker, "outputArtifactKey": "artifact"}}
                for name, maker in makers.items()
            }
        },
    }
    return {
        "pipelineInfo": {"name": model},
        "components": components,
        "deploymentSpec": {"executors": executors},
        "root": {"dag": {"tasks": tasks}},
        "schemaVersion": "2.1.0",
    }


def imported_events(run: str, things: tuple[Imported, ...], said: Mapping[str, str]) -> list[Event]:
    """What happened, as far as the bundle tells. said: what `propose` comes to: release, state, reason."""
    events: list[Event] = [RunStarted()]
    for thing in things:
        maker = MAKERS[thing.name]
        note = ("it ran elsewhere; this is what `propose` read of it",)
        events.append(AttemptStarted(maker, 1, 0, 0.0, "", notes=note))
        events.append(TaskSucceeded(maker, 1, Outputs({}, {thing.name: (thing.ref,)})))
    read = Read({}, {thing.name: (f"{run}/{MAKERS[thing.name]}/1/{thing.name}",) for thing in things})
    events.append(AttemptStarted("propose", 1, 0, 0.0, "", read=read, notes=("imported",)))
    events.append(TaskSucceeded("propose", 1, Outputs(dict(said))))
    events.append(RunEnded("SUCCEEDED"))
    return events
