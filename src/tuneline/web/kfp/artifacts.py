"""Artifacts: the coming API's list and resource, and their bytes; a task's log.

A file is sent as it is, a folder as a tar that is made on the way. KFP's `:read` answers base64 in JSON.
Metadata is answered whole; a number that JSON lacks is its protobuf text (`wire.py`).
"""

import base64
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from starlette.responses import FileResponse, StreamingResponse

from tuneline.actions.artifacts import content
from tuneline.errors import NotFoundError, TooLargeError, UserError
from tuneline.record.artifact_lists import FIELDS
from tuneline.web.kfp import wire
from tuneline.web.kfp.call import Answer, Call, route

PIECE = 3 * 256 * 1024
"""Bytes read at a time; a multiple of 3, so that base64 needs no padding between pieces."""
MAX_UI_METADATA = 4 * 1024 * 1024
UI_METADATA = ("mlpipeline-ui-metadata", "mlpipeline_ui_metadata")
"""Names of the output that older components describe their visualizations in."""

_TYPES: Mapping[str, str] = {
    "system.Artifact": "Artifact", "system.Model": "Model", "system.Dataset": "Dataset",
    "system.HTML": "HTML", "system.Markdown": "Markdown", "system.Metrics": "Metric",
    "system.ClassificationMetrics": "ClassificationMetric",
    "system.SlicedClassificationMetrics": "SlicedClassificationMetric",
}  # fmt: skip


def _list(call: Call) -> Answer:
    rows, token, total = call.platform.kfp.artifacts.page(call.listing(FIELDS), call.query.get("run_id", ""))
    shown = [artifact(row) for row in rows]
    return wire.present({"artifacts": shown, "total_size": total, "next_page_token": token})


def _get(call: Call) -> Answer:
    return artifact(call.platform.kfp.artifacts.get(call.path["id"]))


def artifact(row: Mapping[Any, Any]) -> wire.Json:
    """An Artifact. From `schema_title` on the fields are ours: its exact type, who made it, its digest."""
    return wire.present(
        {
            "artifact_id": wire.int64(row["number"]),
            "name": row["name"],
            "type": _TYPES.get(row["type"], "Artifact"),
            "uri": row["uri"],
            "metadata": row["metadata"],
            "created_at": wire.timestamp(row["created_at"]),
            "schema_title": row["type"],
            "producer": {"run_id": row["run"], "task_name": row["task"]},
            "digest": row["digest"],
            "size_bytes": wire.int64(row["size_bytes"]),
        }
    )


def _download(call: Call) -> Answer:
    row = call.platform.kfp.artifacts.get(call.path["id"])
    path = _local(call, row)
    if path.is_dir():
        headers = {"Content-Disposition": f'attachment; filename="artifact-{row["number"]}.tar"'}
        return StreamingResponse(_tar(path), media_type="application/x-tar", headers=headers)
    return FileResponse(path, filename=path.name, media_type="application/octet-stream")


def _read(call: Call) -> Answer:
    row = call.platform.kfp.artifacts.output(call.path["run"], call.path["node"], call.path["name"])
    path = _local(call, row)
    if path.is_dir():
        raise UserError(
            f"Artifact {call.path['name']} is a folder.",
            hint="GET /apis/v2beta1/artifacts/{id}:download sends it as a tar.",
        )
    return StreamingResponse(_base64(path), media_type="application/json", headers=_PRIVATE)


def _log(call: Call) -> Answer:
    path = call.platform.kfp.artifacts.log(call.path["run"], call.path["node"])
    # without a length: a task that is running may add to it while it is sent
    return StreamingResponse(content(path)[0], media_type="text/plain", headers=_PRIVATE)


def _ui_metadata(call: Call) -> Answer:
    """Our own route: the visualizations that a task describes in its `mlpipeline-ui-metadata`, as JSON."""
    row = None
    for name in UI_METADATA:
        try:
            row = call.platform.kfp.artifacts.output(call.path["run"], call.path["node"], name)
            break
        except NotFoundError as error:
            wrong = error
    if row is None:
        raise wrong
    path = _local(call, row)
    if path.stat().st_size > MAX_UI_METADATA:
        raise TooLargeError(f"{path} is larger than {MAX_UI_METADATA} bytes.")
    try:
        return wire.dumps(json.loads(path.read_bytes()))
    except (ValueError, RecursionError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no JSON: {error}.") from error


def _local(call: Call, row: Mapping[Any, Any]) -> Path:
    """Where an artifact is on this machine, brought from its bucket if need be. Raises: NotFoundError."""
    try:
        return call.platform.artifacts.file(row["id"])
    except NotFoundError as error:
        raise NotFoundError(
            f"Artifact {row['number']} has no bytes here: {row['uri'] or 'it has no address'}.",
            hint="Some artifacts carry metadata alone; one elsewhere is read from where its uri says.",
        ) from error


def _base64(path: Path) -> Iterator[bytes]:
    yield b'{"data":"'
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield base64.b64encode(piece)
    yield b'"}'


class _Sink:
    """What tarfile writes, until it is taken."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._written = 0

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        self._written += len(data)
        return len(data)

    def tell(self) -> int:
        """How much was written in all."""
        return self._written

    def take(self) -> bytes:
        """All that was written since."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _tar(folder: Path) -> Iterator[bytes]:
    sink = _Sink()
    with tarfile.open(fileobj=cast(Any, sink), mode="w") as archive:
        for path in sorted(folder.rglob("*")):
            info = archive.gettarinfo(path, arcname=str(path.relative_to(folder)))
            if info is None or not (info.isfile() or info.isdir() or info.issym()):
                continue
            if not info.isfile():
                archive.addfile(info)
                continue
            info.type = tarfile.REGTYPE  # a hard link's bytes go along too
            info.size = path.stat().st_size
            with path.open("rb") as file:
                yield from _member(archive, info, file, sink)
    yield sink.take()


def _member(archive: tarfile.TarFile, info: tarfile.TarInfo, file: Any, sink: _Sink) -> Iterator[bytes]:
    """One file in pieces: `addfile` would hold all of it in the sink."""
    archive.addfile(info)  # the header alone
    left = info.size
    while left and (piece := file.read(min(PIECE, left))):
        left -= len(piece)
        sink.write(piece)
        yield sink.take()
    sink.write(b"\0" * (left + -info.size % tarfile.BLOCKSIZE))
    archive.offset += info.size + -info.size % tarfile.BLOCKSIZE


_PRIVATE = {"Cache-Control": "no-cache, private"}

ROUTES = [
    route("GET", "/v2beta1/artifacts", _list),
    route("GET", "/v2beta1/artifacts/{id}:download", _download),
    route("GET", "/v2beta1/artifacts/{id}", _get),
    route("GET", "/v2beta1/runs/{run}/nodes/{node:path}/artifacts/{name}:read", _read),
    route("GET", "/v2beta1/runs/{run}/nodes/{node:path}/ui-metadata", _ui_metadata),
    route("GET", "/v1alpha1/runs/{run}/nodes/{node:path}/log", _log),
]
