"""One attempt of one task: from what Airflow knows to a `Launch`, and from what the task wrote to its record.

Pure but for what `Seen` asks of Airflow. Artifacts go below `<root>/<dag>/<run>/<task>/<attempt>/outputs`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tuneline_airflow.described import Described
from tuneline_airflow.launch import Carried, Finished, Launch
from tuneline_airflow.left import PACKED
from tuneline_airflow.seen import Seen, Sight
from tuneline_ir import (
    Container,
    Importer,
    expand,
    names_of,
    platform,
    resolve,
    resolve_value,
)
from tuneline_ir.likeness import safe
from tuneline_ir.passthrough import inputs_of, own_settings, task_config
from tuneline_ir.wire import IMPORTING, executor_input, importing, put_out, with_own


@dataclass(frozen=True)
class Instance:
    """Which attempt of which task instance, as Airflow names it."""

    dag_id: str
    run_id: str
    map_index: int
    attempt: int


def run_folder(root: str, dag_id: str, run_id: str) -> str:
    """Where all of a run's artifacts go."""
    return "/".join([root.rstrip("/"), safe(dag_id), safe(run_id)])


def launch_of(
    described: Described, seen: Seen, sight: Sight, instance: Instance, folder: Callable[[str], str]
) -> Launch:
    """What an attempt is.

    folder: from the folder of the attempt below the root to where the task sees it.
    Raises: ValueError, naming it, if an input has no value or does not fit.
    """
    component, task = sight.component, sight.task
    executor = described.pipeline.executors[component.executor]
    container = executor if isinstance(executor, Container) else IMPORTING
    names = names_of(seen.run, sight.path, task)
    given = sight.given
    parameters = dict(given.parameters)
    if isinstance(executor, Importer):
        parameters = importing(executor, parameters, names)
    asked = platform(seen.run, seen, sight, container.platform) if container.platform else {}
    parameters |= dict.fromkeys(inputs_of(component), task_config(component, container, asked))
    env, asked = own_settings(component, container.env, asked)

    base = run_folder(described.root, instance.dag_id, instance.run_id)
    kept = f"{base}/{sight.path}/{instance.attempt}"
    here = folder(kept)
    inputs, told = _inputs(given.artifacts, here)
    outputs = tuple(
        Carried(name, f"{kept}/outputs/{name}", f"{here}/outputs/{name}")
        for name in component.outputs.artifacts
    )
    said = executor_input(component, parameters, told, lambda name: f"{here}/outputs/{name}", here)
    said = with_own(task, said, names)
    return Launch(
        dag_id=instance.dag_id,
        run_id=instance.run_id,
        task=sight.path,
        map_index=instance.map_index,
        attempt=instance.attempt,
        image=resolve(container.image, said, names),
        command=tuple(expand(container.command, said, names)),
        args=tuple(expand(container.args, said, names)),
        env={name: resolve(value, said, names) for name, value in env.items()},
        inputs=inputs,
        outputs=outputs,
        parameters={name: f"{here}/parameters/{name}" for name in component.outputs.parameters},
        output_file=said["outputs"]["outputFile"],
        resources=resolve_value(container.resources, said, names),
        platform=asked,
        on=described.on.get(task.name, {}),
        workspace=f"{base}/workspace" if described.pipeline.workspace is not None else "",
        executor_input=said,
    )


def finished(sight: Sight, launch: Launch, body: bytes | str | None, files: Mapping[str, str]) -> Finished:
    """What a task put out, its artifacts by where they are kept.

    body: of its output file, None if there is none. files: texts of output parameters it wrote to files.
    Raises: ValueError if an output is missing or does not fit.
    """
    kept = {carried.name: carried for carried in launch.outputs}
    parameters, artifacts = put_out(sight.component, body, files, lambda name: kept[name].path)
    for name, listed in artifacts.items():
        for artifact in listed:
            artifact["uri"] = _kept(artifact["uri"], kept[name])
    return Finished(parameters, artifacts)


def record(finished: Finished, map_index: int) -> dict[str, Any]:
    """What is left for the tasks behind it, as XCom `return_value`. `left.unpacked` reads it."""
    artifacts = {name: list(listed) for name, listed in finished.artifacts.items()}
    body: dict[str, Any] = {"parameters": dict(finished.parameters), "artifacts": artifacts}
    try:
        json.dumps(body, allow_nan=False)
    except ValueError:  # a metric without end, which Airflow's JSON has no word for
        body = {PACKED: json.dumps(body)}
    return {"index": map_index, **body}


def _kept(uri: str, carried: Carried) -> str:
    """Where an artifact is kept that the task says is at `uri`: as it says, unless that is its own folder."""
    if uri == carried.path or uri.startswith(f"{carried.path}/"):
        return carried.uri + uri.removeprefix(carried.path)
    return uri


def _inputs(
    artifacts: Mapping[str, tuple[Any, ...]], folder: str
) -> tuple[tuple[Carried, ...], dict[str, list[dict[str, Any]]]]:
    """What is brought to the task, and what it is told of it: an artifact of a bucket has a path there."""
    carried: list[Carried] = []
    told: dict[str, list[dict[str, Any]]] = {}
    for name, listed in artifacts.items():
        told[name] = []
        for number, artifact in enumerate(listed):
            uri = str(artifact["uri"])
            path = uri
            if "://" in uri:
                path = f"{folder}/inputs/{name}/{number}/{uri.rstrip('/').rpartition('/')[2]}"
            carried.append(Carried(name, uri, path))
            told[name].append({**artifact, "uri": path} if path != uri else dict(artifact))
    return tuple(carried), told
