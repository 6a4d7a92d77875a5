"""How long `tuneline --help` takes, from start to end of the process, beside a Python that does nothing.

The budget is 0.15 s. Median and worst of 15 starts each, interleaved, after one that warms the disk's cache;
processor time beside wall time, which other work on the machine stretches.
"""

import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "tuneline --help": [str(Path(sys.executable).with_name("tuneline")), "--help"],
    "tuneline run --help": [str(Path(sys.executable).with_name("tuneline")), "run", "--help"],
    "tuneline config-schema": [str(Path(sys.executable).with_name("tuneline")), "config-schema"],
}
BUDGET_S = 0.15


def main() -> int:
    took: dict[str, list[float]] = {name: [] for name in COMMANDS}
    busy: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(16):
        for name, command in COMMANDS.items():
            begin, before = time.perf_counter(), processor_s()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            if turn:
                took[name].append(time.perf_counter() - begin)
                busy[name].append(processor_s() - before)
    for name, times in took.items():
        processor = statistics.median(busy[name])
        print(
            f"{name:24} median {statistics.median(times):.3f} s   worst {max(times):.3f} s   "
            f"processor {processor:.3f} s"
        )
    median = statistics.median(took["tuneline --help"])
    print(f"budget of --help: {BUDGET_S} s, {'kept' if median < BUDGET_S else 'EXCEEDED'}")
    return median >= BUDGET_S


def processor_s() -> float:
    """Processor time of all children that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
