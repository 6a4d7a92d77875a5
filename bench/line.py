"""The whole line: how long it takes, how much of that is the line's own, and how long when nothing changed.

`python bench/line.py [PROJECT]`, in a new home that it removes. The line's own time is the wall time without
the stretches in which a model works, as the tasks say them: the training loop (`tune`), forward passes
(`score`), and both sides answering (`verify`). Loading, converting, imports and all else is the line's own.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tuneline.client import Client

EXAMPLE = Path(__file__).parent.parent / "examples" / "movie-reviews"
WORKING = ("tune", "score", "evaluate", "verify")
"""Tasks in which a model works."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", nargs="?", default=str(EXAMPLE))
    parser.add_argument("--again", type=int, default=5, help="how often it is run unchanged")
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(prefix="tuneline-bench-") as home:
        env = os.environ | {"TUNELINE_HOME": home}
        try:
            measure(options.project, options.again, env)
        finally:
            subprocess.run([sys.executable, "-m", "tuneline", "down"], env=env, capture_output=True)


def measure(project: str, again: int, env: dict[str, str]) -> None:
    wall, first = run(project, env, (0,))
    where = json.loads((Path(env["TUNELINE_HOME"]) / "server.json").read_text())["url"]
    with Client(where) as client:
        worked = union([span for task in WORKING for span in spans(client, first["run"], task)])
        tasks = client.run(first["run"])["tasks"]
    for task in tasks:
        print(f"  {task['name']:10} {task['seconds']:7.1f} s")
    candidate = first["metrics"]["candidate"]["accuracy"]
    print(
        f"first run: {wall:.1f} s, accuracy {candidate:.4f} (base {first['metrics']['base']['accuracy']:.4f})"
    )
    print(f"  a model works {worked:.1f} s of it; the line's own time: {wall - worked:.1f} s (limit 30)")
    took = []
    for _ in range(again):
        wall, body = run(project, env, (6,))
        ran = [task["name"] for task in body["tasks"] if task["state"] == "SUCCEEDED"]
        took.append(wall)
        print(f"nothing changed: {wall:.2f} s (limit 2); ran: {', '.join(ran)}")
    print(f"nothing changed, median of {again}: {sorted(took)[again // 2]:.2f} s")


def run(project: str, env: dict[str, str], codes: tuple[int, ...]) -> tuple[float, dict[str, object]]:
    """Seconds of `tuneline run --json` from its start to its end, and the object it printed."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "tuneline", "run", project, "--json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    took = time.perf_counter() - began
    if done.returncode not in codes:
        sys.exit(f"tuneline run ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return took, json.loads(done.stdout)


def spans(client: Client, run: str, task: str) -> list[tuple[float, float]]:
    """When a model worked in a task, Unix seconds."""
    found, after = [], 0
    while True:
        answer = client.series(run, task, after)
        found += [(point["from"], point["to"]) for point in answer["points"] if point["type"] == "worked"]
        if answer["next"] == after:
            return found
        after = answer["next"]


def union(spans: list[tuple[float, float]]) -> float:
    """Seconds covered by any of the spans."""
    total, reached = 0.0, 0.0
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


if __name__ == "__main__":
    main()
