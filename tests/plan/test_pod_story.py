"""What pods say of themselves, as a person should read it."""

from tuneline.plan.pod_story import available, hopeless, is_ready, serving, story

BEGAN, AT = "2026-01-01T00:00:00Z", 1_767_225_600.0


def pod(name="p-0", waiting="", message="", restarts=0, ready=False, ended=None, scheduled=True):
    state = {"waiting": {"reason": waiting, "message": message}} if waiting else {"running": {}}
    last = {"terminated": {"exitCode": ended[0], "reason": ended[1]}} if ended else {}
    conditions = [{"type": "Ready", "status": str(ready)}]
    if not scheduled:
        text = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
        conditions.append({"type": "PodScheduled", "status": "False", "message": text})
    container = {"name": "vllm", "state": state, "lastState": last, "restartCount": restarts}
    return {
        "metadata": {"name": name},
        "status": {"startTime": BEGAN, "conditions": conditions, "containerStatuses": [container]},
    }


def test_a_pod_that_waits_for_a_node_may_still_get_one():
    waiting = pod(scheduled=False)
    assert not is_ready(waiting)
    assert hopeless([waiting], AT + 10_000, 180) == ""
    assert "3 Insufficient nvidia.com/gpu" in story([waiting], [], "")


def test_what_crashes_again_and_again_or_has_no_image_never_gets_ready():
    assert hopeless([pod(waiting="CrashLoopBackOff", restarts=3)], AT + 1, 180) == "CrashLoopBackOff"
    assert hopeless([pod(waiting="CrashLoopBackOff", restarts=1)], AT + 1, 180) == ""
    assert hopeless([pod(waiting="InvalidImageName")], AT + 1, 180) == "InvalidImageName"
    for passing in ("ImagePullBackOff", "CreateContainerError"):
        assert hopeless([pod(waiting=passing)], AT + 10, 180) == ""
        assert hopeless([pod(waiting=passing)], AT + 200, 180) == passing
    assert hopeless([pod(waiting="CrashLoopBackOff", restarts=3), pod(ready=True)], AT + 1, 180) == ""
    assert hopeless([], AT + 1, 180) == ""


def test_patience_with_an_image_begins_when_the_pod_has_a_node_however_long_that_took():
    late = pod(waiting="ErrImagePull")
    late["status"]["startTime"] = "2026-01-01T00:20:00Z"
    assert hopeless([late], AT + 1_210, 180) == ""
    del late["status"]["startTime"]
    assert hopeless([late], AT + 1_000_000, 180) == ""


def test_the_story_has_codes_warnings_and_the_log_s_end():
    events = [
        {"type": "Normal", "reason": "Pulled", "message": "pulled"},
        {
            "type": "Warning",
            "reason": "FailedMount",
            "message": "no bucket",
            "lastTimestamp": "2026-01-01T00:00:00Z",
        },
    ]
    crashed = pod(waiting="CrashLoopBackOff", message="back-off", restarts=4, ended=(137, "OOMKilled"))
    assert story([crashed], events, "line 1\nline 2\n") == (
        "p-0: vllm waits: CrashLoopBackOff. back-off. p-0: vllm ended with 137, OOMKilled. "
        "FailedMount: no bucket. Its log ends with:\nline 1\nline 2"
    )


def test_a_deployment_is_available_when_what_was_last_asked_of_it_is():
    status = {"observedGeneration": 2, "updatedReplicas": 2, "availableReplicas": 2}
    deployment = {"metadata": {"generation": 2}, "spec": {"replicas": 2}, "status": status}
    assert available(deployment)
    assert not available({**deployment, "metadata": {"generation": 3}})
    assert not available({**deployment, "status": {**status, "availableReplicas": 1}})
    assert not available({**deployment, "status": {}})
    assert not available(None)


def test_a_deployment_serves_while_any_pod_of_it_does():
    growing = {"metadata": {"generation": 3}, "spec": {"replicas": 4}, "status": {"availableReplicas": 1}}
    assert serving(growing)
    assert not available(growing)
    assert not serving({**growing, "status": {"observedGeneration": 3}})
    assert not serving(None)
