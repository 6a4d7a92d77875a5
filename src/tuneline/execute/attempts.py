"""One attempt of one task: from its inputs to a waiting shim, and from a shim's end to what that means.

Limits: decides nothing about the run; the caller stores the events and says `go`.
"""

import errno
import hashlib
import logging
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneline.errors import InternalError, ResourceError, TransientError, TunelineError
from tuneline.execute.environment import of_program
from tuneline.execute.files import AttemptFolder, Ending, Tail
from tuneline.execute.images import Call
from tuneline.execute.jobs import Job
from tuneline.execute.keeping import Keeping
from tuneline.execute.process import BOOT, Process, find, kill_left, launch
from tuneline.execute.provisions import Asked, provide
from tuneline.plan.events import AttemptStarted, Outputs
from tuneline.settings import Settings
from tuneline_ir import expand, resolve, resolve_value
from tuneline_ir.passthrough import own_settings
from tuneline_ir.wire import with_own

_log = logging.getLogger(__name__)

GRACE_S = 5.0
"""How long a task may take to end by itself after it was asked to."""
_KILLED = (-1, -2, -9, -15)
"""HUP, INT, KILL, TERM: sent by somebody else, so the attempt is lost, not failed."""
CLEANUP_S = 30.0
_FULL = (errno.ENOSPC, errno.EDQUOT)
_LITTLE = 1 << 20
"""Free bytes under which a disk counts as full."""


@dataclass(frozen=True)
class Host:
    """This machine as tasks find it. `env`: what every task gets."""

    env: Mapping[str, str]
    settings: Settings


@dataclass
class Attempt:
    """An attempt under way."""

    job: Job
    number: int
    folder: AttemptFolder
    process: Process | None
    """None: its shim is gone."""
    key: str | None
    notes: tuple[str, ...] = ()
    """What is otherwise here than the pipeline asks for."""
    code: str = ""
    """The digest of what runs."""
    tail: Tail = field(init=False)
    concluding: bool = False
    """Its shim has ended; what came of it is being read."""
    stop_at: float | None = None
    """When it was asked to end, by the runner's clock."""

    def __post_init__(self) -> None:
        self.tail = Tail(self.folder)

    @property
    def unwatched(self) -> bool:
        """Whether its end must be looked for, because the system has no pidfds."""
        return not self.concluding and self.process is not None and self.process.fd is None

    def started(self) -> AttemptStarted:
        """The event that puts it on record."""
        assert self.process is not None
        pid, since, folder = self.process.pid, self.process.started, str(self.folder.path)
        told = (self.job.read, self.notes, self.code)
        return AttemptStarted(self.job.path, self.number, pid, since, folder, self.key, *told)


@dataclass(frozen=True)
class Conclusion:
    """What an attempt came to: outputs, or an error. `lost`: something else than the task itself ended it."""

    outputs: Outputs | None = None
    error: Mapping[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    lost: bool = False


def begin(job: Job, number: int, key: str | None, host: Host, keeping: Keeping) -> Attempt:
    """Make the attempt's folder and start its shim, which waits for `go`.

    Raises: ResourceError if the disk is full; InternalError if the command cannot be made or started;
    UserError if something that it needs is not there.
    """
    folder = AttemptFolder(job.folder / str(number))
    try:
        shutil.rmtree(folder.path, ignore_errors=True)  # of an attempt that never got on record
        inputs = keeping.given(job.inputs)
        executor_input = with_own(
            job.task, folder.executor_input(job.component, job.parameters, inputs), job.names
        )
        call, notes = _call(job, number, folder.path, executor_input, host.settings)
        program, code = job.image.program(call), job.code
        before = keeping.before(folder.path, job.inputs)
        environment, hidden = of_program(host.env, call.env, program, fetching=bool(before))
        limits = {"timeout_s": job.container.timeout_s, "grace_s": GRACE_S}
        folder.make(
            {
                **program.to_json(),
                "boot": BOOT,
                "before": before,
                "without": hidden,
                "secrets": job.secrets,
                **limits,
            },
            program.files,
        )
        about = {
            "TUNELINE_TASK_STATE": str(folder.state),
            "TUNELINE_RUN_ID": job.run,
            "TUNELINE_TASK": job.path,
        }
        environment |= about
        python = "" if program.environment else program.python
        process = launch(folder.path, folder.log, environment, packages=bool(program.entry), python=python)
    except OSError as error:
        raise from_os(error, f"Task `{job.path}` could not be started", folder.path) from error
    except ValueError as error:
        raise InternalError(f"Task `{job.path}` could not be started: {error}.") from error
    return Attempt(job, number, folder, process, key, (*program.notes, *notes), code)


def _call(
    job: Job, number: int, folder: Path, executor_input: dict[str, Any], settings: Settings
) -> tuple[Call, tuple[str, ...]]:
    """What the attempt asks of its image, and notes about what it is provided with. Raises: ValueError,
    UserError, OSError."""
    env, platform = own_settings(job.component, job.container.env, job.platform)
    texts = {name: resolve(value, executor_input, job.names) for name, value in env.items()}
    resources = resolve_value(job.container.resources, executor_input, job.names)
    name = _name(job, number)
    provided = provide(Asked(job.run, job.path, name, folder, platform, resources, job.workspace), settings)
    call = Call(
        expand(job.container.command, executor_input, job.names),
        expand(job.container.args, executor_input, job.names),
        executor_input,
        folder,
        name,
        {**provided.env, **texts},
        provided.mounts,
        provided.options,
    )
    return call, provided.notes


def _name(job: Job, number: int) -> str:
    """A name for the attempt that no other has: of a container, a pod, a volume."""
    task = hashlib.sha256(job.path.encode()).hexdigest()[:10]
    return f"tuneline-{job.run}-{task}-{number}"


def adopt(job: Job, started: AttemptStarted) -> Attempt:
    """An attempt that an earlier runner started, whether its shim still runs or not."""
    folder = Path(started.folder)
    process = find(started.pid, started.pid_started, folder)
    return Attempt(job, started.attempt, AttemptFolder(folder), process, started.cache_key)


def conclude(attempt: Attempt, keeping: Keeping) -> Conclusion:
    """What an ended attempt came to. Digests its outputs and puts them where they belong; kills what a killed
    shim left. Slow."""
    job, name = attempt.job, attempt.job.path
    ending = attempt.folder.ending()
    if ending is None:
        return _without_ending(attempt)
    if ending.exit_code != 0 or ending.timed_out:
        return _failed(attempt, ending)
    try:
        outputs = attempt.folder.outputs(job.component, f"{job.run}/{name}/{attempt.number}")
        if job.importer is None or not _is_here(outputs):  # nothing that is imported is copied
            outputs = keeping.kept(outputs, job.pipeline, job.run, name, attempt.number, attempt.folder.path)
        return Conclusion(outputs=outputs, exit_code=0)
    except (
        TunelineError
    ) as error:  # for Kubeflow a task without its outputs failed as any other: it may retry
        return Conclusion(error={**error.to_json(), "retry": True}, exit_code=0)
    except OSError as error:
        unread = from_os(error, f"Outputs of task `{name}` could not be read", attempt.folder.path)
        return Conclusion(error=unread.to_json(), exit_code=0)


def _is_here(outputs: Outputs) -> bool:
    """Whether all artifacts are paths of this machine."""
    return all("://" not in ref.uri for refs in outputs.artifacts.values() for ref in refs)


def from_os(error: OSError, what: str, path: Path) -> TunelineError:
    """The system's refusal as our error. `path`: what was worked on, if the system does not say."""
    where = f" ({error.filename or path})"
    if error.errno in _FULL:
        return ResourceError(
            f"{what}: the disk is full{where}.",
            hint="Free some space, then `tuneline runs retry`: what is finished stays finished.",
        )
    return InternalError(f"{what}{where}: {error.strerror or error}.", hint="See the server's log.")


def _without_ending(attempt: Attempt) -> Conclusion:
    name, shim = attempt.job.path, attempt.process
    if not kill_left(attempt.folder.path):
        _log.error("Processes of %s are still there although they were killed.", attempt.folder.path)
    _clean_up(attempt)
    if shim is not None and shim.exit_code in _FULL:
        full = from_os(OSError(errno.ENOSPC, ""), f"Task `{name}` could not be started", attempt.folder.path)
        return Conclusion(error=full.to_json())
    error = TransientError(
        f"Attempt {attempt.number} of task `{name}` was lost: its process is gone without a word."
    )
    return Conclusion(error=error.to_json(), lost=True)


def _clean_up(attempt: Attempt) -> None:
    """What the shim would have done at the end: a container outlives whoever started it."""
    command = attempt.folder.cleanup()
    if command:
        try:
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=CLEANUP_S)
        except (OSError, subprocess.SubprocessError):
            _log.error("`%s` did not work.", " ".join(command), exc_info=True)


def _failed(attempt: Attempt, ending: Ending) -> Conclusion:
    name, code = attempt.job.path, ending.exit_code
    if ending.timed_out:
        limit = f"{attempt.job.container.timeout_s:g} s"
        error: TunelineError = TransientError(f"Task `{name}` was stopped: it ran longer than {limit}.")
    elif ending.out_of_memory:
        error = ResourceError(
            f"Task `{name}` was killed by the system, which had no memory left.",
            hint="Give it more memory or smaller batches, then `tuneline runs retry`.",
        )
    elif ending.stopped or code in _KILLED:
        error = TransientError(
            f"Attempt {attempt.number} of task `{name}` was lost: it was killed (signal {-code})."
        )
        return Conclusion(error=error.to_json(), exit_code=code, lost=True)
    else:
        left = attempt.folder.error()
        if left is not None:
            return Conclusion(error=left, exit_code=code)
        error = _unexplained(attempt, code)
    return Conclusion(error=error.to_json(), exit_code=code)


def _unexplained(attempt: Attempt, code: int) -> TunelineError:
    name = attempt.job.path
    if shutil.disk_usage(attempt.folder.path).free < _LITTLE:
        return from_os(OSError(errno.ENOSPC, ""), f"Task `{name}` failed", attempt.folder.path)
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    tail = attempt.folder.log_tail()
    return TransientError(
        f"Task `{name}` {how}.", hint=f"See its log: {attempt.folder.log}", details=tail.splitlines()[-10:]
    )
