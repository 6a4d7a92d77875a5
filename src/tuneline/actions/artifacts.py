"""Artifacts as the API gives them: one, many, their lineage (`record.ancestry`), their content."""

import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tuneline.actions.views import Row, moment
from tuneline.errors import NotFoundError, UserError
from tuneline.execute.digests import files_below
from tuneline.execute.stores import Stores
from tuneline.plan.events import ArtifactRef
from tuneline.record.ancestry import Walk
from tuneline.record.record import Record

DIRECTIONS = {"up": ("up",), "down": ("down",), "both": ("up", "down")}
MAX_DEPTH, MAX_NODES = 100, 5000
"""What one walk may ask for."""
_BLOCK = 1 << 18


class Artifacts:
    """The artifacts of one home."""

    def __init__(self, record: Record, stores: Stores) -> None:
        """stores: where local copies of what lies in buckets are."""
        self._record, self._stores = record, stores

    def list(
        self, run: str | None = None, task: str | None = None, type: str | None = None,
        digest: str | None = None, limit: int = 100, after: str | None = None,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Artifacts, the newest first; only those that fit. after: the id to go on behind."""
        found = self._record.ancestry.all(run, task, type, digest, limit, after)
        return [artifact_view(row) for row in found]

    def get(self, id: str) -> dict[str, Any]:
        """One artifact; by a digest the newest that has it. Raises NotFoundError."""
        return artifact_view(self._record.ancestry.get(id))

    def lineage(
        self, name: str, direction: str = "both", depth: int = 10, limit: int = 1000
    ) -> dict[str, Any]:
        """What an artifact (id or digest) or a release (`model@version`) came from, and what came of it.

        `{"roots", "direction", "depth", "truncated", "artifacts", "executions", "releases", "edges"}`.
        Raises: NotFoundError; UserError for another direction.
        """
        ways = DIRECTIONS.get(direction)
        if ways is None:
            raise UserError(f"`{direction}` is no direction.", hint="There are up, down and both.")
        depth, limit = min(max(depth, 0), MAX_DEPTH), min(max(limit, 1), MAX_NODES)
        ancestry = self._record.ancestry
        if is_release(name):
            walk = ancestry.of_release(name, ways, depth, limit)
            roots = [f"release:{name}"]
        else:
            walk = ancestry.of_artifact(name, ways, depth, limit)
            same = "digest" if name.startswith("sha256:") else "id"
            roots = [f"artifact:{id}" for id, row in walk.artifacts.items() if row[same] == name]
        return {"roots": roots, "direction": direction, "depth": depth, **walk_view(walk)}

    def local(self, artifact: Mapping[str, Any]) -> Path | None:
        """Where this machine has an artifact of the API, or of a row; None if it has not. Asks no network."""
        return self._stores.local(_ref(artifact))

    def file(self, id: str) -> Path:
        """A local path to an artifact's content, read from its bucket if it is not here. Slow then.

        Raises: NotFoundError if it has none, or it is gone; NetworkError, SettingError, DataError.
        """
        row = self._record.ancestry.get(id)
        ref = _ref(row)
        found = self._stores.local(ref)
        if found is None:
            if not self._stores.absent([ref]):
                where = ref.custom_path or ref.uri
                raise NotFoundError(
                    f"Artifact `{row['id']}` has no content here: there is nothing at {where}.",
                    hint="It has metadata alone, is only named, or was deleted since.",
                )
            found = self._stores.get(ref.uri, ref.digest)
        return found


def is_release(name: str) -> bool:
    """Whether a name is a release's: `model@version`; an artifact's has slashes."""
    return "@" in name and "/" not in name


def artifact_view(row: Row) -> dict[str, Any]:
    """An artifact."""
    names = ("id", "run", "task", "name", "type", "schema_version", "uri", "digest", "size_bytes")
    return {
        **{name: row[name] for name in names},
        "metadata": row["metadata"] or {},
        "custom_path": row["custom_path"],
        "created_at": moment(row["created_at"]),
    }


def walk_view(walk: Walk) -> dict[str, Any]:
    """A walk: nodes by kind, and edges in the direction in which content flows."""
    return {
        "truncated": walk.truncated,
        "artifacts": [artifact_view(row) for row in walk.artifacts.values()],
        "executions": [_execution(row) for row in walk.executions.values()],
        "releases": [_release(name, row) for name, row in walk.releases.items()],
        "edges": [{"from": edge[0], "to": edge[1], "key": edge[2]} for edge in walk.edges],
    }


def _execution(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "run": row["run"],
        "run_name": row["run_name"],
        "project": row["project"],
        "task": row["task"],
        "attempt": row["attempt"],
        "state": row["state"],
        "started_at": moment(row["started_at"]),
        "finished_at": moment(row["finished_at"]),
        "code": row["code"],
    }


def _release(name: str, row: Row) -> dict[str, Any]:
    return {
        "release": name,
        "state": row["state"],
        "run": row["run"],
        "package_digest": row["package_digest"],
        "base_digest": row["base_digest"],
        "created_at": moment(row["created_at"]),
    }


def _ref(row: Row) -> ArtifactRef:
    return ArtifactRef(
        row["name"], row["type"], row["uri"], row["digest"], row["size_bytes"], row["metadata"] or {},
        row["id"], row["custom_path"] or "",
    )  # fmt: skip


def content(path: Path) -> tuple[Iterator[bytes], str]:
    """What a download sends, and its kind: a file's bytes, or a folder as a tar archive (`folder`)."""
    return (_tar(path), "folder") if path.is_dir() else (_blocks(path), "file")


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _tar(folder: Path) -> Iterator[bytes]:
    """The folder's files as a tar stream, equal for equal content: no owners, times or modes."""
    for relative in files_below(folder):
        path = folder / relative
        entry = tarfile.TarInfo(relative)
        entry.size = path.stat().st_size
        yield entry.tobuf(tarfile.PAX_FORMAT)
        sent = 0
        for block in _blocks(path):
            sent += len(block)
            yield block
        if sent != entry.size:
            raise OSError(f"{path} changed while it was read")
        yield b"\0" * (-sent % tarfile.BLOCKSIZE)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)
