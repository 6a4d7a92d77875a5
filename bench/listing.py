"""Lists of runs under load: GET /apis/v2beta1/runs, 10 newest first of one experiment, specs of 20 KB each.

    python bench/listing.py [--runs 100000] [--seconds 10] [--rate 200]

The record holds that many runs in ten experiments and a thousand pipelines of 20 KB, which the answers
carry. The server is one process on one core (uvloop and httptools, as `tuneline up` has it), the client
another on the other core. First calls come at a fixed rate, each timed from when it was due; then as fast
as four connections go. `deep` asks for a page from the middle of the list by page token.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import queue
import socket
import statistics
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from urllib.parse import urlencode

import uvicorn
from sqlalchemy import insert

from tuneline.actions import Platform
from tuneline.actions.ports import Server
from tuneline.plan.listing import parse
from tuneline.record.record import Record
from tuneline.record.run_lists import FIELDS
from tuneline.record.schema import experiments, pipelines, run_counts, runs
from tuneline.web import create_app

RATE, P95_S = 200, 0.050
GROUPS, SPECS, SPEC_BYTES = 10, 1000, 20_000


def fill(url: str, count: int) -> tuple[str, dict]:
    """Write the record; the experiment that is asked for, and its middle row."""
    record = Record(url)
    record.migrate()
    groups = [str(uuid.UUID(int=n + 1)) for n in range(GROUPS)]
    with record.runs._store.write() as db:
        db.execute(insert(experiments), [
            {"id": id, "name": f"e{n}", "name_key": f"e{n}", "description": "", "storage_state": "AVAILABLE",
             "is_default": 0, "created_at": 0.0} for n, id in enumerate(groups)])  # fmt: skip
        db.execute(insert(pipelines), [{"digest": f"sha256:{n}", "ir": spec(n)} for n in range(SPECS)])
        for first in range(0, count, 5000):
            db.execute(insert(runs), [row(n, groups) for n in range(first, min(count, first + 5000))])
        each = [{"experiment": id, "storage_state": "AVAILABLE", "n": count // GROUPS} for id in groups]
        db.execute(insert(run_counts), each)
    record.close()
    middle = count // 2 // GROUPS * GROUPS
    return groups[0], row(middle, groups)


def spec(n: int) -> dict:
    """A pipeline of 20 KB; no two are alike."""
    source = f"def step_{n}(): pass\n" * (SPEC_BYTES // 30)
    body = {"pipelineInfo": {"name": f"p{n}"}, "schemaVersion": "2.1.0", "root": {"dag": {"tasks": {}}}}
    return body | {"deploymentSpec": {"executors": {"e": {"container": {"image": "x", "args": [source]}}}}}


def row(n: int, groups: list[str]) -> dict:
    """A run that has ended."""
    at = 1_700_000_000.0 + n
    history = [{"at": at + s, "state": state} for s, state in enumerate(("PENDING", "RUNNING", "SUCCEEDED"))]
    return {
        "id": str(uuid.UUID(int=n + 1000)), "ordinal": n + 1, "name": f"run-{n}", "project": "",
        "pipeline": f"sha256:{n % SPECS}", "parameters": {"lr": 0.1, "n": n}, "project_text": "",
        "project_path": "", "project_digest": "", "state": "FAILED" if n % 7 == 0 else "SUCCEEDED",
        "created_at": at, "started_at": at + 1, "finished_at": at + 2, "last_seq": 3, "lease_token": 1,
        "display_name": f"run {n}", "description": "", "experiment": groups[n % GROUPS],
        "storage_state": "AVAILABLE", "pipeline_id": "", "pipeline_version_id": "", "service_account": "",
        "pipeline_root": "", "scheduled_at": at, "recurring_run": "", "history": history,
    }  # fmt: skip


def serve(url: str, listening: socket.socket) -> None:
    """The server, on core 0."""
    os.sched_setaffinity(0, {0})
    record = Record(url)
    home = Path(tempfile.gettempdir())
    platform = Platform(record, None, Server("127.0.0.1", 0, 1, home, "0", 0.0, "bench"), lambda all: None)
    config = uvicorn.Config(
        create_app(platform),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        log_config=None,
        access_log=False,
    )
    uvicorn.Server(config).run(sockets=[listening])


def at_rate(port: int, path: str, rate: float, seconds: float) -> list[float]:
    """Seconds from when a call was due to its last byte; 8 connections take what is due."""
    due: queue.Queue = queue.Queue()
    took: list[float] = []

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while (at := due.get()) is not None:
            time.sleep(max(0.0, at - time.perf_counter()))
            ask(connection, path)
            took.append(time.perf_counter() - at)

    begin = time.perf_counter() + 0.2
    for n in range(int(rate * seconds)):
        due.put(begin + n / rate)
    run_threads(work, due, 8)
    return took


def flat_out(port: int, path: str, seconds: float) -> float:
    """Calls a second of four connections."""
    done, end = [], time.perf_counter() + seconds

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while time.perf_counter() < end:
            ask(connection, path)
            done.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(done) / (time.perf_counter() - begin)


def run_threads(work, due: queue.Queue, count: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        due.put(None)
        thread.start()
    for thread in threads:
        thread.join()


def ask(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, body[:500]
    return body


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=RATE)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuneline-bench-") as folder:
        url = f"sqlite:///{folder}/tuneline.db"
        group, middle = fill(url, options.runs)
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        server = multiprocessing.get_context("fork").Process(target=serve, args=(url, listening))
        server.start()
        listening.close()
        try:
            os.sched_setaffinity(0, {1})
            return measure(port, group, middle, options)
        finally:
            server.terminate()
            server.join()


def measure(port: int, group: str, middle: dict, options: argparse.Namespace) -> int:
    newest = {"experiment_id": group, "page_size": 10, "sort_by": "created_at desc"}
    token = parse(FIELDS, sort_by="created_at desc").token(middle["created_at"], middle["id"])
    failed = {"predicates": [{"operation": 1, "key": "state", "stringValue": "FAILED"}]}
    asks = {
        "newest": newest,
        "deep": newest | {"page_token": token},
        "all experiments": {key: value for key, value in newest.items() if key != "experiment_id"},
        "state = FAILED": newest | {"filter": json.dumps(failed)},
    }
    good = True
    print(f"{options.runs} runs; {options.rate:.0f} calls a second, then flat out")
    for name, query in asks.items():
        path = "/apis/v2beta1/runs?" + urlencode(query)
        body = ask(http.client.HTTPConnection("127.0.0.1", port), path)
        shown = json.loads(body)
        assert len(shown["runs"]) == 10, shown
        took = at_rate(port, path, options.rate, options.seconds)
        calls = flat_out(port, path, options.seconds / 2)
        p95 = statistics.quantiles(took, n=20)[-1]
        print(
            f"{name:16} total {shown['total_size']:7} {len(body) / 1024:4.0f} KB"
            f"   median {statistics.median(took) * 1000:5.1f} ms   p95 {p95 * 1000:5.1f}"
            f"   worst {max(took) * 1000:6.1f}   flat out {calls:4.0f}/s"
        )
        good = good and p95 < P95_S and calls > RATE
    print(f"limit: p95 under {P95_S * 1000:.0f} ms, {RATE} calls a second: {'kept' if good else 'MISSED'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
