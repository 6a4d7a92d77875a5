"""Request lines in segments: appended, rotated, bounded, and never waited for."""

import json

from tuneline.serve import router_log
from tuneline.serve.router_log import RequestLine, Segments


def line(number=0):
    return RequestLine(
        at=1.5, id=f"id-{number}", release="m@1.0.0", revision="r", method="GET", path="/", status=200,
        ms=0.5, bytes_in=0, bytes_out=2, sticky="", retries=0,
    )  # fmt: skip


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_full_segment_is_followed_by_the_next_and_a_new_process_begins_its_own(tmp_path):
    for _ in range(2):
        segments = Segments(tmp_path, segment_bytes=300)
        for number in range(4):
            segments.add(line(number))
            assert segments.write() == 0
    assert names(tmp_path) == [f"0000000{number}.jsonl" for number in range(1, 5)]
    written = [
        json.loads(text) for path in sorted(tmp_path.iterdir()) for text in path.read_text().splitlines()
    ]
    assert [each["id"] for each in written] == [f"id-{number}" for number in range(4)] * 2


def test_the_oldest_segments_go(tmp_path, monkeypatch):
    monkeypatch.setattr(router_log, "MAX_SEGMENTS", 3)
    segments = Segments(tmp_path, segment_bytes=1)
    for number in range(6):
        segments.add(line(number))
        segments.write()
    assert names(tmp_path) == ["00000004.jsonl", "00000005.jsonl", "00000006.jsonl"]


def test_lines_that_cannot_be_written_are_counted_and_later_ones_are_kept(tmp_path):
    (tmp_path / "segments").write_text("in the way")
    segments = Segments(tmp_path / "segments")
    segments.add(line())
    assert segments.write() == 1
    (tmp_path / "segments").unlink()
    segments.add(line(1))
    assert segments.write() == 0
    assert len((tmp_path / "segments" / "00000001.jsonl").read_text().splitlines()) == 1


def test_no_more_lines_are_held_than_memory_is_for(tmp_path, monkeypatch):
    monkeypatch.setattr(router_log, "MAX_LINES", 2)
    segments = Segments(tmp_path)
    assert [segments.add(line(number)) for number in range(3)] == [True, True, False]
