"""Real Airflow runs tasks as pods; kmock stands for the API server. One process for all: 30 s, of which 15
import Airflow and make its database."""

import base64
import hashlib
import json
import subprocess
import zlib

import kubernetes_validate
import pytest
from tests.airflow.statuses import (
    AT_WORK,
    DONE,
    PENDING,
    RESULT,
    SAVING,
    SHUT_DOWN,
    ended,
    failed,
    pipeline,
    status,
    told,
    waiting,
)  # fmt: skip
from tests.airflow.world import PYTHON, airflow, environment
from tests.kubeflow import ROOT

pytestmark = pytest.mark.slow

ON = {"image": "registry.example/tuneline@sha256:abc"}
LONG = {**RESULT, "files": {"rows": "7"}, "values": {"text": "long " * 1000}}


def case(*pods, retries=0, on=None, options=None, **more):
    return {
        "ir": pipeline(retries), "on": {"work": {**ON, **(on or {})}}, "options": options or {},
        "pods": list(pods), **more,
    }  # fmt: skip


def printed(result, torn=False):
    text = json.dumps(result).encode()
    packed = base64.b64encode(zlib.compress(text)).decode()
    half = len(packed) // 2
    lines = [f"tuneline-result 0 {packed[:half]}", f"tuneline-result 1 {packed[half:]}"]
    message = {"ok": True, "lines": 2, "sha256": hashlib.sha256(b"other" if torn else text).hexdigest()}
    pod = status("Succeeded", ended(0), told(**message), ended(0))
    return {"pod": [AT_WORK, pod], "log": "\n".join(["checkpoint 10", *lines, ""])}


STEP_ERROR = {"message": "No row has anything to learn.", "hint": "Raise train.max_length.", "retry": False}
WHY = "0/3 nodes: no gpu."
REFUSED = {"message": "Refused.", "retry": False}
UNSCHEDULABLE = status(
    "Pending",
    conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": WHY}],
)
CASES = {
    "good": case([PENDING, AT_WORK, SAVING, DONE], logs={"base": "epoch 1\n"}),
    "worker": case([PENDING, AT_WORK, AT_WORK, SAVING, DONE], options={"deferrable": False}),
    "expired": case([PENDING, "expired", AT_WORK, DONE], options={"deferrable": False}),
    "long": case(printed(LONG)["pod"], logs={"take": printed(LONG)["log"]}),
    "torn": case(printed(LONG, torn=True)["pod"], logs={"take": printed(LONG)["log"]}),
    "adopted": case([AT_WORK, DONE], adopted=True),
    "adopted-late": case([SAVING, SAVING, DONE], adopted=True, seen=SAVING),
    "kept": case([DONE], adopted=True, seen=DONE, options={"on_finish_action": "keep_pod"}),
    "evicted": case([AT_WORK, SHUT_DOWN], [AT_WORK, SHUT_DOWN], [AT_WORK, DONE]),
    "evicted-worker": case([AT_WORK, SHUT_DOWN], [AT_WORK, DONE], options={"deferrable": False}),
    "gone": case([AT_WORK, AT_WORK, None], [AT_WORK, DONE]),
    "lost": case([AT_WORK, SHUT_DOWN], [AT_WORK, SHUT_DOWN], on={"spot_retries": 1}),
    "crash": case([AT_WORK, failed(ended(3, "no such column"))], [AT_WORK, DONE], retries=1),
    "refused": case(
        [AT_WORK, failed(ended(1), told(ok=True, result={**RESULT, "error": STEP_ERROR}))], retries=1
    ),
    "memory": case([AT_WORK, failed(ended(137, reason="OOMKilled"))], on={"limits": {"memory": "8Gi"}}),
    "pending": case([UNSCHEDULABLE], on={"startup_timeout": 1.0}),
    "image": case([status("Pending", waiting("InvalidImageName", "invalid reference"))]),
    "bucket": case([AT_WORK, status("Succeeded", ended(0), told(ok=False, error=REFUSED), ended(0))]),
    "unsaid": {**case(), "on": {}},
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    home = tmp_path_factory.mktemp("airflow")
    env = environment(home, DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST="[]", LOGGING__LOGGING_LEVEL="WARNING")
    env["PYTHONPATH"] += f":{ROOT}"
    airflow(env, "db", "migrate")
    (home / "cases.json").write_text(json.dumps(CASES))
    files = [str(home / "cases.json"), str(home / "out.json")]
    command = [str(PYTHON), "-m", "tests.airflow.running_pods", *files]
    done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads((home / "out.json").read_text())


def task(ran, name):
    assert "run" in ran[name], ran[name]
    return next(each for each in ran[name]["run"]["tasks"] if each["name"] == "work")


def losses(ran, name):
    return [each["metadata"]["labels"]["tuneline/loss"] for each in ran[name]["pods"]]


@pytest.mark.parametrize("name", ["good", "worker", "expired", "long", "adopted", "adopted-late"])
def test_a_pod_that_did_its_work_gives_its_outputs(ran, name):
    found = task(ran, name)
    assert (found["state"], found["attempts"]) == ("SUCCEEDED", 1)
    assert found["outputs"]["parameters"] == {"rows": 7}
    [model] = found["outputs"]["artifacts"]["model"]
    assert (model["uri"], model["metadata"]) == ("s3://lines/model", {"r": 8})
    assert len(ran[name]["pods"]) == len(ran[name]["deleted"]) == 1


def test_a_pod_that_had_ended_before_it_was_watched_gives_its_outputs(ran):
    found = task(ran, "kept")
    assert (found["state"], found["outputs"]["parameters"]) == ("SUCCEEDED", {"rows": 7})
    assert (len(ran["kept"]["pods"]), ran["kept"]["deleted"]) == (1, [])


def test_what_is_sent_is_what_kubernetes_takes(ran):
    for name in ("good", "evicted"):
        for pod in ran[name]["pods"]:
            kubernetes_validate.validate(pod, "1.36", strict=True)
            assert [each["name"] for each in pod["spec"]["initContainers"]] == ["bring", "take"]
            assert pod["spec"]["initContainers"][1]["restartPolicy"] == "Always"
            assert len(pod["spec"]["containers"]) == 1
            assert pod["spec"]["containers"][0]["terminationMessagePolicy"] == "FallbackToLogsOnError"
            assert pod["spec"]["securityContext"]["runAsNonRoot"] is True


def test_a_pod_is_looked_for_before_one_is_made_and_found_by_its_labels(ran):
    labels = ran["good"]["pods"][0]["metadata"]["labels"]
    wanted = dict(part.split("=") for part in ran["good"]["selectors"][0].split(",") if "!" not in part)
    assert wanted.items() <= labels.items()
    assert {"tuneline/dag", "tuneline/run", "tuneline/task", "tuneline/attempt"} <= set(wanted)
    assert [each["metadata"]["name"] for each in ran["adopted"]["pods"]] == ["adopted"]


@pytest.mark.parametrize("name, pods", [("evicted", 3), ("evicted-worker", 2), ("gone", 2)])
def test_a_pod_lost_with_its_node_is_made_again_in_the_same_attempt(ran, name, pods):
    found = task(ran, name)
    assert (found["state"], found["attempts"]) == ("SUCCEEDED", 1)
    assert losses(ran, name) == [str(number) for number in range(pods)]
    orders = [json.loads(each["spec"]["initContainers"][0]["args"][1]) for each in ran[name]["pods"]]
    assert len({each["checkpoints"]["uri"] for each in orders}) == 1
    assert [each["checkpoints"]["who"] for each in orders] == [f"1-{number}" for number in range(pods)]


def test_it_is_not_made_again_for_ever(ran):
    found = task(ran, "lost")
    assert (found["state"], found["attempts"]) == ("FAILED", 1)
    assert "lost 2 times, and may be 1 times" in found["error"]["message"]
    assert "imminent node shutdown" in found["error"]["message"]


def test_a_failure_of_its_own_uses_up_a_try(ran):
    found = task(ran, "crash")
    assert (found["state"], found["attempts"]) == ("SUCCEEDED", 2)
    assert losses(ran, "crash") == ["0", "0"]
    assert [each["metadata"]["labels"]["tuneline/attempt"] for each in ran["crash"]["pods"]] == ["1", "2"]


@pytest.mark.parametrize(
    "name, said",
    [
        ("refused", "No row has anything to learn. Raise train.max_length."),
        ("memory", "it ran out of memory (it may have 8Gi)"),
        ("pending", "no node took the pod within 1 s: Unschedulable. 0/3 nodes: no gpu."),
        ("image", "container `base` cannot start: InvalidImageName. invalid reference"),
        ("bucket", "its outputs did not reach the bucket: Refused."),
        ("torn", "its result is torn"),
        ("unsaid", "`on.kubernetes.image` is not set"),
    ],
)
def test_a_pod_that_cannot_is_one_failure_with_its_reason(ran, name, said):
    found = task(ran, name)
    assert (found["state"], found["attempts"]) == ("FAILED", 1)
    assert said in found["error"]["message"]
    assert len(ran[name]["pods"]) == len(ran[name]["deleted"]) == (0 if name == "unsaid" else 1)
