"""What tuneline adds to Airflow: the time to make a DAG when its file is parsed, and to a task that does
nothing.

Budgets: 50 ms a DAG once the modules are there; 100 ms more than Airflow's own BashOperator for a task whose
command is `true`. Both kinds of task run by turns in one `dag.test()`; a task's time is from its start to its
end in Airflow's own record, and beside it stands the processor time of its children, which other work on the
machine does not stretch. Needs `.venv-airflow` (or TUNELINE_TEST_AIRFLOW_PYTHON).
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHON = Path(os.environ.get("TUNELINE_TEST_AIRFLOW_PYTHON") or ROOT / ".venv-airflow" / "bin" / "python")
TASKS = 20
INSIDE = r"""
import json, sys, time
from pathlib import Path
folder, tasks = Path(sys.argv[1]), int(sys.argv[2])
begin = time.perf_counter()
from tuneline_airflow.dag import pipeline_dag
imported = time.perf_counter() - begin
loaded = [name for name in ("pandas", "torch", "kfp") if name in sys.modules]
made = []
for _ in range(20):
    begin = time.perf_counter()
    pipeline_dag(folder / "dags" / "movie_reviews.json", executor="process", root=str(folder / "root"))
    made.append(time.perf_counter() - begin)
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
DagBundlesManager().sync_bundles_to_db()
bag = BundleDagBag(dag_folder=str(folder / "dags"), bundle_path=folder / "dags", bundle_name="dags-folder")
sync_bag_to_db(bag, "dags-folder", None)
import resource, airflow.sdk
busy = {}
def measured(kind, execute):
    def call(self, context):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = time.process_time()
        try:
            return execute(self, context)
        finally:
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            children = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            busy.setdefault(kind, []).append((time.process_time() - own, children))
    return call
from airflow.providers.standard.operators.bash import BashOperator
from tuneline_airflow.process import ProcessOperator
ProcessOperator.execute = measured("ours", ProcessOperator.execute)
BashOperator.execute = measured("bash", BashOperator.execute)
run = bag.dags["noop"].test()
took = {}
for each in run.get_task_instances():
    assert str(each.state) == "success", each
    took.setdefault(each.task_id.partition("-")[0], []).append(each.duration)
Path(sys.argv[3]).write_text(json.dumps({"imported": imported, "loaded": loaded, "made": made, "took": took,
                                         "busy": busy}))
"""
NOOP = """
from airflow.providers.standard.operators.bash import BashOperator
from tuneline_airflow.dag import pipeline_dag
tasks = {{}}
for number in range({tasks}):
    before = ["ours-%d" % (number - 1)] if number else []
    tasks["ours-%d" % number] = {{"componentRef": {{"name": "c"}}, "dependentTasks": before}}
container = {{"image": "alpine", "command": ["true"]}}
ir = {{"pipelineInfo": {{"name": "noop"}}, "schemaVersion": "2.1.0", "root": {{"dag": {{"tasks": tasks}}}},
      "components": {{"c": {{"executorLabel": "e"}}}},
      "deploymentSpec": {{"executors": {{"e": {{"container": container}}}}}}}}
dag = pipeline_dag(ir, executor="process", root={root!r})
for number in range({tasks}):
    theirs = BashOperator(task_id="bash-%d" % number, bash_command="true", dag=dag)
    theirs.set_upstream(dag.task_dict["ours-%d" % number])
    if number + 1 < {tasks}:
        theirs.set_downstream(dag.task_dict["ours-%d" % (number + 1)])
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dags = folder / "dags"
        tool = [sys.executable, "-m", "tuneline", "export", "airflow", str(ROOT / "examples/movie-reviews")]
        subprocess.run([*tool, "-o", str(dags), "--executor", "process"], check=True, capture_output=True)
        (dags / "noop.py").write_text(NOOP.format(tasks=TASKS, root=str(folder / "root")))
        env = {
            **os.environ,
            "AIRFLOW_HOME": name,
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            "PYTHONPATH": ":".join(
                str(ROOT / "packages" / each / "src") for each in ("tuneline-ir", "tuneline-airflow")
            ),
            "TUNELINE_PYTHON": os.environ.get("TUNELINE_PYTHON", sys.executable),
            "TUNELINE_IMAGES": "host",
            "TUNELINE_ROOT": str(folder / "root"),
        }
        subprocess.run(
            [str(PYTHON), "-m", "airflow", "db", "migrate"], env=env, check=True, capture_output=True
        )
        words = [str(PYTHON), "-c", INSIDE, name, str(TASKS), str(folder / "out.json")]
        subprocess.run(words, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        found = json.loads((folder / "out.json").read_text())
    made = statistics.median(found["made"])
    ours, theirs = (statistics.median(found["took"][kind]) for kind in ("ours", "bash"))
    print(f"import of tuneline_airflow.dag, Airflow's own modules with it: {found['imported']:.2f} s")
    print(f"loaded that need not be: {', '.join(found['loaded']) or 'none of pandas, torch, kfp'}")
    print(f"movie-reviews becomes a DAG: median {made * 1e3:.1f} ms (limit 50)")
    print(f"a task that does nothing: ours {ours:.3f} s, BashOperator {theirs:.3f} s")
    for kind, name in (("ours", "ours"), ("bash", "BashOperator")):
        own, children = (statistics.median(each) for each in zip(*found["busy"][kind], strict=True))
        said = f"the operator {own * 1e3:.0f} ms, its process {children * 1e3:.0f} ms"
        print(f"  processor time of {name}: {said}")
    print(f"we add {(ours - theirs) * 1e3:.0f} ms (limit 100)")
    return made > 0.05 or ours - theirs > 0.1 or bool(found["loaded"])


if __name__ == "__main__":
    sys.exit(main())
