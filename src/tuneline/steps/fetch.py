"""The `fetch` step: asks the source, and puts its files, whole and by digest, into the run.

It also takes the digest of a base model that is a local path, or asks what one elsewhere is now, so that one
changed in place is noticed.
Never cached: the source is asked every time, and equal bytes make an equal artifact, so what follows is
cached. Without network it goes on with the copy of an earlier run, and says so.
"""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

from tuneline.errors import DataError
from tuneline.execute.files import digest_path
from tuneline.settings import Settings
from tuneline.steps.base_source import is_remote, remote_digest
from tuneline.steps.downloads import Desk
from tuneline.steps.io import Step
from tuneline.steps.placing import place
from tuneline.steps.sources import Fetched, open_source


def run(step: Step) -> None:
    """Parameters `source`, `sha256`, `base_model`; puts out `data` (`files/<name>`, `source.json`) and
    `base_digest`."""
    settings = Settings.from_env(os.environ)
    desk = Desk(
        folder=settings.downloads,
        env=os.environ,
        sha256=str(step.parameters.get("sha256", "")).removeprefix("sha256:").lower(),
        offline=settings.offline,
        note=step.note,
        progress=Seldom(step),
    )
    found = fetch(str(step.parameters["source"]), desk, step.outputs["data"])
    step.set("base_digest", _base_digest(str(step.parameters.get("base_model", "")), desk))
    step.describe(
        "data", {"source": found.shown, "files": len(found.files), **found.resolved, **found.pinned}
    )


def _base_digest(base_model: str, desk: Desk) -> str:
    """What changes when a base model that is a path, or lies on a hub or in a bucket, does; "" of a name."""
    if is_remote(base_model):
        return remote_digest(base_model, replace(desk, sha256=""))
    path = Path(base_model)
    return digest_path(path)[0] if path.is_absolute() and path.exists() else ""


class Seldom:
    """Progress at most five times a second: a fast download would write more events than bytes."""

    def __init__(self, step: Step) -> None:
        self.step, self.next_at = step, 0.0

    def __call__(self, done: int, total: int | None) -> None:
        now = self.step.clock()
        if now >= self.next_at or done == total:
            self.step.progress(done, total, "bytes")
            self.next_at = now + 0.2


def fetch(source: str, desk: Desk, folder: Path) -> Fetched:
    """Bring the files of `source` to a new `folder`, which is complete when this returns.

    Raises: DataError, NetworkError.
    """
    found = open_source(source)(source, desk)
    _check_sum(found, desk.sha256)
    scratch = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "files").mkdir(parents=True)
    for file in found.files:
        place(file, scratch / "files" / file.name)
    listed = [
        {
            "path": f"files/{file.name}",
            "sha256": file.digest.removeprefix("sha256:"),
            "size_bytes": file.size_bytes,
        }
        for file in found.files
    ]
    body = {"source": found.shown, "files": listed, "resolved": dict(found.resolved)}
    (scratch / "source.json").write_text(json.dumps(body, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    scratch.replace(folder)
    return found


def _check_sum(found: Fetched, sha256: str) -> None:
    if sha256 and found.files[0].digest != f"sha256:{sha256}":
        raise DataError(
            f"{found.shown} is not the file it should be: its SHA-256 is {found.files[0].digest[7:]}, "
            f"not {sha256}.",
            hint="It was changed. If the new file is meant, change `data.sha256`.",
        )
