"""The local runner's own time: one no-op task of each kind, 200 tasks, and up to 5,000 tasks or iterations.

Real child processes and the real record on SQLite. Beside the Python component, `kfp.local` runs the same, if
the SDK's interpreter is there (`.venv-kfp`, or TUNELINE_TEST_KFP_PYTHON); if not, that is said. The curve is
of runs whose tasks are all taken from the cache: all that a run costs but for the tasks themselves.

    python bench/runner.py [--json]
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuneline.execute import active, attempts
from tuneline.execute.images import Call, Images, MachineImages, Program
from tuneline.execute.runner import Runner
from tuneline.execute.submitted import Submitted
from tuneline.plan.decisions import decide
from tuneline.plan.events import AttemptStarted, CacheHit, Event, Outputs, RunStarted, TaskSucceeded
from tuneline.plan.nodes import Context
from tuneline.plan.schedule import RunState
from tuneline.record.record import Record
from tuneline.record.runs import NewRun
from tuneline.settings import Settings
from tuneline.types import RunId
from tuneline_ir import Container, parse

ROOT = Path(__file__).parents[1]
SDK = Path(os.environ.get("TUNELINE_TEST_KFP_PYTHON") or ROOT / ".venv-kfp" / "bin" / "python")
BUDGET_MS = {"step": 60.0, "component": 80.0, "scheduler": 2.0}
COUNTS = (500, 1000, 2500, 5000)
NOOP = """
import json, os
from tuneline.steps.io import Step

def main(executor_input):
    step = Step.parse(executor_input, os.environ)
    step.set("out", step.parameters["x"])
    step.finish()
    return 0
"""
COMPONENT = """
import json, sys, tempfile, time
from google.protobuf import json_format
from kfp import dsl, local

@dsl.component
def noop(x: str) -> str:
    return x

if sys.argv[1] == "compile":
    print(json.dumps(json_format.MessageToDict(noop.pipeline_spec)))
else:
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=tempfile.mkdtemp())
    for turn in range(6):
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


class Remembered:
    """A cache that has everything."""

    def find(self, key: str) -> CacheHit | None:
        return CacheHit("earlier", "t", Outputs({"out": "1"}))


def pipeline(tasks: Mapping[str, Any], *, cached: bool = False) -> dict[str, Any]:
    """IR of tasks that run the no-op step."""
    text = {"parameterType": "STRING"}
    body = {
        "componentRef": {"name": "comp"},
        "inputs": {"parameters": {"x": {"runtimeValue": {"constant": "1"}}}},
        "cachingOptions": {"enableCache": cached},
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
        "root": {"dag": {"tasks": {name: {**body, **task} for name, task in tasks.items()}}},
        "schemaVersion": "2.1.0",
    }


def shapes(count: int, *, cached: bool = False) -> dict[str, dict[str, Any]]:
    """Pipelines of `count` tasks: side by side, in a row, a tree, and as iterations of one loop."""
    names = [f"t{n}" for n in range(count)]
    row = {name: {"dependentTasks": names[n - 1 : n] if n else []} for n, name in enumerate(names)}
    tree = {name: {"dependentTasks": [names[(n - 1) // 2]] if n else []} for n, name in enumerate(names)}
    items = {"items": {"raw": json.dumps(names)}, "itemInput": "x"}
    return {
        "side by side": pipeline({name: {} for name in names}, cached=cached),
        "in a row": pipeline(row, cached=cached),
        "a tree": pipeline(tree, cached=cached),
        "a loop": pipeline({"loop": {"parameterIterator": items, "inputs": {}}}, cached=cached),
    }


class Bench:
    """A runner over a record in a folder of its own."""

    def __init__(self, home: Path, images: Images | None = None, cache: Remembered | None = None) -> None:
        (home / "code").mkdir(parents=True)
        (home / "code" / "noop_step.py").write_text(NOOP)
        self.settings = Settings(home=home, task_slots=os.cpu_count() or 1, task_env=ROOT / ".venv-task")
        self.record = Record(self.settings.record_url)
        self.record.migrate()
        runs = self.record.runs
        env = {**os.environ, "PYTHONPATH": str(home / "code")}
        known: Images = images or {"noop": Noop()}
        self.runner = Runner(runs, runs, cache or runs, self.settings, env=env, images=known)
        self.runner.start_thread()

    def run(self, name: str, ir: Mapping[str, Any], parameters: Mapping[str, Any] | None = None) -> float:
        """Seconds of one run, from `start` to its end on record."""
        run, given = RunId(name), dict(parameters or {})
        self.record.runs.create(NewRun(run, name, "noop", ir, given), time.time())
        lease = self.record.runs.lease(run)
        begin = time.perf_counter()
        self.runner.start(Submitted(run, ir, given, time.time()), lease)
        if not self.runner.wait(600):
            raise SystemExit("the run did not end")
        seconds = time.perf_counter() - begin
        state = self.record.runs.get(run)["state"]
        if state != "SUCCEEDED":
            raise SystemExit(f"run {run} is {state}")
        return seconds

    def scheduler_s(self) -> float:
        """Processor time of the runner's thread so far: deciding, storing and launching."""
        ident = self.runner._thread.ident
        assert ident is not None
        return time.clock_gettime(time.pthread_getcpuclockid(ident))

    def close(self) -> None:
        self.runner.stop()
        self.record.close()


def schedule_ms(ir: Mapping[str, Any]) -> float:
    """Milliseconds for the schedule alone, without record or processes, to bring a run from start to end."""
    state = RunState.new(Context(parse(ir), {}))
    begin = time.process_time()
    state.apply(RunStarted())
    while state.ended is None:
        decision = decide(state, 2 - len(state.running), 0.0)
        events: list[Event] = [*decision.events]
        for name in decision.start:
            events += [AttemptStarted(name, 1, 1, 0.0, ""), TaskSucceeded(name, 1, Outputs({"out": "1"}))]
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


def sdk(folder: Path, what: str) -> str:
    """What the component's program says, run by the SDK's interpreter, which reads its source."""
    program = folder / "component.py"
    program.write_text(COMPONENT)
    command = [str(SDK), "-W", "ignore", str(program), what]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def component_ms(folder: Path) -> tuple[list[float], float | None]:
    """Milliseconds of a no-op Python component here, thirty times, and the median of it in kfp.local."""
    if not SDK.exists():
        return [], None
    bench = Bench(folder, MachineImages(Settings(home=folder, task_env=ROOT / ".venv-task"), os.environ))
    ir = json.loads(sdk(folder, "compile"))
    bench.run("warm", ir, {"x": "1"})
    took = [bench.run(f"component-{n}", ir, {"x": f"{n}"}) * 1000 for n in range(30)]
    bench.close()
    peers = [float(line.split()[1]) for line in sdk(folder, "run").splitlines() if line.startswith("SECONDS")]
    return took, statistics.median(peers[1:]) * 1000


class Launching:
    """Processor time of making attempts: their folders, inputs and shims. Counts from when it is made."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._begin = attempts.begin
        active.begin = self.begin

    def begin(self, *given: Any) -> attempts.Attempt:
        at = time.thread_time()
        try:
            return self._begin(*given)
        finally:
            self.seconds += time.thread_time() - at


def wide(bench: Bench) -> dict[str, Any]:
    """200 tasks side by side at full slots."""
    launching = Launching()
    before, thread = resource.getrusage(resource.RUSAGE_SELF), bench.scheduler_s()
    seconds = bench.run("wide", shapes(200)["side by side"])
    after, own = resource.getrusage(resource.RUSAGE_SELF), bench.scheduler_s() - thread - launching.seconds
    process = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "seconds": seconds,
        "slots": os.cpu_count(),
        "scheduler_ms_a_task": own / 200 * 1000,
        "launching_ms_a_task": launching.seconds / 200 * 1000,
        "process_ms_a_task": process / 200 * 1000,
    }


def curve(folder: Path) -> dict[str, dict[int, dict[str, float]]]:
    """By shape and count: milliseconds a task of the schedule alone, and of runs without their tasks."""
    bench = Bench(folder, cache=Remembered())
    found: dict[str, dict[int, dict[str, float]]] = {}
    for count in COUNTS:
        for shape, ir in shapes(count, cached=True).items():
            alone = min(schedule_ms(ir) for _ in range(2)) / count
            thread = bench.scheduler_s()
            seconds = bench.run(f"{shape}-{count}".replace(" ", "-"), ir)
            own = (bench.scheduler_s() - thread) * 1000 / count
            cost = {"schedule_ms": alone, "scheduler_ms": own, "run_ms": seconds * 1000 / count}
            found.setdefault(shape, {})[count] = cost
    bench.close()
    return found


def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder, "steps"))
        one = shapes(1)["side by side"]
        bench.run("warm", one)
        steps = [bench.run(f"noop-{n}", one) * 1000 for n in range(30)]
        tasks = wide(bench)
        bench.close()
        component, peer = component_ms(Path(folder, "component"))
        grown = curve(Path(folder, "curve"))
    return {
        "step_ms": spread(steps),
        "component_ms": spread(component),
        "kfp_local_ms": peer,
        "bare_python_ms": bare_ms(15),
        "tasks_200": tasks,
        "curve": grown,
    }


def spread(took: list[float]) -> dict[str, float] | None:
    return {"median": statistics.median(took), "best": min(took), "worst": max(took)} if took else None


def main() -> int:
    found = measure()
    medians = {
        "step": found["step_ms"]["median"],
        "component": (found["component_ms"] or {"median": 0.0})["median"],
        "scheduler": found["tasks_200"]["scheduler_ms_a_task"],
    }
    over = [name for name, limit in BUDGET_MS.items() if medians[name] > limit]
    if "--json" in sys.argv:
        print(json.dumps({**found, "over_budget": over}))
        return 1 if over else 0
    for name, took in (("a step of ours", "step_ms"), ("a Python component", "component_ms")):
        one = found[took]
        text = (
            f"median {one['median']:.1f} ms, best {one['best']:.1f}, worst {one['worst']:.1f}" if one else ""
        )
        print(f"{name:36} {text or f'not measured: there is no kfp SDK at {SDK}'}")
    if found["kfp_local_ms"]:
        print(f"{'kfp.local, the same component':36} median {found['kfp_local_ms']:.1f} ms")
    print(f"{'a bare interpreter':36} median {found['bare_python_ms']:.1f} ms")
    many = found["tasks_200"]
    print(f"{'200 tasks, ' + str(many['slots']) + ' slots':36} {many['seconds']:.2f} s; ", end="")
    print(f"scheduler {many['scheduler_ms_a_task']:.2f} ms a task, launching ", end="")
    print(f"{many['launching_ms_a_task']:.2f}, all of the process {many['process_ms_a_task']:.2f}")
    print("\nms a task: the schedule alone / the scheduler's thread / the whole run, its tasks left out")
    print(f"{'':14}" + "".join(f"{count:>22,}" for count in COUNTS))
    for shape, costs in found["curve"].items():
        cells = (
            f"{c['schedule_ms']:.3f} / {c['scheduler_ms']:.2f} / {c['run_ms']:.2f}" for c in costs.values()
        )
        print(f"{shape:14}" + "".join(f"{cell:>22}" for cell in cells))
    print(f"\nbudgets: {', '.join(f'{n} {ms:.0f} ms' for n, ms in BUDGET_MS.items())}: ", end="")
    print(f"EXCEEDED: {', '.join(over)}" if over else "kept")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
