"""What the runtime's program serves for `--runtime pyfunc`: a release's own code, from its package."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from tuneline.errors import ModelError
from tuneline.serve import package
from tuneline.serve.interpreters import version_of
from tuneline.serve.pyfunc import Predicting, Servable, Worker, start_worker
from tuneline.serve.pyfunc_app import PyfuncServing, create_pyfunc_app

CODE = "code"
"""The folder of the code in `served`."""
MODEL = "model"
"""The folder of the model in a package."""


@dataclass(frozen=True)
class Files:
    """Where the files are: a package, or what `verify` is about to prove."""

    interpreter: Path | None
    package: Path | None
    served: Path | None
    model: Path | None

    def servable(self) -> tuple[Servable, Mapping[str, Any]]:
        """The files to run, and the manifest they come with.

        Raises: ModelError if they are incomplete, or not what the manifest says.
        """
        if self.interpreter is None:
            raise ModelError("No interpreter was named.", hint="Give --python.")
        if self.package is not None:
            found = package.load(self.package)
            folder = found.folder
            return Servable(self.interpreter, folder / "served" / CODE, folder / MODEL), found.manifest
        if self.served is None or self.model is None:
            raise ModelError(
                "Nothing to serve was named.", hint="Give --package, or --served and --adapter together."
            )
        return Servable(self.interpreter, self.served / CODE, self.model), {}


class PyfuncProgram:
    """The `Served` of own code."""

    def __init__(self, files: Files, model: str, release: str) -> None:
        self._servable, manifest = files.servable()
        self._serving = PyfuncServing(model, release, "", manifest)
        self._worker: Worker | None = None

    def app(self, lifespan: Any) -> ASGIApp:
        """See Served."""
        return create_pyfunc_app(self._serving, lifespan)

    async def load(self, ready: Callable[[], None]) -> None:
        """See Served."""
        serving = self._serving
        serving.version = version_of(self._servable.interpreter, self._servable.about)
        self._worker = await start_worker(self._servable)
        serving.predicting = Predicting.of(self._worker, serving.model, serving.release, serving.version)
        ready()
        await self._worker.ended()

    async def close(self) -> None:
        """See Served."""
        if self._worker is not None:
            await self._worker.close()
