"""How a release's runtime is started, and whether it may be: the one place that knows the runtime's command
line and the proof."""

import http.client
import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from tuneline.control import processes
from tuneline.errors import ModelError, TransientError
from tuneline.plan.endpoints import Desired, ReleaseFacts
from tuneline.serve import package as packages
from tuneline.serve import vllm_python
from tuneline.serve.interpreters import interpreter_of, version_of
from tuneline.serve.loading import read_json
from tuneline.serve.proof import check_servable
from tuneline.serve.pyfunc import ABOUT
from tuneline.serve.pyfunc_program import CODE
from tuneline.serve.runtimes import PYFUNC, VLLM, kind
from tuneline.settings import Settings

LOG = logging.getLogger("tuneline.control")

WARM_UP_S = 60.0
"""How long the first answer may take."""


class Launching(Protocol):
    """What the controller needs to know of runtimes."""

    def check(self, release: ReleaseFacts, desired: Desired) -> None:
        """Whether it may be served here. Raises: TunelineError, with the reason, if not."""
        ...

    def command(self, release: ReleaseFacts, desired: Desired, port: int) -> list[str]:
        """The command line that serves it at `port`."""
        ...

    def environment(self, release: ReleaseFacts) -> Mapping[str, str]:
        """What its environment has beyond the server's. Raises: TunelineError if that cannot be told now."""
        ...

    def is_ready(self, release: ReleaseFacts, port: int) -> bool:
        """Whether what runs at `port` says that it can take requests."""
        ...

    def warm_up(self, release: ReleaseFacts, port: int) -> None:
        """Send it one request. Raises: TunelineError if it is not answered."""
        ...


class Runtimes:
    """tuneline's own runtimes, as child processes."""

    def __init__(self, settings: Settings) -> None:
        """settings: where the environments of own code are made."""
        self._settings = settings

    def check(self, release: ReleaseFacts, desired: Desired) -> None:
        """Its package is whole and this very combination was proven.

        Raises: ModelError, ProofError, MissingPartError, SettingError.
        """
        if not release.package.is_dir():
            raise ModelError(
                f"The package of {release.release} is gone: {release.package}.",
                hint="Run the project again: an identical package is made anew.",
            )
        runtime = kind(desired.runtime)
        package = packages.load(release.package)
        if runtime is PYFUNC:
            about = read_json(_code(release) / ABOUT)
            version = version_of(interpreter_of(about, self._settings, LOG.info), about)
        elif runtime is VLLM:
            version = vllm_python.find(self._settings.vllm_python).version
        else:
            version = runtime.version
        check_servable(package, release.proof, runtime.name, version, release.base)

    def command(self, release: ReleaseFacts, desired: Desired, port: int) -> list[str]:
        """`python -m tuneline.serve.runtime ...`."""
        words = ["--runtime", desired.runtime, "--package", release.package]
        if desired.runtime == PYFUNC.name:  # its environment was made by `check`, so it is there
            about = read_json(_code(release) / ABOUT)
            words += ["--python", interpreter_of(about, self._settings, LOG.info)]
        else:
            words += ["--base", release.base]
        if desired.runtime == VLLM.name:
            options = json.dumps(desired.deploy.get("vllm") or {}, sort_keys=True)
            words += ["--python", vllm_python.interpreter(self._settings.vllm_python), "--vllm", options]
        words += [
            "--host",
            "127.0.0.1",
            "--port",
            port,
            "--model",
            release.model,
            "--release",
            release.release,
        ]
        return [sys.executable, "-m", "tuneline.serve.runtime", *map(str, words)]

    def environment(self, release: ReleaseFacts) -> Mapping[str, str]:
        """Nothing more."""
        return {}

    def is_ready(self, release: ReleaseFacts, port: int) -> bool:
        """Its `/health` says so."""
        return processes.is_healthy(port)

    def warm_up(self, release: ReleaseFacts, port: int) -> None:
        """One token, or one row's prediction. Raises: TransientError with what came instead."""
        if (_code(release) / ABOUT).is_file():
            row = read_json(_code(release) / ABOUT)["example"]
            _ask_first(port, "/invocations", {"dataframe_records": [row]})
        else:
            warm_up(release.model, port)


def warm_up(model: str, port: int) -> None:
    """Ask the runtime at `port` for one token. Raises: TransientError with what came instead."""
    body = {"model": model, "prompt": "Hello", "max_tokens": 1, "temperature": 0}
    _ask_first(port, "/v1/completions", body)


def _ask_first(port: int, path: str, body: Mapping[str, Any]) -> None:
    try:
        status, text = processes.ask(port, "POST", path, body, WARM_UP_S)
    except (OSError, http.client.HTTPException) as error:
        raise TransientError(
            f"The first request was not answered: {error or type(error).__name__}."
        ) from error
    if status != 200:
        raise TransientError(f"The first request was answered with {status}: {text[:300]}")


def _code(release: ReleaseFacts) -> Path:
    """The folder of a release's own code, if it has any."""
    return release.package / "served" / CODE


def revision_log(folder: Path, revision: str) -> Path:
    """Where the runtime of a revision writes."""
    return folder / "revisions" / f"{revision}.log"
