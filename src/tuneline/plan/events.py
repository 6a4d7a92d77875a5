"""The facts a run is made of, and what the layers above and below must offer so that it can be executed.

A run's state is its events, replayed by `plan.schedule.fold`. An event is a fact or a decision already
taken; replay never decides again. Each has a version; `from_json` reads every version ever written (fixtures
in the tests).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, Protocol

from tuneline.errors import InternalError
from tuneline.types import Digest, RunId


@dataclass(frozen=True)
class ArtifactRef:
    """One artifact as a task put it out."""

    name: str
    """The output's key, e.g. `adapter`."""
    type: str
    """`system.Dataset`, `system.Model`, `system.Metrics`, `system.Artifact`, ..."""
    uri: str
    """For a local file its plain absolute path: KFP's SDK uses it as such."""
    digest: Digest
    """Of the file's bytes, or of a folder's sorted (path, digest) list."""
    size_bytes: int
    metadata: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    """The artifact's own in the record, `<run>/<task>/<attempt>/<key>`; empty in events of version 1."""
    custom_path: str = ""
    """Where the task says it is, if that is not `uri`."""
    version: str = "0.0.1"
    """Of its type's schema."""


Artifacts = Mapping[str, tuple[ArtifactRef, ...]]
"""By key. One artifact is a list of one, as Kubeflow has it."""


@dataclass(frozen=True)
class Outputs:
    """What a task put out."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Artifacts = field(default_factory=dict)


@dataclass(frozen=True)
class Read:
    """What a task was given, for readers: replay finds inputs anew, so secrets are masked here."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Ids of artifacts by key."""


@dataclass(frozen=True)
class Child:
    """A task in a graph, as the graph is opened."""

    path: str
    kind: str
    """`task`, `importer`, `dag`, `loop` or `iteration`."""
    title: str
    """Its display name."""


@dataclass(frozen=True)
class Event:
    """Base of all events. `kind` and `version` are written beside the fields."""

    kind: ClassVar[str]
    version: ClassVar[int] = 1


@dataclass(frozen=True)
class RunStarted(Event):
    """The scheduler took the run up; its pipeline and parameters stand in the run's own row."""

    kind = "run_started"


@dataclass(frozen=True)
class RunHandedOver(Event):
    """Another engine executes the run; what follows is folded from what that engine reports."""

    kind = "run_handed_over"
    runner: str
    """`kubeflow` or `airflow`."""
    url: str
    """Where its API answers; never with a password or token."""
    id: str
    """The run's own there."""
    link: str
    """The page that shows it there; empty if there is none."""


@dataclass(frozen=True)
class AttemptStarted(Event):
    """A child process was started for a task, or another engine said that it runs one."""

    kind = "attempt_started"
    version = 3
    task: str
    attempt: int
    """1 for the first; counts lost attempts too, so that every attempt has its own folder."""
    pid: int
    """Of the shim; 0 where another engine executes the run."""
    pid_started: float
    """The shim's start time, Unix seconds: with the pid it names one process for ever."""
    folder: str
    cache_key: str | None = None
    read: Read = Read()
    notes: tuple[str, ...] = ()
    """What this machine does otherwise than the pipeline asks for: an image's stand-in, hints not heeded."""
    code: str = ""
    """The digest of the code that runs; empty in events of before it was noted."""


@dataclass(frozen=True)
class GraphStarted(Event):
    """A task that is made of tasks was opened: a nested pipeline, a loop, one iteration of a loop."""

    kind = "graph_started"
    task: str
    attempt: int
    children: tuple[Child, ...]
    """The tasks in it, which wait from now on."""
    iterations: bool = False
    """Whether `children` are a loop's iterations."""
    read: Read = Read()


@dataclass(frozen=True)
class AttemptFailed(Event):
    """An attempt ended badly; the schedule decided what comes next and wrote it here.

    Of a graph too: then everything in it is forgotten if it is tried again.
    """

    kind = "attempt_failed"
    task: str
    attempt: int
    exit_code: int | None
    """None if it left no exit status (`lost`)."""
    error: Mapping[str, Any]
    """`TunelineError.to_json()`."""
    lost: bool = False
    """Neither a live process nor an exit status was found; does not use up a retry."""
    retry_at: float | None = None
    """When the next attempt may start; None: the task has failed."""


@dataclass(frozen=True)
class TaskSucceeded(Event):
    """A task's outputs are complete and digested."""

    kind = "task_succeeded"
    version = 2
    task: str
    attempt: int
    outputs: Outputs
    cache_key: str | None = None


@dataclass(frozen=True)
class TaskCached(Event):
    """A task did not run: an earlier one with the same key had these outputs."""

    kind = "task_cached"
    version = 2
    task: str
    outputs: Outputs
    cache_key: str
    source_run: str
    source_task: str
    read: Read = Read()


@dataclass(frozen=True)
class TaskSkipped(Event):
    """A task will not run, because something it needs failed, was skipped, or its condition is false."""

    kind = "task_skipped"
    task: str
    reason: str


DEADLINE = "the deadline"
"""Who asks for the end of a run that took longer than its pipeline allows."""


@dataclass(frozen=True)
class CancelRequested(Event):
    """Somebody asked for the run to end. Running tasks are stopped; nothing new starts."""

    kind = "cancel_requested"
    by: str


@dataclass(frozen=True)
class TaskCanceled(Event):
    """A running task was stopped and left no process behind."""

    kind = "task_canceled"
    task: str
    attempt: int


@dataclass(frozen=True)
class RunRetried(Event):
    """Somebody asked for an ended run to go on: these tasks, and all in them, are forgotten and run again."""

    kind = "run_retried"
    by: str
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class RunEnded(Event):
    """Nothing is left to do. `state`: SUCCEEDED, FAILED or CANCELED, as KFP names them."""

    kind = "run_ended"
    version = 2
    state: str
    error: Mapping[str, Any] | None = None
    outputs: Outputs = Outputs()
    """What the pipeline puts out."""


@dataclass(frozen=True)
class Stored:
    """An event with its place and time in the record."""

    run: RunId
    seq: int
    at: float
    event: Event


KINDS: Mapping[str, type[Event]] = {
    kind.kind: kind
    for kind in (
        RunStarted, RunHandedOver, AttemptStarted, GraphStarted, AttemptFailed, TaskSucceeded, TaskCached,
        TaskSkipped, CancelRequested, TaskCanceled, RunRetried, RunEnded,
    )
}  # fmt: skip


def to_json(event: Event) -> dict[str, Any]:
    """`{"kind", "version", ...fields}`, JSON values only."""
    return {"kind": event.kind, "version": event.version, **plain(event)}


def plain(value: Any) -> Any:
    """An event, or what it holds, as JSON values that share what is JSON already.

    `dataclasses.asdict` copies every leaf, which was a tenth of what storing an event costs.
    """
    if is_dataclass(value):
        return {name: plain(held) for name, held in vars(value).items()}
    if isinstance(value, Mapping):
        return {key: plain(held) for key, held in value.items()}
    return [plain(held) for held in value] if isinstance(value, list | tuple) else value


def from_json(body: Mapping[str, Any]) -> Event:
    """The event that `to_json` wrote, by this version or an earlier one.

    Raises: InternalError for a kind or version this program does not know (it was written by a newer one).
    """
    kind = KINDS.get(str(body.get("kind")))
    if kind is None or int(body.get("version", 0)) > kind.version:
        raise InternalError(
            f"The record holds an event {body.get('kind')!r} version {body.get('version')}, unknown here.",
            hint="It was written by a newer tuneline: upgrade to that version.",
        )
    values = {f.name: body[f.name] for f in fields(kind) if f.name in body}
    if "outputs" in values:
        values["outputs"] = outputs_from_json(values["outputs"])
    if "read" in values:
        values["read"] = _read_from_json(values["read"])
    if "children" in values:
        values["children"] = tuple(Child(**child) for child in values["children"])
    for name in ("tasks", "notes"):
        if name in values:
            values[name] = tuple(values[name])
    return kind(**values)


def outputs_from_json(body: Mapping[str, Any]) -> Outputs:
    """The outputs that `plain` wrote; in version 1 an artifact was no list."""
    artifacts = {
        key: tuple(ArtifactRef(**ref) for ref in ([value] if isinstance(value, dict) else value))
        for key, value in body.get("artifacts", {}).items()
    }
    return Outputs(dict(body.get("parameters", {})), artifacts)


def _read_from_json(body: Mapping[str, Any]) -> Read:
    listed = {key: tuple(ids) for key, ids in body.get("artifacts", {}).items()}
    return Read(dict(body.get("parameters", {})), listed)


@dataclass(frozen=True)
class Lease:
    """The right to write one run's events, held by one scheduler. A higher token makes lower ones void."""

    run: RunId
    token: int


class EventSink(Protocol):
    """Where the runner writes what happened."""

    def append(self, lease: Lease, events: Sequence[Event], at: float) -> list[Stored]:
        """Store events in one transaction with the views they change. Raises LeaseLost, storing nothing."""
        ...

    def check(self, lease: Lease) -> None:
        """Raises LeaseLost if the lease is void; what is begun then, another scheduler has begun too."""
        ...

    def series(self, run: RunId, task: str, points: Sequence[Mapping[str, Any]]) -> None:
        """Store points of curves (`{"at", "step", "loss", ...}`), which are no events."""
        ...


class EventSource(Protocol):
    """Where the runner reads a run back after a crash."""

    def events(self, run: RunId, after: int = 0) -> Iterable[Stored]:
        """The run's events with `seq > after`, in order."""
        ...


@dataclass(frozen=True)
class CacheHit:
    """Outputs of an earlier task with the same key."""

    run: str
    task: str
    outputs: Outputs


class Cache(Protocol):
    """Finds earlier outputs by content key."""

    def find(self, key: str) -> CacheHit | None:
        """The newest task that succeeded with this key, if there is one."""
        ...


class LeaseLost(InternalError):
    """Another scheduler holds this run now."""

    code = "lease_lost"

    def __init__(self, run: RunId) -> None:
        super().__init__(
            f"Another process took over run {run}.", hint="Nothing to do: that process goes on with it."
        )
