"""How a pod stands, from statuses as Kubernetes gives them."""

import pytest
from tests.airflow.statuses import (
    AT_WORK,
    DONE,
    PENDING,
    RESULT,
    RUNNING,
    SAVING,
    SHUT_DOWN,
    ended,
    failed,
    status,
    told,
    waiting,
)  # fmt: skip

from tuneline_airflow import reasons
from tuneline_airflow.reasons import How, stuck

SPEC = {"containers": [{"name": "base", "resources": {"limits": {"memory": "8Gi"}}}]}
ERROR = {"message": "No row has anything to learn.", "hint": "Raise train.max_length.", "retry": False}


def standing(body):
    return reasons.ended({"spec": SPEC, "status": body})


@pytest.mark.parametrize("body", [PENDING, AT_WORK, SAVING, {}, status("Unknown")])
def test_a_pod_runs_until_its_phase_says_otherwise(body):
    """Also while the outputs are still on their way: the task's container has ended, the pod has not."""
    assert standing(body).how is How.RUNNING


def test_a_pod_is_done_when_its_task_is_and_its_outputs_are_in_the_bucket():
    assert standing(DONE).how is How.DONE
    assert standing(DONE).message["result"] == RESULT
    took = told(ok=False, error={"message": "The bucket refuses it.", "hint": "Log in.", "retry": False})
    found = standing(status("Succeeded", ended(0), took, ended(0)))
    assert (found.how, found.retry) == (How.FAILED, False)
    assert found.reason == "its outputs did not reach the bucket: The bucket refuses it. Log in."
    killed = standing(status("Succeeded", ended(0), ended(137), ended(0)))
    assert killed.how is How.FAILED
    assert "upload_time" in killed.reason
    assert "exit code 137" in killed.reason


LOST = {
    "node shutdown": SHUT_DOWN,
    "pressure": failed(ended(137), reason="Evicted", message="The node was low on resource: memory."),
    "preempted": failed(
        ended(143),
        conditions=[{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}],
    ),
    "node gone": failed(
        None, conditions=[{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC"}]
    ),
    "no room": {"phase": "Failed", "reason": "OutOfcpu", "message": "Node didn't have enough resource: cpu"},
}


@pytest.mark.parametrize("name", LOST)
def test_a_pod_that_its_node_took_along_is_lost(name):
    assert standing(LOST[name]).how is How.LOST
    assert standing(LOST[name]).reason


def test_a_task_that_was_done_before_its_node_went_is_done():
    body = status("Failed", ended(0), told(ok=True, result=RESULT), ended(0), reason="Terminated")
    assert standing(body).how is How.DONE


FAILED = {
    "exit code 3\nno such column": (failed(ended(3, "no such column\n", reason="Error")), True),
    "signal 11": (failed(ended(139, signal=11)), True),
    "out of memory (it may have 8Gi)": (failed(ended(137, reason="OOMKilled")), True),
    "anything to learn. Raise train.max_length.": (
        failed(ended(1), told(ok=True, result={**RESULT, "error": ERROR})),
        False,
    ),
    "Raise on.kubernetes.disk": (
        failed(
            ended(137),
            reason="Evicted",
            message='Usage of EmptyDir volume "tuneline" exceeds the limit "20Gi".',
        ),
        True,
    ),
    "raise on.kubernetes.timeout": (failed(ended(137), reason="DeadlineExceeded"), True),
    "inputs could not be brought: s3://a is not there.": (
        status(
            "Failed", None, None, told(ok=False, error={"message": "s3://a is not there.", "retry": False})
        ),
        False,
    ),
    "inputs could not be brought: exit code 2\nno such command": (
        status("Failed", None, None, ended(2, "no such command")),
        True,
    ),
    "the pod failed: no reason is given": ({"phase": "Failed"}, True),
}


@pytest.mark.parametrize("words", FAILED)
def test_a_pod_that_failed_says_why_and_what_to_do(words):
    body, retry = FAILED[words]
    found = standing(body)
    assert found.how is How.FAILED
    assert words in found.reason
    assert found.retry is retry


# Not begun


def why(body, waited_s=10.0, limit_s=1800.0):
    return stuck({"status": body}, waited_s, limit_s)


UNSCHEDULABLE = {
    "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
    "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
}  # fmt: skip


def test_a_pod_without_a_node_waits_as_long_as_it_may():
    body = status("Pending", conditions=[UNSCHEDULABLE])
    assert why(body, 1799) == ""
    assert why(body, 1800) == (
        "no node took the pod within 1800 s: Unschedulable. "
        "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    )


def test_bringing_inputs_is_no_waiting():
    assert why(status("Pending", waiting("PodInitializing"), None, RUNNING), 5000) == ""
    creating = status("Pending", waiting("ContainerCreating"), RUNNING, ended(0))
    assert "`base` waits: ContainerCreating" in why(creating, 1800)
    assert why(AT_WORK, 5000) == why({}, 10) == ""


@pytest.mark.parametrize("place", ["base", "bring"])
def test_an_image_that_does_not_come_is_given_time_and_one_that_cannot_is_not(place):
    def pulling(reason):
        return status("Pending", **{place: waiting(reason, 'Back-off pulling image "a:b"')})

    assert f"container `{place}` cannot start: InvalidImageName" in why(pulling("InvalidImageName"), 0)
    assert why(pulling("ImagePullBackOff"), reasons.PULL_S - 1) == ""
    assert "image_pull_secrets" in why(pulling("ImagePullBackOff"), reasons.PULL_S)
    assert why(pulling("ErrImagePull"), 20, limit_s=20)


def test_a_missing_secret_and_a_root_image_are_named():
    missing = status("Pending", waiting("CreateContainerConfigError", 'secret "huggingface" not found'))
    assert why(missing, reasons.CONFIG_S - 1) == ""
    assert 'secret "huggingface" not found' in why(missing, reasons.CONFIG_S)
    words = "container has runAsNonRoot and image will run as root"
    assert "run_as_user" in why(status("Pending", waiting("CreateContainerConfigError", words)), 60)
