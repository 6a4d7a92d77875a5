"""The runtime `pyfunc`: anything with `predict`, from a release's package, behind MLflow's scoring protocol.

The HTTP side and the figures are those of the other runtimes and live in this process; the user's code
lives in a child, in an interpreter with the release's requirements. One request is predicted at a time.
Limits: a body has at most `MAX_BODY` bytes, a reply `MAX_REPLY`.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneline.errors import ModelError, OwnCodeError, TransientError
from tuneline.plan import harness
from tuneline.serve import pyfunc_worker
from tuneline.serve.loading import read_json
from tuneline.serve.metrics import Metrics
from tuneline.serve.scoring import Scoring

MAX_BODY = 16 << 20
MAX_REPLY = 64 << 20
ABOUT = harness.TUNELINE_JSON
"""In the code's folder: `{"entry", "entries", "requirements", "image", "example"}`."""


@dataclass(frozen=True)
class Servable:
    """The files that answer, and what they are run with."""

    interpreter: Path
    code: Path
    model: Path

    @property
    def about(self) -> Mapping[str, Any]:
        """What the code says about itself. Raises: ModelError if it is not there."""
        return read_json(self.code / ABOUT)


@dataclass
class Worker:
    """One child that predicts. Build it with `start_worker`."""

    _child: asyncio.subprocess.Process
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def ask(self, scoring: Scoring) -> Any:
        """The predictions.

        Raises: OwnCodeError if the user's code failed; TransientError if the child is gone.
        """
        body: dict[str, Any] = {"rows": scoring.rows}
        if scoring.params is not None:
            body["params"] = dict(scoring.params)
        reply = await asyncio.shield(asyncio.ensure_future(self._exchange(body)))  # a turn is never left open
        if "error" in reply:
            raise OwnCodeError(str(reply["error"]), details=[str(line) for line in reply["details"]])
        return reply["predictions"]

    async def ended(self) -> None:
        """Returns if the child ends by itself, which it never should."""
        await self._child.wait()

    async def close(self) -> None:
        """End the child."""
        if self._child.returncode is None:
            with suppress(ProcessLookupError):
                self._child.kill()
            await self._child.wait()

    async def _exchange(self, body: Mapping[str, Any]) -> dict[str, Any]:
        assert self._child.stdin is not None
        async with self._turn:
            try:
                self._child.stdin.write(json.dumps(body, separators=(",", ":")).encode() + b"\n")
                await self._child.stdin.drain()
                return await self._read()
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                raise TransientError(
                    "The model's process is gone.", hint="It is being started anew; ask again."
                ) from error

    async def _read(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        try:
            line = await self._child.stdout.readuntil(b"\n")
        except asyncio.LimitOverrunError as error:
            self._child.kill()  # what is left of the reply would be taken for the next one's
            raise TransientError(
                f"The predictions have more than {MAX_REPLY >> 20} MiB.", hint="Ask for fewer rows at once."
            ) from error
        found: dict[str, Any] = json.loads(line)
        return found


async def start_worker(servable: Servable) -> Worker:
    """A child with the model loaded. Raises: ModelError with what the user's code said if it cannot be."""
    about = servable.about
    words = [
        str(servable.interpreter), "-I", str(Path(pyfunc_worker.__file__)), str(Path(harness.__file__)),
        str(servable.code.absolute()), str(servable.model.absolute()), str(about["entry"]),
        json.dumps(about["entries"] or ["."]),
    ]  # fmt: skip
    pipe = asyncio.subprocess.PIPE
    try:
        child = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, limit=MAX_REPLY)
    except OSError as error:
        raise ModelError(
            f"The release's interpreter cannot be started: {servable.interpreter}: {error.strerror}.",
            hint="Its environment is made anew when the project runs again.",
        ) from error
    worker = Worker(child)
    try:
        said = await worker._read()
    except (asyncio.IncompleteReadError, ValueError):
        said = {"error": "its process ended while loading", "details": []}
    if "error" in said:
        await worker.close()
        raise ModelError(
            f"The model could not be loaded: {said['error']}",
            hint="Its traceback is in the log.",
            details=[str(line) for line in said["details"]],
        )
    return worker


class Predicting:
    """Asks the worker, and keeps the figures. One a loaded model."""

    def __init__(self, worker: Worker, metrics: Metrics) -> None:
        self.worker, self.metrics = worker, metrics

    @classmethod
    def of(cls, worker: Worker, model: str, release: str, version: str) -> "Predicting":
        """With figures under the names that the other runtimes have."""
        metrics = Metrics(model, 1, 1, time.perf_counter)
        metrics.name_release(release, "pyfunc", version, "none")
        return cls(worker, metrics)

    async def predictions(self, scoring: Scoring) -> Any:
        """What the model says. Raises: as `Worker.ask`."""
        sequence = self.metrics.arrived(0)
        self.metrics.started(sequence)
        reason = "abort"
        try:
            said = await self.worker.ask(scoring)
            reason = "stop"
        except (OwnCodeError, TransientError):
            reason = "error"
            raise
        finally:
            self.metrics.ended(sequence, reason)
        return said
