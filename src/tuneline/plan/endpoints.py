"""What the controller of endpoints needs of the record: values, and the Protocol `EndpointStore`.

The controller (`control/`) turns what is wanted into processes and traffic; the record implements this. All
methods may be called from any thread; none starts a process or waits for one.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tuneline.plan.apps import is_app


@dataclass(frozen=True)
class Trial:
    """A release that is tried beside the one wanted: what a rollout wants of the traffic now."""

    rollout: str
    """The rollout's id."""
    release: str
    """`model@version`."""
    weight: float = 0.0
    """Percent of the requests, 0 <= weight < 100; the rest goes to the release wanted."""
    shadow: bool = False
    """Whether it gets copies of the others' requests."""
    runtime: str = ""
    """What serves it; empty: what serves the other one."""
    deploy: Mapping[str, Any] = field(default_factory=dict)
    """Its own `deploy`, as JSON."""


@dataclass(frozen=True)
class Desired:
    """What is wanted at one endpoint."""

    endpoint: str
    generation: int
    """Grows with every change of what is wanted."""
    release: str | None
    """`model@version`; None: nothing shall be served there, everything stops."""
    live_digest: str
    """Package digest of the release it was compared with; empty if nothing was live then."""
    compared: bool = True
    """Whether it goes live only in the place of `live_digest`; an app is compared with nothing."""
    runtime: str = "llamacpp"
    port: int = 0
    """Where the endpoint shall listen; 0: the first free one from 8100, chosen once."""
    keep_s: float = 1800.0
    """How long the previous revision stays warm, seconds."""
    max_concurrent: int = 0
    """Requests one revision is asked at once; 0: as many as come."""
    max_queue: int = 0
    """Requests that may wait for a place at one revision."""
    queue_timeout_s: float = 10.0
    """How long one waits."""
    keep_bodies: float = 0.0
    """The fraction of requests whose bodies are kept in request lines."""
    workers: int = 1
    """Router processes."""
    why: str = ""
    by: str = ""
    trial: Trial | None = None
    """The rollout that is under way."""
    sticky: tuple[str, ...] = ()
    """Headers that keep a user with one revision, in order; empty: the router's own."""
    monitor: Mapping[str, Any] = field(default_factory=dict)
    """The project's `monitor`, as JSON; empty where it said nothing, or none is known."""
    deploy: Mapping[str, Any] = field(default_factory=dict)
    """The project's `deploy`, as JSON: what a cluster takes of it stands in no field of its own."""

    @property
    def on_cluster(self) -> bool:
        """Whether it is served on a cluster instead of on this machine."""
        return self.deploy.get("on") == "kubernetes"


@dataclass(frozen=True)
class Live:
    """The release that the record says is live."""

    release: str
    digest: str
    """Of its package."""


@dataclass(frozen=True)
class ReleaseFacts:
    """What serving a release takes. Paths are on this machine."""

    release: str
    """`model@version`."""
    model: str
    package: Path
    package_digest: str
    base: Path
    proof: Mapping[str, Any]
    manifest: Mapping[str, Any]

    @property
    def is_app(self) -> bool:
        """Whether it is an app's version; its package is then the folder of its source."""
        return is_app(self.manifest)


class EndpointStore(Protocol):
    """The record, as the controller sees it."""

    def desired(self) -> Sequence[Desired]:
        """Every endpoint, by name, those included where nothing is wanted."""
        ...

    def release(self, release: str) -> ReleaseFacts:
        """Raises: NotFoundError."""
        ...

    def live(self, endpoint: str) -> Live | None:
        """The release whose interval is open there; None if none is."""
        ...

    def observed(self, endpoint: str) -> Mapping[str, Any]:
        """What `observe` last kept, also by an earlier server; empty if nothing was."""
        ...

    def observe(self, endpoint: str, observed: Mapping[str, Any], at: float) -> None:
        """Keep what was seen, replacing what was seen before, and wake whoever listens to endpoints.

        observed: JSON, `{"url", "port", "phase", "message", "revisions": [{"id", "release", "state", "pid",
        "port", "weight", ...}], "generation", "desired_generation", ...}`; phase is pending, starting, live,
        failed or stopped. Keys beyond those are the controller's own and must be kept as they are.
        """
        ...

    def went_live(self, endpoint: str, release: str, live_digest: str, why: str, by: str, at: float) -> None:
        """`release` took over at `at`: the open interval ends, its own begins, the ledger gets both.

        Compare and set: `live_digest` is the package digest of what the caller replaced, empty for nothing.
        Saying it twice is fine. Raises: ConflictError, and changes nothing, if another release is live.
        """
        ...

    def retire(self, endpoint: str, why: str, by: str, at: float) -> None:
        """Nothing is live there any more. Saying it twice is fine."""
        ...

    def listening(self, wake: Callable[[], None]) -> AbstractContextManager[None]:
        """Call `wake` (quick, from any thread) whenever something about endpoints changed, until the block
        ends."""
        ...
