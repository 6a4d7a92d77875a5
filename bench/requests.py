"""Requests: how fast lines are ingested, and how long one is looked for among millions.

    python bench/requests.py [--lines 5000000] [--days 30] [--lookups 200]

Writes segments as a router does (ids of 32 hexadecimal digits), ingests and merges them, then traces ids that
are there, the first ones with nothing in the page cache's favour but what ingestion left, and ids that are
not. Peak memory is the whole process's, the making of the lines included.
"""

import argparse
import random
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from tuneline.control.ingesting import Ingest
from tuneline.control.request_upkeep import keep_up
from tuneline.record import request_files

SEGMENT_LINES = 70_000
DAY_S = 86_400.0
NOW = 1_800_000_000.0


def main() -> None:
    """See the module."""
    options = argparse.ArgumentParser()
    options.add_argument("--lines", type=int, default=5_000_000)
    options.add_argument("--days", type=int, default=30)
    options.add_argument("--lookups", type=int, default=200)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "e"
        (folder / "segments").mkdir(parents=True)
        known = fill(folder, given.lines, given.days)
        look_up(folder / "requests", known, given.lookups)


def fill(folder: Path, count: int, days: int) -> list[str]:
    """Ingest `count` lines over so many days; some of their ids."""
    chance = np.random.default_rng(1)
    ingest = Ingest(folder, lambda: NOW, (days + 1) * DAY_S)
    written_s = read_s = merged_s = 0.0
    raw, known = 0, []
    for number, first in enumerate(range(0, count, SEGMENT_LINES), 1):
        begun = time.perf_counter()
        rows = min(SEGMENT_LINES, count - first)
        path = folder / "segments" / f"{number:08d}.jsonl"
        frame = made(chance, rows, NOW - days * DAY_S + days * DAY_S * first / count, days * DAY_S / count)
        frame.write_ndjson(path)
        known.append(frame["id"][rows // 2])
        raw += path.stat().st_size
        written = time.perf_counter()
        while ingest.step():
            pass
        read = time.perf_counter()
        keep_up(folder / "requests", NOW, (days + 1) * DAY_S, 1 << 40)
        written_s, read_s = written_s + written - begun, read_s + read - written
        merged_s += time.perf_counter() - read
        path.unlink()
    begun = time.perf_counter()
    while keep_up(folder / "requests", NOW, (days + 1) * DAY_S, 1 << 40):
        pass
    merged_s += time.perf_counter() - begun
    assert ingest.state.lines == count
    found = request_files.parts(folder / "requests")
    size = sum(part.size_bytes for part in found)
    print(f"{count:,} lines, {raw / 1e6:,.0f} MB as written, in {len(found)} files of {size / 1e6:,.0f} MB")
    print(f"made in {written_s:.1f} s, not ours")
    print(f"ingested in {read_s:.1f} s: {count / read_s:,.0f} lines/s; merged in {merged_s:.1f} s")
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory {peak_kb / 1024:,.0f} MB")
    return known


def made(chance: np.random.Generator, rows: int, begin: float, step_s: float) -> pl.DataFrame:
    """Lines as a router writes them."""
    raw, sticky = chance.bytes(16 * rows), chance.bytes(8 * rows)
    return pl.DataFrame(
        {
            "at": begin + step_s * np.arange(rows),
            "id": [raw[place : place + 16].hex() for place in range(0, 16 * rows, 16)],
            "release": "movie-reviews@1.0.0",
            "revision": "movie-reviews-1",
            "method": "POST",
            "path": "/v1/completions",
            "status": 200,
            "ms": np.round(chance.exponential(50.0, rows), 3),
            "bytes_in": chance.integers(100, 2000, rows),
            "bytes_out": chance.integers(100, 2000, rows),
            "sticky": [sticky[place : place + 8].hex() for place in range(0, 8 * rows, 8)],
            "retries": 0,
        }
    )


def look_up(folder: Path, known: list[str], count: int) -> None:
    """Time single lookups."""
    choice = random.Random(1)
    for name, ids in (
        ("there", [choice.choice(known) for _ in range(count)]),
        ("not there", [f"{choice.getrandbits(128):032x}" for _ in range(count)]),
    ):
        taken = []
        for id in ids:
            begun = time.perf_counter()
            rows = request_files.find(folder, id)
            taken.append((time.perf_counter() - begun) * 1000)
            assert len(rows) == (name == "there")
        cuts = statistics.quantiles(taken, n=20)
        said = f"{statistics.median(taken):.1f} ms at the median, {cuts[-1]:.1f} ms at the 95th percentile"
        print(f"an id that is {name}: {said}, the first {taken[0]:.1f} ms")


if __name__ == "__main__":
    main()
