"""Several processes that train one model together on this machine: starts them, waits, ends all when one
fails.

Each worker (`tune_worker.py`) runs the same step with torchrun's variables. Rank 0's outputs, progress and
log are the step's; what the others say goes to files in the step's state, and is shown when they fail. On
several machines this runs on each, told by `MASTER_ADDR`, `MASTER_PORT` and `NODE_RANK` where it is. Limits:
a machine that is lost without a word is noticed by the others after half an hour.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneline.errors import InternalError, ResourceError, SpecError, TunelineError
from tuneline.settings import processors
from tuneline.steps.io import Step
from tuneline.train.recipe import Recipe

_LOOK_S = 0.05
_GRACE_S = 2.0
"""How long the others may take to say what is wrong with them once one has failed: they may all say the
same, and better."""
_TAIL_LINES = 15
WORKER = "tuneline.steps.tune_worker"


@dataclass(frozen=True)
class Place:
    """This machine among those that train together."""

    number: int = 0
    address: str = ""
    """Where rank 0 is found; empty on one machine alone."""
    port: int = 0


@dataclass(frozen=True)
class Worker:
    """One process that was started."""

    rank: int
    process: subprocess.Popen[bytes]
    folder: Path
    """Where its error.json is."""
    log: Path | None
    """What it says; None for the one that says it here."""

    def error(self) -> TunelineError | None:
        """What it said went wrong, if it came to that."""
        try:
            return TunelineError.from_json(json.loads((self.folder / "error.json").read_bytes()))
        except (OSError, ValueError):
            return None

    def tail(self) -> list[str]:
        """The last lines of its log."""
        if self.log is None:
            return []
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]


def run(step: Step, recipe: Recipe) -> None:
    """Train with as many processes of this machine as the recipe says.

    Raises: SpecError if several machines are asked for and this is none of them; the error of the worker
    that failed first.
    """
    place = place_of(os.environ, recipe.num_machines)
    scratch = step.state / "workers"
    shutil.rmtree(scratch, ignore_errors=True)
    workers: list[Worker] = []
    try:
        for local in range(recipe.num_processes):
            workers.append(_start(step, recipe, place, local, scratch))
        _wait(workers)
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.wait()
            with contextlib.suppress(OSError):
                worker.process.stdin.close()  # type: ignore[union-attr]  # a pipe, below
    if place.number:
        step.outputs = {}  # the first machine has them
        return
    step.describe("metrics", json.loads(step.outputs["metrics"].read_text(encoding="utf-8")))
    shutil.rmtree(scratch, ignore_errors=True)


def place_of(env: Mapping[str, str], machines: int) -> Place:
    """Which of `machines` this is. Raises: SpecError if there are several and `env` does not say."""
    if machines == 1:
        return Place()
    names = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")
    missing = [name for name in names if not env.get(name)]
    if missing:
        raise SpecError(
            f"train.num_machines is {machines}, but nothing started this step on {machines} machines: "
            f"{', '.join(missing)} not set.",
            hint="Write a Job of several pods with `tuneline export training`, or set train.num_machines: 1.",
        )
    number, port = env["NODE_RANK"], env["MASTER_PORT"]
    if not number.isdecimal() or int(number) >= machines or not port.isdecimal():
        raise SpecError(
            f"NODE_RANK `{number}` and MASTER_PORT `{port}` do not name one of {machines} machines.",
            hint=f"NODE_RANK is from 0 to {machines - 1}, MASTER_PORT a number.",
        )
    return Place(int(number), env["MASTER_ADDR"], int(port))


def variables(recipe: Recipe, place: Place, local: int, meeting: Path, cores: int) -> dict[str, str]:
    """What a worker is told: who it is, where the others are met, and its share of the `cores`."""
    found = {
        "RANK": str(place.number * recipe.num_processes + local),
        "WORLD_SIZE": str(recipe.processes),
        "LOCAL_RANK": str(local),
        "LOCAL_WORLD_SIZE": str(recipe.num_processes),
        "OMP_NUM_THREADS": str(max(1, cores // recipe.num_processes)),
    }
    if place.address:
        return {**found, "MASTER_ADDR": place.address, "MASTER_PORT": str(place.port)}
    loopback = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
    return {**found, **loopback, "TUNELINE_MEETING": str(meeting)}


def failed_first(ended: Sequence[tuple[Worker, int]]) -> Worker:
    """Of the workers that ended badly, with their exit codes, the one to blame: whoever lost a killed one, or
    one with an error of its own, only says that the line broke."""

    def blame(each: tuple[Worker, int]) -> int:
        worker, code = each
        error = worker.error()
        return 0 if code < 0 else 1 if error is not None and not isinstance(error, InternalError) else 2

    return min(ended, key=blame)[0]


def _start(step: Step, recipe: Recipe, place: Place, local: int, scratch: Path) -> Worker:
    first = local == 0 and place.number == 0
    folder = scratch / f"rank-{local}"
    folder.mkdir(parents=True)
    log = None if local == 0 else folder / "log"
    output_file = step.output_file if first else folder / "output.json"
    command = [sys.executable, "-P", "-m", WORKER, json.dumps(_input(step, first, output_file))]
    told = variables(recipe, place, local, scratch / "meeting", processors())
    threads = {"OMP_NUM_THREADS": set_} if (set_ := os.environ.get("OMP_NUM_THREADS")) else {}
    env = {**os.environ, **told, **threads, "TUNELINE_TASK_STATE": str(step.state)}
    with log.open("wb") if log else contextlib.nullcontext() as out:
        process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=out, stderr=out)
    return Worker(int(told["RANK"]), process, output_file.parent, log)


def _input(step: Step, first: bool, output_file: Path) -> dict[str, Any]:
    """The step as Kubeflow's contract says it; only the first has anything to put out."""

    def artifact(path: Path, metadata: Mapping[str, Any]) -> dict[str, Any]:
        return {"artifacts": [{"uri": str(path), "metadata": dict(metadata)}]}

    given = {key: artifact(path, step.input_metadata.get(key, {})) for key, path in step.inputs.items()}
    made = {key: artifact(path, {}) for key, path in step.outputs.items()} if first else {}
    return {
        "inputs": {"parameterValues": dict(step.parameters), "artifacts": given},
        "outputs": {"artifacts": made, "outputFile": str(output_file)},
    }


def _wait(workers: Sequence[Worker]) -> None:
    """Until all have ended. Raises: the error of the one that failed."""
    while True:
        codes = [(worker, worker.process.poll()) for worker in workers]
        if any(code for _, code in codes):
            break
        if all(code == 0 for _, code in codes):
            return
        time.sleep(_LOOK_S)
    killed = any((code or 0) < 0 for _, code in codes)
    deadline = time.monotonic() + (0 if killed else _GRACE_S)
    while time.monotonic() < deadline and any(worker.process.poll() is None for worker in workers):
        time.sleep(_LOOK_S)
    ended = [(worker, code) for worker in workers if (code := worker.process.poll())]
    raise _fault(failed_first(ended), len(workers))


def _fault(worker: Worker, count: int) -> TunelineError:
    tail = worker.tail()
    sys.stderr.write("".join(f"[rank {worker.rank}] {line}\n" for line in tail))
    who = f"Process {worker.rank} of the {count} that train on this machine"
    code = worker.process.returncode
    if code == -signal.SIGKILL:
        return ResourceError(
            f"{who} was killed (SIGKILL), so the others were ended.",
            hint="Most often memory ran out: give it more, or use smaller batches or fewer processes. "
            "Training goes on from the last checkpoint.",
            details=tail,
        )
    known = worker.error()
    if known is None:
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return InternalError(f"{who} ended {how}.", hint="See the task's log.", details=tail)
    if isinstance(known, InternalError):
        known.details = [*known.details, *tail]
    known.message = f"{who} failed: {known.message}" if isinstance(known, InternalError) else known.message
    return known
