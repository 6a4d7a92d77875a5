"""What a task's shim runs before the task: inputs that lie in buckets come to this machine.

So the runner waits for no network, and a download is part of the attempt: in its log, under its time limit,
ended with it, retried like it. `downloads.json` in the attempt's folder says what is wanted; an error is left
in `error.json`, as a step leaves its own.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tuneline.errors import ResourceError, TunelineError
from tuneline.execute.stores import Stores
from tuneline.plan.events import ArtifactRef
from tuneline.types import Digest

_FILE = "downloads.json"
# This very code, whatever PYTHONPATH the task is given.
_PROGRAM = (
    f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r});"
    " from tuneline.execute.downloads import main; sys.exit(main(sys.argv[1]))"
)


def before(folder: Path, copies: Path, absent: Sequence[ArtifactRef]) -> list[list[str]]:
    """The commands for `before` in task.json that bring `absent` here; none if nothing is.

    folder: the attempt's, where the order is left. copies: the folder of the local copies. Raises: OSError.
    """
    if not absent:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [{"uri": ref.uri, "digest": ref.digest, "size_bytes": ref.size_bytes} for ref in absent]
    body = {"copies": str(copies), "wanted": wanted}
    (folder / _FILE).write_text(json.dumps(body), encoding="utf-8")
    return [[sys.executable, "-P", "-c", _PROGRAM, str(folder)]]


def main(attempt: str) -> int:
    """Bring what `downloads.json` in the attempt's folder names. The exit code."""
    folder = Path(attempt)
    body = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    stores = Stores(Path(body["copies"]))
    try:
        for each in body["wanted"]:
            sys.stdout.write(f"Reading {each['uri']} ({each['size_bytes']} bytes).\n")
            sys.stdout.flush()
            stores.get(each["uri"], Digest(each["digest"]))
    except TunelineError as error:
        return _failed(folder, error)
    except OSError as error:
        where = error.filename or body["copies"]
        return _failed(folder, ResourceError(f"{where} could not be written: {error.strerror or error}."))
    return 0


def _failed(folder: Path, error: TunelineError) -> int:
    sys.stderr.write(f"error: {error.message}\nhint: {error.hint}\n")
    (folder / "error.json").write_text(json.dumps(error.to_json()), encoding="utf-8")
    return 1
