"""What was seen of an endpoint on a cluster at one look, and what that says. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tuneline.control.cluster_api import Object
from tuneline.plan.standing import Engine


@dataclass
class Sight:
    """What was seen at one look."""

    deployments: Mapping[str, Object] = field(default_factory=dict)
    pods: Sequence[Object] = ()
    route: Object | None = None
    loaded: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Adapters by engine: those that every pod of it that runs has."""
    somewhere: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Those that any pod of it has; an engine of which no pod could be asked is not there."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """By release: what vLLM said of an adapter that did not load."""
    acknowledged: int | None = None
    """The generation that every ready router pod applies; None: not all the same, or unknown."""
    in_flight: Mapping[str, int] = field(default_factory=dict)

    def of(self, name: str) -> list[Object]:
        """The pods of a Deployment."""
        label = "app.kubernetes.io/instance"
        return [pod for pod in self.pods if pod["metadata"].get("labels", {}).get(label) == name]


def stands(sight: Sight, engine: Engine) -> bool:
    """Whether an engine is there already."""
    return engine.name in sight.deployments


def applied_route(route: Object | None) -> bool:
    """Whether every gateway says that it serves the route as it is now."""
    if route is None:
        return False
    generation, parents = (
        route["metadata"].get("generation", 1),
        (route.get("status") or {}).get("parents") or [],
    )
    wanted = ("Accepted", "ResolvedRefs")
    return bool(parents) and all(
        any(
            each["type"] == name
            and each["status"] == "True"
            and each.get("observedGeneration", 0) >= generation
            for each in parent.get("conditions") or []
        )
        for parent in parents
        for name in wanted
    )


def runs(pod: Object) -> bool:
    """Whether its container runs and has passed its startup probe: one that waits for an adapter counts."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    running = ["running" in (each.get("state") or {}) and bool(each.get("started")) for each in statuses]
    return bool(running) and all(running)
