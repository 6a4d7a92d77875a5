"""What a new run may take over from one it retries with a changed pipeline. Pure.

A task is taken over if it succeeded, its component and executor are the same to the byte, and it is given the
same again: the same parameters and the very same artifacts. So a changed component runs again, and so does
whatever reads what it makes; everything else does not.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tuneline.plan.events import Event, Outputs, Read, TaskCached, TaskSucceeded
from tuneline.plan.nodes import Context
from tuneline.plan.schedule import RunState
from tuneline.types import Digest, digest_bytes
from tuneline_ir import GOOD, documents


@dataclass(frozen=True)
class Earlier:
    """How a task of the earlier run succeeded."""

    definition: Digest
    read: Read
    outputs: Outputs
    cache_key: str


def definitions(ir: Mapping[str, Any]) -> dict[str, Digest]:
    """The digest of what each component of a pipeline is, its executor and platform settings included."""
    spec, platform = documents(ir)
    executors = _under(spec, "deploymentSpec", "executors")
    configured = _under(platform, "platforms", "kubernetes", "deploymentSpec", "executors")
    found = {}
    for name, component in _under(spec, "components").items():
        label = component.get("executorLabel", "")
        body = {key: value for key, value in component.items() if key != "executorLabel"}
        whole = [body, executors.get(label), configured.get(label)]
        found[name] = digest_bytes(repr(_sorted(whole)).encode())
    return found


def earlier(context: Context, ir: Mapping[str, Any], events: Iterable[Event]) -> dict[str, Earlier]:
    """By path: the leaves of a run that succeeded. events: all of it, in order."""
    defined, state = definitions(ir), RunState.new(context)
    found: dict[str, Earlier] = {}
    for event in events:
        node = state.tasks.get(getattr(event, "task", ""))
        read = node.started.read if node is not None and node.started else Read()
        state.apply(event)
        if node is None or not node.leaf or not isinstance(event, TaskSucceeded | TaskCached):
            continue
        given = event.read if isinstance(event, TaskCached) else read
        found[node.path] = Earlier(defined[node.component.name], given, event.outputs, event.cache_key or "")
    done = {path for path, node in state.tasks.items() if node.status in GOOD}
    return {path: one for path, one in found.items() if path in done}


def _under(body: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """The mapping under keys; an empty one where something is missing or null."""
    for key in keys:
        body = body.get(key) or {}
    return body


def _sorted(value: Any) -> Any:
    """JSON in one order; numbers that are equal become the same, as protobuf makes 1 of 1.0 and back."""
    if isinstance(value, Mapping):
        return [[key, _sorted(inner)] for key, inner in sorted(value.items())]
    if isinstance(value, list | tuple):
        return [_sorted(inner) for inner in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value
