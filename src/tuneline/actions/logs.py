"""Reading an attempt's log in pieces, while it is being written and after."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuneline.errors import NotFoundError

LOG = "log.txt"
"""The name of the log in an attempt's folder."""


def read_log(task: Mapping[Any, Any], attempt: int | None, offset: int, limit: int) -> dict[str, Any]:
    """`{"text", "next", "done"}`: at most `limit` bytes from byte `offset`; `done` once nothing can follow.

    A negative offset counts from the end: whole lines of the last bytes; `start` then says where they begin.

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
        return {"text": "", "next": max(0, offset), "done": ended} | ({"start": 0} if offset < 0 else {})
    path = Path(task["folder"]).parent / str(wanted) / LOG
    start = offset if offset >= 0 else _from_end(path, -offset)
    data, more = _piece(path, start, limit)
    done = not more and (ended or wanted < newest)
    found = {"text": data.decode(errors="replace"), "next": start + len(data), "done": done}
    return found | ({"start": start} if offset < 0 else {})


def _from_end(path: Path, count: int) -> int:
    """Where the last `count` bytes begin, at the beginning of a line if they hold one."""
    try:
        with path.open("rb") as file:
            start = max(0, file.seek(0, 2) - count)
            file.seek(start)
            begun = file.read(count).find(b"\n") + 1 if start else 0
    except FileNotFoundError:
        return 0
    return start + begun


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
