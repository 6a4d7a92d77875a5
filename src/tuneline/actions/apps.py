"""Apps, asked for: checks what was asked, keeps the source by its digest, and writes down what is wanted.

`control` does the rest. A copy of the source is kept below the home, so that what runs later is what was
given now, whatever becomes of the folder it was in.
"""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tuneline.actions import views
from tuneline.actions.ports import Server
from tuneline.errors import DataError, SpecError
from tuneline.execute.digests import digest_file, digest_path, files_below
from tuneline.plan import apps
from tuneline.plan.apps import App
from tuneline.record.apps import AppVersion
from tuneline.record.record import Record
from tuneline.types import Clock, digest_json

MAX_BYTES = 256 * 1024 * 1024
MAX_FILES = 10_000
IGNORED = ("__pycache__", "*.pyc", ".git", ".venv", "node_modules")
"""Names in a source that are no part of it."""


@dataclass(frozen=True)
class AppRequest:
    """An app as it was asked for. The source is a file or folder on the server's machine."""

    app: App
    source: str
    digest: str = ""
    """What the source must be; empty: whatever it is."""
    port: int = 0
    keep_s: float = 1800.0
    run: str = ""
    """The run that asks."""


class Apps:
    """The apps of one home."""

    def __init__(self, record: Record, server: Server, clock: Clock) -> None:
        self._record, self._server, self._clock = record, server, clock

    def put(self, request: AppRequest) -> dict[str, Any]:
        """Want an app at the endpoint of its name: the endpoint, with `release`, `created` and `reason`.

        Raises: SpecError, DataError; NotFoundError if it uses an endpoint that is not there; ConflictError if
        the name or the endpoint is a model's.
        """
        app = request.app
        apps.refuse_faulty(app)
        if app.uses:
            self._record.endpoints.get(app.uses)
        folder, files = keep(Path(request.source), self._server.home / "apps", request.digest, app)
        deploy = {"runtime": apps.KIND, "port": request.port, "keep_s": request.keep_s}
        why = f"run {request.run} asked for it" if request.run else "it was asked for"
        version = AppVersion(
            app.name, str(folder), apps.manifest(app, files), deploy, why, self._server.user, request.run
        )
        wanted = self._record.apps.put(version, self._clock())
        return self._view(app.name) | vars(wanted)

    def remove(self, name: str) -> dict[str, Any]:
        """Want nothing at the endpoint of an app any more; the endpoint. Raises NotFoundError."""
        self._record.apps.remove(name, "it was removed", self._server.user, self._clock())
        return self._view(name)

    def _view(self, name: str) -> dict[str, Any]:
        return views.endpoint_view(self._record.endpoints.get(name), self._record.endpoints.live(name))


def keep(source: Path, store: Path, expected: str, app: App) -> tuple[Path, Mapping[str, str]]:
    """Copy `source` to the folder of its digest below `store`; that folder, and the digest of each file.

    Raises: DataError if it is not there, too large, or not `expected`; SpecError if the entry's file is
    missing.
    """
    if not source.is_absolute() or not source.exists():
        raise DataError(
            f"The source of the app `{app.name}` is not there: {source}.",
            hint="Give the absolute path of a file or folder on the server's machine.",
        )
    if expected and digest_path(source)[0] != expected:
        raise DataError(
            f"The source {source} of the app `{app.name}` is not {expected}.", hint="It was changed since."
        )
    store.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store, prefix=".new-") as scratch:
        fresh = Path(scratch) / "source"
        _copy(source, fresh, app)
        files = {name: str(digest_file(fresh / name)[0]) for name in files_below(fresh)}
        _refuse_missing(app, files)
        kept = store / digest_json(sorted(files.items())).partition(":")[2]
        if not _is_whole(kept, files):
            shutil.rmtree(kept, ignore_errors=True)
            _move(fresh, kept, files)
    return kept, files


def _copy(source: Path, fresh: Path, app: App) -> None:
    if source.is_file():  # an output of a task is called what the output is called
        fresh.mkdir()
        shutil.copy2(source, fresh / (app.entry.partition(":")[0] or source.name))
        return
    names = [name for name in files_below(source) if not _ignored(name)]
    size = sum((source / name).stat().st_size for name in names)
    if size > MAX_BYTES or len(names) > MAX_FILES:
        raise DataError(
            f"The source {source} of the app `{app.name}` has {len(names)} files, {size / 1e6:.0f} MB.",
            hint=f"At most {MAX_FILES} files and {MAX_BYTES / 1e6:.0f} MB are kept; large data is no source.",
        )
    for name in names:
        (fresh / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / name, fresh / name)
    fresh.mkdir(exist_ok=True)


def _ignored(name: str) -> bool:
    """Whether a file, or a folder that it lies in, is no part of a source."""
    return any(fnmatch(part, pattern) for part in name.split("/") for pattern in IGNORED)


def _refuse_missing(app: App, files: Mapping[str, str]) -> None:
    where = app.entry.partition(":")[0]
    module = where.removesuffix(".py") if where.endswith(".py") else where.replace(".", "/")
    if app.entry and f"{module}.py" not in files and f"{module}/__init__.py" not in files:
        shown = ", ".join(sorted(files)[:10]) or "nothing"
        raise SpecError(
            f"The app `{app.name}` has the entry `{app.entry}`, and no such file in its source.",
            hint=f"The source holds: {shown}.",
        )


def _move(fresh: Path, kept: Path, files: Mapping[str, str]) -> None:
    try:
        fresh.rename(kept)
    except OSError:  # another request keeps the same source at this moment
        if not _is_whole(kept, files):
            raise


def _is_whole(kept: Path, files: Mapping[str, str]) -> bool:
    """Whether the folder holds all of it, unchanged."""
    return kept.is_dir() and all(
        (kept / name).is_file() and digest_file(kept / name)[0] == files[name] for name in files
    )
