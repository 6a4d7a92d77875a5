"""What a graph puts out once all in it has ended. Pure.

An output is that of one task, or of the one among several that ran (`OneOf`). A loop's output is the list of
its iterations' outputs in the order of the items; an iteration without it, because the task behind it was
skipped, is left out. Loops in loops give lists of lists; artifacts become one list.
"""

from typing import Any

from tuneline_ir.instances import GOOD, Instance, Instances, Kind, path_of
from tuneline_ir.model import DagOutput

Whole = tuple[dict[str, Any], dict[str, tuple[Any, ...]]]
"""Parameters and artifacts."""

_ABSENT: Any = object()


def outputs_of(nodes: Instances, node: Instance) -> Whole:
    """The outputs of a graph whose tasks have all ended well or were skipped.

    Raises: ValueError if not exactly one of several possible tasks has an output.
    """
    return _of_loop(nodes, node) if node.kind is Kind.LOOP else _of_dag(nodes, node)


def _of_loop(nodes: Instances, loop: Instance) -> Whole:
    ended = [nodes[path].outputs for path in loop.children if nodes[path].status in GOOD]
    declared = loop.component.outputs
    return (
        {
            key: [outputs.parameters[key] for outputs in ended if key in outputs.parameters]
            for key in declared.parameters
        },
        {
            key: tuple(ref for outputs in ended for ref in outputs.artifacts.get(key, ()))
            for key in declared.artifacts
        },
    )


def _of_dag(nodes: Instances, node: Instance) -> Whole:
    dag = node.component.dag
    assert dag is not None
    parameters, artifacts = {}, {}
    for name, output in dag.outputs.items():
        value = _chosen(nodes, node, name, output, "parameters")
        if value is not _ABSENT:
            parameters[name] = value
    for name, output in dag.artifact_outputs.items():
        refs = _chosen(nodes, node, name, output, "artifacts")
        if refs is not _ABSENT:
            artifacts[name] = refs
    return (parameters, artifacts)


def _chosen(nodes: Instances, node: Instance, name: str, output: DagOutput, kind: str) -> Any:
    found = {
        source.task: getattr(outputs, kind)[source.key]
        for source in output.sources
        if source.key in getattr(outputs := nodes[path_of(node.path, source.task)].outputs, kind)
    }
    if output.one_of and len(found) != 1:
        choices = ", ".join(source.task for source in output.sources)
        ran = ", ".join(found) or "none of them"
        raise ValueError(f"output `{name}` is that of the one task that ran among {choices}, but {ran} did")
    return next(iter(found.values()), _ABSENT)
