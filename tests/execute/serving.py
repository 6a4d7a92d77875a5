"""A server's part that matters here: a runner over an event log in a file, until the run has ended.

`python -m tests.execute.serving HOME`. Killed at any time and started again, it goes on.
"""

import os
import sys
from pathlib import Path
from typing import Any

from tests.execute.doubles import EventLog, FunctionImage, pipeline, submitted

from tuneline.execute.images import Call, Program
from tuneline.execute.runner import Runner
from tuneline.settings import Settings
from tuneline.types import RunId


class CountingImage(FunctionImage):
    """Runs `counting_step.main`."""

    def program(self, call: Call) -> Program:
        return Program(entry="counting_step:main", args=tuple(call.words))


def line() -> dict[str, Any]:
    """Four tasks, two of them beside each other."""

    def task(name: str, *reads: str) -> dict[str, Any]:
        read, given = {up: (up, "f") for up in reads}, {"name": name}  # no two tasks have one cache key
        command = ["{{$}}"]
        return {
            "image": "counting",
            "command": command,
            "given": given,
            "read": read,
            "made": ["f"],
            "cached": True,
        }

    return pipeline({"a": task("a"), "b": task("b", "a"), "c": task("c", "a"), "d": task("d", "b", "c")})


def main(home: Path) -> int:
    log = EventLog(home / "events.jsonl")
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    images = {"counting": CountingImage()}
    runner = Runner(log, log, log, Settings(home=home), env=env, images=images)
    runner.start_thread()
    runner.start(submitted(RunId("r1"), line(), {}), log.lease("r1"))
    ended = runner.wait(60)
    runner.stop()
    return 0 if ended else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
