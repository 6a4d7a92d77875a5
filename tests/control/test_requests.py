"""Request lines become tables, each line once, whatever is killed when, in bounded space."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pytest

from tuneline.control import ingesting
from tuneline.control.ingesting import Ingest
from tuneline.control.request_upkeep import groups, keep_up, split
from tuneline.control.requests import RequestLoop
from tuneline.errors import ResourceError
from tuneline.record import request_files
from tuneline.record.request_files import Part, between, find, parts, read_state, requests_of
from tuneline.record.request_lines import SCHEMA, read_lines
from tuneline.record.request_segments import unread_lines

NOW = 1_800_000_000.0
DAY_S = 86_400.0
KEEP_S = 30 * DAY_S
TOMORROW = (time.time() // DAY_S + 1.5) * DAY_S


def line(number, at=NOW, **more):
    body = {
        "at": at, "id": f"id-{number}", "release": "m@1.0.0", "revision": "r1", "method": "POST", "path": "/",
        "status": 200, "ms": 1.5, "bytes_in": 10, "bytes_out": 20, "sticky": "", "retries": 0,
    }  # fmt: skip
    return json.dumps({**body, **more}, separators=(",", ":")).encode() + b"\n"


def lines(first, count, **more):
    return b"".join(line(number, **more) for number in range(first, first + count))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "e" / "segments").mkdir(parents=True)
    return tmp_path / "e"


def segment(folder, number):
    return folder / "segments" / f"{number:08d}.jsonl"


def append(path, data):
    with path.open("ab") as file:
        file.write(data)


def ingest(folder, clock=lambda: NOW, chunk_bytes=ingesting.CHUNK_BYTES):
    made = Ingest(folder, clock, KEEP_S, chunk_bytes)
    while made.step():
        pass
    return made


def ids(folder):
    return Counter(between(folder / "requests", 0, 1e11).collect()["id"].to_list())


def expected(count):
    return Counter(f"id-{number}" for number in range(count))


def test_a_line_becomes_a_row_with_every_column_and_what_it_lacks_is_null(folder):
    full = line(0, override=True, shadow_of="r0", agrees=False, request="{}", response="é\x00", more=[1])
    append(segment(folder, 1), full + line(1))
    ingest(folder)
    rows = between(folder / "requests", NOW, NOW + 1).collect().sort("id").to_dicts()
    assert list(rows[0]) == list(SCHEMA)
    assert rows[0] == {**{k: v for k, v in json.loads(full).items() if k != "more"}}
    assert [rows[1][name] for name in ("override", "shadow_of", "agrees", "request")] == [None] * 4
    assert requests_of(folder.parent, "e", NOW - 5, NOW).collect().height == 0
    assert requests_of(folder.parent, "e", NOW, NOW + 1).collect().height == 2


def test_half_a_line_waits_for_its_other_half(folder):
    whole = line(1)
    append(segment(folder, 1), line(0) + whole[:30])
    made = ingest(folder, clock=time.time)
    assert ids(folder) == expected(1)
    append(segment(folder, 1), whole[30:])
    while made.step():
        pass
    assert ids(folder) == expected(2)
    assert made.state.malformed == 0


def test_half_a_line_of_a_router_that_died_is_counted_and_its_segment_goes(folder):
    append(segment(folder, 1), line(0) + line(1)[:30])
    made = ingest(folder, clock=lambda: time.time() + 1000)
    assert (ids(folder), made.state.lines, made.state.malformed) == (expected(1), 1, 1)
    segment(folder, 2).touch()  # the newest stays: the router numbers on from it
    made.finish_segments()
    made.finish_segments()
    assert list((folder / "segments").iterdir()) == [segment(folder, 2)]
    assert read_state(folder / "requests").segments == {}


BAD = [b"nope\n", b"[1]\n", b"\xff\n", line(9)[:-3] + b"\n", line(9, status="x"), line(9, at=None),
       line(9, at=-1), line(9, id=""), line(9, status=True), line(9, ms=1e999),
       line(9, status=1 << 40), b'{"at":1,"id":"a"} {"at":2,"id":"b"}\n', b"[" * 5000 + b"\n"]  # fmt: skip


def test_malformed_lines_are_counted_and_said_and_the_others_kept(folder, caplog):
    append(segment(folder, 1), b"".join(line(n) + bad for n, bad in enumerate(BAD)) + b"\n \n")
    made = ingest(folder)
    assert ids(folder) == expected(len(BAD))
    assert (made.state.lines, made.state.malformed) == (len(BAD), len(BAD))
    assert f"e: {len(BAD)} request lines could not be read and are left out, in 00000001.jsonl" in caplog.text


@pytest.mark.parametrize("bad", BAD)
def test_a_single_bad_line_is_found_out(bad):
    frame, malformed = read_lines(line(0) + bad + line(1))
    assert (frame["id"].to_list(), malformed) == (["id-0", "id-1"], 1)


def test_half_of_a_surrogate_pair_is_kept_as_a_question_mark():
    frame, malformed = read_lines(line(0, request="x\ud800y") + b"nope\n")
    assert (frame["request"].to_list(), malformed) == (["x?y"], 1)


def test_a_line_longer_than_a_step_is_left_out_and_the_next_ones_are_read(folder):
    append(segment(folder, 1), line(0) + line(1, request="x" * 5000) + line(1))
    made = ingest(folder, chunk_bytes=1000)
    assert ids(folder) == expected(2)
    assert made.state.malformed >= 1


def test_lines_stand_in_the_day_of_their_time_within_what_is_kept(folder):
    times = [NOW, NOW - DAY_S, NOW - 400 * DAY_S, NOW + 400 * DAY_S]
    append(segment(folder, 1), b"".join(line(n, at=at) for n, at in enumerate(times)))
    ingest(folder)
    days = [part.day for part in parts(folder / "requests")]
    assert days == ["2026-12-16", "2027-01-14", "2027-01-15", "2027-01-16"]
    assert ids(folder) == expected(4)


@dataclass
class Killed(BaseException):
    """The process ends here."""


@dataclass
class Disk:
    """Ends the process at the n-th change of the disk: before it, or right after it."""

    at: int
    count: int = 0
    names: list = field(default_factory=list)

    def wrap(self, name, real):
        def call(*args, **kwargs):
            self.count += 1
            if self.count == 2 * self.at + 1:
                raise Killed
            done = real(*args, **kwargs)
            self.count += 1
            self.names.append(name)
            if self.count == 2 * self.at + 2:
                raise Killed
            return done

        return call


def everything(folder, written, more=False):
    """One server's life: ingest what was written so far, merge, put aside and delete segments."""
    clock = lambda: TOMORROW  # noqa: E731 - all segments are quiet, all merged files may go
    made = Ingest(folder, clock, KEEP_S, 3000)
    if more:  # other lines than before the kill, of another day, under a segment's old name
        append(segment(folder, 1), lines(40, 30, at=clock() - 2 * DAY_S))
    for number, count in ((1, 20), (2, 40)):
        if written[0] < count:
            append(segment(folder, number), lines(written[0], count - written[0], at=clock()))
            written[0] = count
        while made.step():
            pass
        made.finish_segments()
        while keep_up(folder / "requests", clock() + DAY_S, KEEP_S, 1 << 40):
            pass
    made.finish_segments()
    keep_up(folder / "requests", clock() + DAY_S, KEEP_S, 1 << 40)


def watched(monkeypatch, disk):
    for name in ("rename", "replace", "unlink", "rmdir"):
        monkeypatch.setattr(Path, name, disk.wrap(name, getattr(Path, name)))
    monkeypatch.setattr(os, "fsync", lambda file: None)  # a killed process loses nothing of what it wrote
    monkeypatch.setattr(pl.DataFrame, "write_parquet", disk.wrap("write", pl.DataFrame.write_parquet))


@pytest.mark.slow
def test_whatever_change_of_the_disk_is_the_last_every_line_is_there_once(folder, tmp_path):
    """The server is killed before and after every single change that it makes, and begins again."""
    place, names = 0, []
    day, before = (request_files.day_of(TOMORROW - ago) for ago in (0, 2 * DAY_S))
    while True:
        home = tmp_path / str(place) / "e"
        (home / "segments").mkdir(parents=True)
        written = [0]
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(place)
            watched(patch, disk)
            try:
                everything(home, written)
            except Killed:
                pass
            else:
                break
        # what a reader sees right then is right too
        assert not ids(home) - expected(written[0])
        everything(home, written, more=True)
        assert ids(home) == expected(70), f"killed at change {place}"
        assert list((home / "segments").iterdir()) == [segment(home, 2)]
        assert [each.day for each in parts(home / "requests")] == sorted({day, before})
        assert {path.suffix for path in request_files.files(home / "requests")} == {".parquet", ".ids"}
        place, names = place + 1, disk.names
    assert place > 25
    assert set(names) >= {"rename", "replace", "unlink", "write"}


PROGRAM = """
import sys, time
from pathlib import Path
from tuneline.control import request_upkeep
from tuneline.control.ingesting import Ingest
request_upkeep.GRACE_S = 0.0
made = Ingest(Path(sys.argv[1]), time.time, 30 * 86400.0, 3000)
print("ready", flush=True)
while True:
    made.step()
    request_upkeep.keep_up(Path(sys.argv[1]) / "requests", time.time() + 86400, 40 * 86400.0, 1 << 40)
"""


@pytest.mark.slow
def test_real_kills_lose_and_double_nothing(folder):
    """Five kill -9 of a process that ingests without pause, 4 s: what no double of ours can show."""
    written = 0
    for round in range(5):
        program = subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder)], stdout=subprocess.PIPE)
        assert program.stdout.readline() == b"ready\n"
        for _ in range(8 + round):
            data = lines(written, 37, at=time.time())
            written += 37
            append(segment(folder, round + 1), data[:50])
            append(segment(folder, round + 1), data[50:])
            time.sleep(0.011)
        os.kill(program.pid, signal.SIGKILL)
        program.wait()
        program.stdout.close()
        assert not ids(folder) - expected(written)
    ingest(folder)
    assert ids(folder) == expected(written)


def test_a_segment_that_a_router_writes_to_while_it_is_put_aside_loses_nothing(folder):
    append(segment(folder, 1), lines(0, 3))
    segment(folder, 2).touch()
    clock = lambda: time.time() + 10_000  # noqa: E731
    made = ingest(folder, clock=clock)
    late = segment(folder, 1).open("ab")  # a write that was under way
    made.finish_segments()
    late.write(line(3))
    late.close()
    append(segment(folder, 1), line(4))  # the router's next one
    for _ in range(6):
        made.finish_segments()
        while made.step():
            pass
    assert ids(folder) == expected(5)
    assert list((folder / "segments").iterdir()) == [segment(folder, 2)]


def test_what_is_written_while_a_segment_waits_to_be_deleted_is_found_at_once(folder):
    """Killed between the renaming and the commit after it: the new file of the old name has its own start."""
    append(segment(folder, 1), lines(0, 3))
    aside = segment(folder, 1).rename(folder / "segments" / "00000001.jsonl.read")
    append(segment(folder, 1), lines(3, 5))
    read = {aside.name: aside.stat().st_size, segment(folder, 1).name: aside.stat().st_size}
    found = [list(unread_lines(folder / "segments", read, f"id-{number}")) for number in range(8)]
    assert [len(each) for each in found] == [0, 0, 0, 1, 1, 1, 1, 1]


def test_a_full_disk_ingests_nothing_and_later_everything_once(folder):
    append(segment(folder, 1), lines(0, 5))
    made = Ingest(folder, lambda: NOW, KEEP_S)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(request_files, "_sync_folder", refuse)
        with pytest.raises(OSError, match="full"):
            made.step()
    assert ids(folder) == Counter()
    append(segment(folder, 1), lines(5, 5, at=NOW - DAY_S))
    made.step()
    assert ids(folder) == expected(10)


def refuse(path):
    raise OSError(28, "the disk is full")


def test_a_state_that_is_none_stops_the_ingestion_and_says_what_to_do(folder):
    append(segment(folder, 1), line(0))
    (folder / "requests").mkdir()
    (folder / "requests" / "state.json").write_text("{")
    with pytest.raises(ResourceError) as wrong:
        ingest(folder)
    assert "state.json cannot be read" in wrong.value.message
    assert "Move the folder" in wrong.value.hint


def part(number, raw, day="2027-01-15", at=NOW):
    return Part(Path(f"/r/{day}/{number:08d}-{number:08d}.parquet"), number, number, 1, raw, at, at)


KB, MB = 1024, 1024 * 1024


@pytest.mark.parametrize(
    ("sizes", "today", "merged"),
    [
        ([10 * KB] * 7, True, []),
        ([10 * KB] * 8, True, [1, 2, 3, 4, 5, 6, 7, 8]),
        ([10 * MB] + [10 * KB] * 8, True, [2, 3, 4, 5, 6, 7, 8, 9]),
        ([100 * KB] * 7 + [10 * KB], True, [1, 2, 3, 4, 5, 6, 7, 8]),
        ([9 * MB] * 9, True, [1, 2, 3, 4, 5, 6, 7]),
        ([60 * MB] * 9, True, []),
        ([60 * MB, 10 * KB, 1 * MB], False, [1, 2, 3]),
        ([60 * MB, 9 * MB, 60 * MB, 9 * MB], False, []),
    ],
)
def test_small_files_are_merged_and_large_ones_left(sizes, today, merged):
    found = groups([part(n, raw) for n, raw in enumerate(sizes, 1)], "2027-01-15" if today else "2027-01-16")
    assert [[each.first for each in group] for group in found] == ([merged] if merged else [])


def test_merging_keeps_every_row_findable_and_readers_that_had_begun(folder):
    for number in range(10):
        append(segment(folder, 1), lines(10 * number, 10, at=NOW + number))
        ingest(folder)
    begun = between(folder / "requests", 0, 1e11)
    while keep_up(folder / "requests", NOW + DAY_S, KEEP_S, 1 << 40):
        pass
    assert len(parts(folder / "requests")) == 1
    assert begun.collect().height == 100
    assert ids(folder) == expected(100)
    assert [find(folder / "requests", f"id-{n}")[0]["at"] for n in (0, 55, 99)] == [NOW, NOW + 5, NOW + 9]
    assert find(folder / "requests", "id-100") == []
    keep_up(folder / "requests", time.time() + DAY_S, 1e9, 1 << 40)
    assert len(list(request_files.files(folder / "requests"))) == 2


def test_what_is_too_old_goes_and_what_was_merged_into_it_does_not_come_back(folder):
    for number in range(3):
        append(segment(folder, 1), line(number, at=NOW))
        ingest(folder)
    append(segment(folder, 1), line(3, at=NOW + 2 * DAY_S))
    ingest(folder, clock=lambda: NOW + 2 * DAY_S)
    keep_up(folder / "requests", NOW + DAY_S, KEEP_S, 1 << 40)
    assert ids(folder) == expected(4)
    keep_up(folder / "requests", NOW + KEEP_S + 1, KEEP_S, 1 << 40)
    keep_up(folder / "requests", NOW + KEEP_S + 1, KEEP_S, 1 << 40)
    assert ids(folder) == Counter(["id-3"])
    assert [day.name for day in request_files.days(folder / "requests")] == ["2027-01-17"]


def test_the_oldest_files_go_when_there_are_too_many_bytes(folder, caplog):
    for number in range(4):
        append(segment(folder, 1), line(number, at=NOW + number * DAY_S))
        ingest(folder, clock=lambda: NOW + 5 * DAY_S)
    size = parts(folder / "requests")[0].size_bytes
    keep_up(folder / "requests", NOW + 5 * DAY_S, KEEP_S, int(2.5 * size))
    assert ids(folder) == Counter(["id-2", "id-3"])
    assert "2 files of requests are deleted to stay under" in caplog.text
    assert split([], NOW, 1) == ([], [], [])


def test_many_requests_of_one_id_are_found_up_to_a_limit(folder):
    append(segment(folder, 1), b"".join(line(0, at=NOW + n) for n in range(1000)))
    ingest(folder)
    assert len(find(folder / "requests", "id-0")) == request_files.MAX_FOUND


def test_a_file_without_its_index_gets_one(folder):
    append(segment(folder, 1), lines(0, 5))
    ingest(folder)
    index = request_files.ids_path(parts(folder / "requests")[0].path)
    index.unlink()
    assert find(folder / "requests", "id-3")[0]["id"] == "id-3"
    assert index.exists()


@dataclass
class Wanted:
    endpoint: str
    monitor: dict


@dataclass
class Wishes:
    all: list

    def desired(self):
        return self.all


def test_the_loop_reads_every_endpoint_by_its_own_settings_and_one_that_fails_stops_no_other(
    tmp_path, caplog
):
    wishes = [Wanted("idle", {}), Wanted("bad", {}), Wanted("long", {}), Wanted("short", {"keep_s": DAY_S})]
    for name in ("bad", "long", "short"):
        (tmp_path / name / "segments").mkdir(parents=True)
        append(segment(tmp_path / name, 1), line(0, at=NOW - 5 * DAY_S) + line(1))
    (tmp_path / "bad" / "requests").mkdir()
    (tmp_path / "bad" / "requests" / "state.json").write_text("{")
    loop = RequestLoop(Wishes(wishes), tmp_path, clock=lambda: NOW)
    for _ in range(3):
        loop.look_once()
    assert ids(tmp_path / "long") == expected(2)
    assert ids(tmp_path / "short") == Counter(["id-1"])
    assert caplog.text.count("bad: requests are not ingested") == 1
    assert not (tmp_path / "idle").exists()
