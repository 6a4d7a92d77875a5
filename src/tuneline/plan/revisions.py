"""The values of `lifecycle.py`: what the controller keeps of a revision, sees, and can be told to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tuneline.plan.endpoints import Live


class State(StrEnum):
    """How far a revision's runtime is."""

    CHECKING = "checking"
    STARTING = "starting"
    WARMING = "warming"
    READY = "ready"
    DOWN = "down"
    STOPPING = "stopping"


class Role(StrEnum):
    """What requests a revision gets."""

    CANDIDATE = "candidate"
    LIVE = "live"
    KEPT = "kept"


@dataclass(frozen=True)
class Revision:
    """One release served by one runtime: what the controller keeps of it."""

    id: str
    release: str
    generation: int
    """Of the desired state that made it."""
    role: Role = Role.CANDIDATE
    state: State = State.CHECKING
    since: float = 0.0
    """When it came into this state or role, Unix seconds."""
    port: int = 0
    pid: int | None = None
    pid_started: float = 0.0
    failures: int = 0
    """In a row."""
    crashes: int = 0
    """In all, since it is a candidate."""
    retry_at: float = 0.0
    error: str = ""
    """Why it is down."""
    final: bool = False
    """Trying again would change nothing."""
    ready_s: float = 0.0
    """How long its runtime last took from start to ready, seconds; 0: it never was."""


@dataclass(frozen=True)
class Job:
    """A check or a warm-up that was begun."""

    done: bool
    error: str = ""
    final: bool = False
    """Trying again would change nothing."""


@dataclass(frozen=True)
class Policy:
    """Times, in seconds."""

    start_timeout_s: float = 120.0
    drain_s: float = 30.0


@dataclass(frozen=True)
class Split:
    """What a revision on trial gets beside the one that is live."""

    candidate: str | None = None
    """Its id. None: nothing is on trial, the live one gets all."""
    weight: float = 0.0
    """Percent of the requests."""
    shadow: bool = False
    """Whether it gets copies of the others' requests."""


WHOLE = Split()


@dataclass(frozen=True)
class Seen:
    """What is the case."""

    live: Live | None
    """By the record."""
    holding: bool
    """Whether the socket's holder runs."""
    revisions: tuple[Revision, ...] = ()
    alive: frozenset[str] = frozenset()
    """Revisions whose runtime's process runs."""
    healthy: frozenset[str] = frozenset()
    """Of those starting, or kept and wanted: whose runtime says it is ready."""
    jobs: Mapping[str, Job] = field(default_factory=dict)
    """By revision."""
    routed: str | None = None
    """The live revision, as the last traffic written has it."""
    split: Split = WHOLE
    """What the last traffic written gives to a revision on trial."""
    acknowledged: bool = False
    """Whether the router applies that traffic."""
    in_flight: Mapping[str, int] = field(default_factory=dict)
    """Requests by revision, as the router last said."""


@dataclass(frozen=True)
class Hold:
    """Start the holder of the socket, and with it the router."""


@dataclass(frozen=True)
class Unhold:
    """Stop holder and router."""


@dataclass(frozen=True)
class Begin:
    """Make a revision of the release, and check that it may be served."""

    release: str


@dataclass(frozen=True)
class Check:
    """Check again, before the revision is started again."""

    id: str


@dataclass(frozen=True)
class Launch:
    """Start the revision's runtime."""

    id: str


@dataclass(frozen=True)
class WarmUp:
    """Send the revision one request."""

    id: str


@dataclass(frozen=True)
class Ready:
    """The revision can take requests."""

    id: str


@dataclass(frozen=True)
class Route:
    """Give the revision all requests but those of `split`; None: nobody gets any."""

    id: str | None
    split: Split = WHOLE


@dataclass(frozen=True)
class RecordLive:
    """Write down that the revision's release is live."""

    id: str


@dataclass(frozen=True)
class Retire:
    """Write down that nothing is live."""


@dataclass(frozen=True)
class Fail:
    """The revision is down. Its runtime, if there is one, must end."""

    id: str
    reason: str
    retry_in_s: float
    final: bool = False


@dataclass(frozen=True)
class Stop:
    """Ask the revision's runtime to end."""

    id: str


@dataclass(frozen=True)
class Kill:
    """It did not end when asked."""

    id: str


@dataclass(frozen=True)
class Drop:
    """The revision is no more."""

    id: str


Action = (
    Hold
    | Unhold
    | Begin
    | Check
    | Launch
    | WarmUp
    | Ready
    | Route
    | RecordLive
    | Retire
    | Fail
    | Stop
    | Kill
    | Drop
)
