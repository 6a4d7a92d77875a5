"""The local runner's own time: one no-op step, 200 independent tasks, and the scheduler up to 5,000 tasks.

Real child processes and the real record on SQLite. Beside the no-op step, `kfp.local` runs the like if `kfp`
is installed in this interpreter; if not, that is said. The start of a bare interpreter is the floor.

    python bench/runner.py [--json]
"""

import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tuneline.execute.images import Call, Program
from tuneline.execute.runner import Runner
from tuneline.plan.events import AttemptStarted, Event, Outputs, RunStarted, TaskSucceeded
from tuneline.plan.schedule import Plan, RunState, decide
from tuneline.record.record import Record
from tuneline.record.runs import NewRun
from tuneline.settings import Settings
from tuneline.types import RunId
from tuneline_ir import Container, RetryPolicy

BUDGET_MS = 60.0
NOOP = """
import json, os
from tuneline.steps.io import Step

def main(executor_input):
    step = Step.parse(executor_input, os.environ)
    step.set("out", step.parameters["x"])
    step.finish()
    return 0
"""
KFP = """
import tempfile, time
from kfp import dsl, local

local.init(local.SubprocessRunner(use_venv=False), pipeline_root=tempfile.mkdtemp())

@dsl.component
def noop(x: str) -> str:
    return x

begin = time.perf_counter()
noop(x="1")
print("SECONDS", time.perf_counter() - begin)
"""


class Noop:
    """The image of one step that passes a parameter on, run as our own steps are: in a fork of the shim."""

    def faults(self, container: Container) -> list[str]:
        return []

    def digest(self, container: Container) -> str:
        return "noop"

    def program(self, call: Call) -> Program:
        return Program(entry="noop_step:main", args=tuple(call.words))


def noop_pipeline(count: int) -> dict[str, Any]:
    """IR of `count` tasks that do not wait for each other."""
    text = {"parameterType": "STRING"}
    task = {
        "componentRef": {"name": "comp"},
        "inputs": {"parameters": {"x": {"runtimeValue": {"constant": "1"}}}},
    }
    return {
        "pipelineInfo": {"name": "noop"},
        "components": {
            "comp": {
                "executorLabel": "exec",
                "inputDefinitions": {"parameters": {"x": text}},
                "outputDefinitions": {"parameters": {"out": text}},
            }
        },
        "deploymentSpec": {"executors": {"exec": {"container": {"image": "noop", "command": ["{{$}}"]}}}},
        "root": {"dag": {"tasks": {f"t{n}": task for n in range(count)}}},
        "schemaVersion": "2.1.0",
    }


class Bench:
    """A runner over a record in a folder of its own."""

    def __init__(self, home: Path) -> None:
        (home / "code").mkdir()
        (home / "code" / "noop_step.py").write_text(NOOP)
        self.settings = Settings(home=home, task_slots=os.cpu_count() or 1)
        self.record = Record(self.settings.database_url)
        self.record.migrate()
        runs = self.record.runs
        env = {**os.environ, "PYTHONPATH": str(home / "code")}
        self.runner = Runner(runs, runs, runs, self.settings, env=env, images={"noop": Noop()})
        self.runner.start_thread()

    def run(self, name: str, count: int) -> float:
        """Seconds of one run of `count` tasks, from `start` to its end on record."""
        ir, run = noop_pipeline(count), RunId(name)
        self.record.runs.create(NewRun(run, name, "noop", ir, {}), time.time())
        begin = time.perf_counter()
        self.runner.start(run, ir, {}, self.record.runs.lease(run))
        if not self.runner.wait(300):
            raise SystemExit("the run did not end")
        seconds = time.perf_counter() - begin
        state = self.record.runs.get(run)["state"]
        if state != "SUCCEEDED":
            raise SystemExit(f"run {run} is {state}")
        return seconds

    def close(self) -> None:
        self.runner.stop()
        self.record.close()


def scheduler_ms(count: int) -> float:
    """Milliseconds for the schedule alone to bring `count` tasks in a wide graph from start to end."""
    names = [f"t{n}" for n in range(count)]
    needs = {name: (names[place // 2 - 1],) if place > 1 else () for place, name in enumerate(names)}
    dependents: dict[str, list[str]] = {name: [] for name in names}
    for name, above in needs.items():
        for need in above:
            dependents[need].append(name)
    below = {name: tuple(found) for name, found in dependents.items()}
    state = RunState.new(Plan(needs, below, dict.fromkeys(names, RetryPolicy())))
    begin = time.process_time()
    state.apply(RunStarted())
    while state.ended is None:
        decision = decide(state, 2)
        events: list[Event] = [*decision.events]
        for name in decision.start:
            events += [AttemptStarted(name, 1, 1, 0.0, ""), TaskSucceeded(name, 1, Outputs())]
        for event in events:
            state.apply(event)
    return (time.process_time() - begin) * 1000


def bare_ms(turns: int) -> float:
    """Median milliseconds for a bare interpreter to start and end."""
    took = []
    for _ in range(turns):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        took.append(time.perf_counter() - begin)
    return statistics.median(took) * 1000


def kfp_ms() -> float | None:
    """Median milliseconds of a no-op in `kfp.local`; None without `kfp`."""
    if importlib.util.find_spec("kfp") is None:
        return None
    took = []
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", KFP], capture_output=True, text=True, check=True)
        took.append(float(done.stdout.rpartition("SECONDS")[2].split()[0]))
    return statistics.median(took) * 1000


def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        bench.run("warm", 1)
        noop = [bench.run(f"noop-{n}", 1) * 1000 for n in range(30)]
        before = resource.getrusage(resource.RUSAGE_SELF)
        wide_s = bench.run("wide", 200)
        after = resource.getrusage(resource.RUSAGE_SELF)
        bench.close()
    own_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "noop_ms": {"median": statistics.median(noop), "best": min(noop), "worst": max(noop)},
        "bare_python_ms": bare_ms(15),
        "kfp_local_ms": kfp_ms(),
        "tasks_200": {"seconds": wide_s, "slots": os.cpu_count(), "runner_cpu_ms_a_task": own_s / 200 * 1000},
        "scheduler_ms": {
            count: min(scheduler_ms(count) for _ in range(3)) for count in (500, 1000, 2500, 5000)
        },
    }


def main() -> int:
    found = measure()
    if "--json" in sys.argv:
        print(json.dumps(found))
        return 0
    noop, wide = found["noop_ms"], found["tasks_200"]
    kfp = found["kfp_local_ms"]
    peer = f"{kfp:.0f} ms" if kfp else "not measured: `kfp` is not installed here"
    took = f"median {noop['median']:.1f} ms, best {noop['best']:.1f}, worst {noop['worst']:.1f}"
    print(f"no-op step, a parameter in and out   {took}")
    print(f"a bare interpreter's start           median {found['bare_python_ms']:.1f} ms")
    print(f"kfp.local, the same step             {peer}")
    own = f"the runner's own CPU {wide['runner_cpu_ms_a_task']:.2f} ms a task"
    print(f"200 independent tasks, {wide['slots']} slots       {wide['seconds']:.2f} s; {own}")
    print("the schedule alone:")
    for count, cost in found["scheduler_ms"].items():
        print(f"  {count:>5} tasks  {cost:7.1f} ms  {cost / count * 1000:5.1f} us a task")
    kept = noop["median"] < BUDGET_MS
    print(f"budget of the no-op step: {BUDGET_MS:.0f} ms, {'kept' if kept else 'EXCEEDED'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
