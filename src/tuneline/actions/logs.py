"""Reading an attempt's log in pieces, while it is being written and after."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuneline.errors import NotFoundError

LOG = "log.txt"
"""The name of the log in an attempt's folder."""


def read_log(task: Mapping[Any, Any], attempt: int | None, offset: int, limit: int) -> dict[str, Any]:
    """`{"text", "next", "done"}`: at most `limit` bytes from byte `offset`; `done` once nothing can follow.

    task: its row. An attempt's folder is beside the newest one's. Raises NotFoundError for an attempt never
    made.
    """
    newest, wanted = int(task["attempts"]), attempt if attempt is not None else int(task["attempts"])
    ended = task["state"] not in ("PENDING", "RUNNING")
    if attempt is not None and not 1 <= attempt <= newest:
        raise NotFoundError(
            f"Task `{task['name']}` has no attempt {attempt}.",
            hint=f"It made {newest}."
            if newest
            else "It made none: " + (task["reason"] or task["state"].lower()),
        )
    if not task["folder"] or not newest:
        return {"text": "", "next": offset, "done": ended}
    data, more = _piece(Path(task["folder"]).parent / str(wanted) / LOG, offset, limit)
    done = not more and (ended or wanted < newest)
    return {"text": data.decode(errors="replace"), "next": offset + len(data), "done": done}


def _piece(path: Path, offset: int, limit: int) -> tuple[bytes, bool]:
    """Bytes from `offset`, cut before an unfinished character, and whether more stand there already."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(limit + 4)
    except FileNotFoundError:
        return b"", False
    piece = data[:limit]
    for cut in range(min(3, len(piece) - 1) + 1):
        kept = piece[: len(piece) - cut]
        try:
            kept.decode()
        except UnicodeDecodeError as error:
            if error.reason == "unexpected end of data":
                continue
        return kept, len(data) > len(kept)
    return piece, len(data) > len(piece)
