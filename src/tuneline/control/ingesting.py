"""The request lines of one endpoint, from its routers' segments into Parquet, each once.

One `step` reads at most CHUNK_BYTES, writes a file a day, and commits both by replacing `state.json`
(`record.request_files`). Whatever is killed when: files that were not committed are deleted before the next
step, and their lines read again. Half a line waits for its other half; a line that is none is counted.
Used by one thread of the one server of a home. Memory: a few times CHUNK_BYTES.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from tuneline.record import request_files as stored
from tuneline.record.request_files import State
from tuneline.record.request_lines import read_lines
from tuneline.record.request_segments import ASIDE, Unread, put_aside, segments
from tuneline.types import Clock

LOG = logging.getLogger("tuneline.control")
CHUNK_BYTES = 8 * 1024 * 1024
"""Of lines in one step; a longer line counts as malformed."""
HALF_S = 600.0
"""Half a line in a file that nobody has written to for so long stays half: its router died."""
QUIET_S = 600.0
"""A segment that was read to its end, and is not written to for so long, is deleted."""
DAY_S = 86_400.0


@dataclass(frozen=True)
class _Piece:
    segment: Unread
    lines: bytes
    skipped: int
    """Bytes that are no line: too long, or half."""

    @property
    def end(self) -> int:
        return self.segment.offset + len(self.lines) + self.skipped


class Ingest:
    """One endpoint's ingestion. folder: the endpoint's own; keep_s: no line gets a day before that."""

    def __init__(self, folder: Path, clock: Clock, keep_s: float, chunk_bytes: int = CHUNK_BYTES) -> None:
        """Raises: ResourceError if the state cannot be read."""
        self._segments, self._stored = folder / "segments", folder / "requests"
        self._name, self._clock, self.keep_s, self._chunk = folder.name, clock, keep_s, chunk_bytes
        self.state = stored.read_state(self._stored)
        self._dirty = True
        """Files may be there that were not committed."""

    def step(self) -> bool:
        """Ingest some; whether there may be more. Raises: OSError, and then nothing was ingested."""
        if self._dirty:
            self._clean()
        taken, more = self._take()
        if not taken:
            return False
        self._dirty = True
        data = b"".join(piece.lines for piece in taken)
        frame, malformed = read_lines(data)
        malformed += sum(bool(piece.skipped) for piece in taken)
        number = self._write(frame, len(data))
        read = {piece.segment.path.name: piece.end for piece in taken}
        offsets = {**self.state.segments, **read}
        lines = self.state.lines + frame.height
        self._commit(State(number, offsets, lines, self.state.malformed + malformed))
        self._dirty = False
        if malformed:
            where = f"{self._name}: {malformed} request lines"
            LOG.warning("%s could not be read and are left out, in %s", where, ", ".join(read))
        return more

    def finish_segments(self) -> None:
        """Delete segments that were read to their end and are not written to any more. Raises OSError."""
        now, found = self._clock(), segments(self._segments, self.state.segments)
        there = {each.path.name for each in found}
        if not there.issuperset(self.state.segments):
            offsets = {name: at for name, at in self.state.segments.items() if name in there}
            self._commit(replace(self.state, segments=offsets))
        newest = max((each.path.name for each in found if each.path.suffix != ASIDE), default="")
        for each in found:
            if each.left or each.waits or now - each.written_at < QUIET_S:
                continue
            if each.path.name == newest:  # the router numbers on from it, and a rollout's place is in it
                continue
            if each.path.suffix == ASIDE:
                self._forget(each)
            else:
                self._set_aside(each)

    def _take(self) -> tuple[list[_Piece], bool]:
        """What to ingest now, and whether there may be more."""
        taken: list[_Piece] = []
        room = self._chunk
        for segment in segments(self._segments, self.state.segments):
            if segment.waits or segment.left <= 0:
                continue
            piece = self._read(segment, room)
            if piece.end > segment.offset:
                taken.append(piece)
            room -= len(piece.lines)
            if taken and piece.end < segment.size:
                return taken, True
        return taken, False

    def _read(self, segment: Unread, room: int) -> _Piece:
        """Whole lines, at most `room` bytes; else, if what is left is no line and will be none, that."""
        with segment.path.open("rb") as file:
            file.seek(segment.offset)
            data = file.read(min(room, segment.left))
        lines = data[: data.rfind(b"\n") + 1]
        too_long = len(data) == self._chunk
        dead = len(data) == segment.left and self._clock() - segment.written_at >= HALF_S
        return _Piece(segment, lines, len(data) if not lines and (too_long or dead) else 0)

    def _write(self, frame: pl.DataFrame, raw_bytes: int) -> int:
        """Write a file a day; the number after the last."""
        number, now = self.state.next, self._clock()
        day = (pl.col("at").clip(now - self.keep_s, now + DAY_S) // DAY_S).cast(pl.Int32)
        for (each,), rows in sorted(frame.group_by(day.alias("day"), maintain_order=True), key=_first):
            name = stored.day_of(float(each) * DAY_S)
            bytes_ = raw_bytes * rows.height // frame.height
            stored.write_part(self._stored, name, (number, number), rows.sort("at"), bytes_)
            number += 1
        return number

    def _commit(self, state: State) -> None:
        try:
            stored.write_state(self._stored, state)
        except OSError:  # it may have been replaced before that
            self.state, self._dirty = stored.read_state(self._stored), True
            raise
        self.state = state

    def _clean(self) -> None:
        """Delete what an ingestion left that was not committed."""
        for path in stored.files(self._stored):
            numbers = stored.numbers_of(path.with_suffix(".parquet"))
            if numbers is not None and (numbers[1] >= self.state.next or path.suffix in stored.SCRATCH):
                path.unlink(missing_ok=True)
        self._dirty = False

    def _set_aside(self, segment: Unread) -> None:
        name, offsets = segment.path.name, dict(self.state.segments)
        offsets[name] = offsets[name + ASIDE] = segment.offset
        self._commit(replace(self.state, segments=offsets))
        put_aside(segment.path)
        del offsets[name]
        self._commit(replace(self.state, segments=offsets))

    def _forget(self, segment: Unread) -> None:
        name, offsets = segment.path.name, dict(self.state.segments)
        if offsets.pop(name.removesuffix(ASIDE), None) is not None:  # of before it was put aside
            self._commit(replace(self.state, segments=offsets))
        segment.path.unlink(missing_ok=True)
        offsets.pop(name, None)
        self._commit(replace(self.state, segments=offsets))


def _first(group: tuple[tuple[object, ...], pl.DataFrame]) -> int:
    return int(group[0][0])  # type: ignore[call-overload, no-any-return]
