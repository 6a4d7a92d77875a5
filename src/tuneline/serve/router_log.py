"""A line a request, in segment files.

Writing happens in a thread about once a second. Lines that cannot be written (a full disk) are dropped and
counted, never waited for. Several workers write to one folder: each segment belongs to the one that made it.
"""

import json
import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEGMENT_BYTES = 16 * 1024 * 1024
MAX_SEGMENTS = 64
"""Older ones are deleted: a gigabyte of request lines is kept."""
MAX_LINES = 200_000
"""Lines held in memory at most."""
MAX_HELD = 128 * 1024 * 1024
"""Characters of lines held in memory at most; only bodies make them long."""


@dataclass(slots=True)
class RequestLine:
    """One request, as it ended."""

    at: float
    """Unix seconds when it began."""
    id: str
    release: str
    """Empty if no revision was asked."""
    revision: str
    method: str
    path: str
    """Without the query, which may hold secrets."""
    status: int
    """What the client was answered; 499: it hung up first; 0: its answer was cut off."""
    ms: float
    bytes_in: int
    """Of the request's body."""
    bytes_out: int
    """Of the response's body."""
    sticky: str
    """A digest of the sticky key; empty if there was none."""
    retries: int
    override: bool = False
    """Whether the caller named the revision: such a request counts in no statistics."""
    shadow_of: str = ""
    """The revision whose request this is a copy of: that one's line has the same `id`."""
    agrees: bool | None = None
    """Of a copy: whether both answers were equal; None: that cannot be told."""
    request: str | None = None
    """The request's body, only where the endpoint keeps bodies."""
    response: str | None = None

    def text(self) -> str:
        """As JSON, with its newline; the fields from `override` on only where they say something."""
        body: dict[str, Any] = {
            "at": round(self.at, 6), "id": self.id, "release": self.release, "revision": self.revision,
            "method": self.method, "path": self.path, "status": self.status, "ms": round(self.ms, 3),
            "bytes_in": self.bytes_in, "bytes_out": self.bytes_out, "sticky": self.sticky,
            "retries": self.retries,
        }  # fmt: skip
        if self.override:
            body["override"] = True
        if self.shadow_of:
            body["shadow_of"], body["agrees"] = self.shadow_of, self.agrees
        if self.request is not None:
            body["request"] = self.request
        if self.response is not None:
            body["response"] = self.response
        return json.dumps(body, separators=(",", ":")) + "\n"


class Segments:
    """`segments/00000001.jsonl` and so on: appended to, rotated by size. A new process begins a new one."""

    def __init__(self, folder: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._lines: deque[str] = deque()
        self._held = 0
        self._number = 0
        self._size = 0

    def add(self, line: RequestLine) -> bool:
        """Keep `line` for the next `write`; False if it had to be dropped.

        It becomes text here, a little with each request: a thread that did a second's worth at once would
        keep Python's lock for milliseconds.
        """
        if len(self._lines) >= MAX_LINES or self._held >= MAX_HELD:
            return False
        text = line.text()
        self._lines.append(text)
        self._held += len(text)
        return True

    def write(self) -> int:
        """Append what was added; how many lines were lost because that failed. In any thread."""
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        if not lines:
            return 0
        self._held = sum(map(len, list(self._lines)))  # what was added meanwhile
        data = "".join(lines).encode()
        try:
            self._append(data)
        except OSError:
            self._number = 0  # what was written of it may end in half a line
            return len(lines)
        return 0

    def _append(self, data: bytes) -> None:
        if self._number == 0 or self._size >= self._segment_bytes:
            self._next()
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        except FileNotFoundError:  # it was the oldest, and another worker deleted it
            self._next()
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        with open(file, "ab") as stream:
            stream.write(data)
        self._size += len(data)

    @property
    def _path(self) -> Path:
        return self._folder / f"{self._number:08d}.jsonl"

    def _next(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        there = sorted(path for path in self._folder.glob("*.jsonl") if path.stem.isdigit())
        self._number, self._size = int(there[-1].stem) + 1 if there else 1, 0
        while True:
            try:
                self._path.touch(exist_ok=False)
                break
            except FileExistsError:  # another worker was faster
                self._number += 1
        for old in there[: -MAX_SEGMENTS + 1]:
            old.unlink(missing_ok=True)
