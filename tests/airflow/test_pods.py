"""The pod of an attempt: snapshots, Kubernetes' own schemas, and what each part of it promises."""

import json
from dataclasses import fields, replace

import kubernetes_validate
import pytest
import yaml
from tests.airflow.launches import FULL, IMAGE, LAUNCHES, PLAIN, SNAPSHOTS, STATE, pod, text_of
from tests.kubeflow import ROOT
from tests.pod_security import forbidden

from tuneline.spec.on import Kubernetes
from tuneline_airflow import pods
from tuneline_airflow.launch import Carried
from tuneline_airflow.pods import label_value, labels_of, pod_of


@pytest.mark.parametrize("name", LAUNCHES)
def test_a_pod_is_its_snapshot(name):
    written = (SNAPSHOTS / f"{name}.yaml").read_text()
    assert text_of(pod(name)) == written, "run `python tests/airflow/launches.py`, and look at what changed"


@pytest.mark.parametrize("name", LAUNCHES)
@pytest.mark.parametrize("version", ["1.29", "1.36"])
def test_kubernetes_own_schemas_take_it(name, version):
    kubernetes_validate.validate(json.loads(json.dumps(pod(name))), version, strict=True)


@pytest.mark.parametrize("name", LAUNCHES)
def test_it_meets_the_restricted_standard(name):
    assert forbidden(pod(name)["spec"]) == []


def test_the_disk_that_a_task_has_is_asked_for_unless_another_amount_is():
    """The scheduler does not see an emptyDir; GKE Autopilot lets a container write what it asked for."""
    launch = replace(PLAIN, on={**PLAIN.on, "disk": "30Gi"})
    volumes = {each["name"]: each for each in pod_of(launch)["spec"]["volumes"]}
    assert task(launch)["resources"] == {"requests": {"ephemeral-storage": "30Gi"}}
    assert volumes["tuneline"]["emptyDir"]["sizeLimit"] == "30Gi"
    assert task(PLAIN)["resources"] == {}, "small nodes do not have the default to spare"
    assert "ephemeral-storage" not in task(FULL)["resources"]["requests"]


def test_nodes_with_gpus_are_tolerated_where_gpus_are_asked_for():
    """Most clusters taint them so; Kubernetes' own ExtendedResourceToleration is on in few."""
    asking = replace(PLAIN, on={**PLAIN.on, "gpus": 1, "gpu_resource": "amd.com/gpu"})
    assert pod_of(asking)["spec"]["tolerations"] == [
        {"key": "amd.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    ]
    own = [{"key": "amd.com/gpu", "operator": "Equal", "value": "big", "effect": "NoSchedule"}]
    kept = replace(asking, on={**asking.on, "tolerations": own})
    assert pod_of(kept)["spec"]["tolerations"] == own
    assert "tolerations" not in pod_of(PLAIN)["spec"]


def test_several_gpus_have_shared_memory_to_talk_by():
    """NCCL fails in the 64 MB that a container has."""
    several = replace(PLAIN, on={**PLAIN.on, "gpus": 2})
    mounts = [each for each in task(several)["volumeMounts"] if each["mountPath"] == "/dev/shm"]
    volumes = {each["name"]: each for each in pod_of(several)["spec"]["volumes"]}
    assert [volumes[each["name"]]["emptyDir"] for each in mounts] == [{"medium": "Memory"}]
    own = replace(several, platform={"enabledSharedMemory": {"volumeName": "mine", "size": "8Gi"}})
    mounts = [each["name"] for each in task(own)["volumeMounts"] if each["mountPath"] == "/dev/shm"]
    volumes = {each["name"]: each for each in pod_of(own)["spec"]["volumes"]}
    assert [volumes[name]["emptyDir"]["sizeLimit"] for name in mounts] == ["8Gi"]
    one = task(replace(PLAIN, on={**PLAIN.on, "gpus": 1}))
    assert [each["mountPath"] for each in one["volumeMounts"]] == ["/tuneline"]


def test_airflow_is_given_what_it_does_with_pods_and_nothing_else():
    role, binding = yaml.safe_load_all((ROOT / "deploy/airflow/rights.yaml").read_text())
    for each in (role, binding):
        kubernetes_validate.validate(each, "1.36", strict=True)
    resources = [name for rule in role["rules"] for name in rule["resources"]]
    assert resources == ["pods", "pods/log", "events"]
    assert {each["name"] for each in binding["subjects"]} == {
        "airflow-scheduler", "airflow-worker", "airflow-triggerer",
    }  # fmt: skip


def task(launch):
    return pod_of(launch)["spec"]["containers"][0]


def test_the_task_is_its_own_image_command_and_user():
    found = task(replace(PLAIN, image="pytorch/pytorch:2", command=(), args=("a",)))
    assert found["image"] == "pytorch/pytorch:2"
    assert "command" not in found
    assert "runAsUser" not in found["securityContext"]
    assert "runAsUser" not in pod_of(PLAIN)["spec"]["securityContext"]
    assert task(PLAIN)["image"] == IMAGE


def test_texts_reach_the_task_as_they_are():
    """Kubernetes takes `$$` for a dollar and `$(HOME)` for a variable: what it makes of ours is the text."""

    def expanded(text):  # as k8s.io/kubernetes/third_party/forked/golang/expansion does, no variable known
        return text.replace("$$", "\0").replace("\0", "$")

    found = task(FULL)
    assert [expanded(word) for word in found["command"]] == list(FULL.command)
    assert [expanded(word) for word in task(PLAIN)["args"]] == list(PLAIN.args)
    env = {each["name"]: each.get("value") for each in found["env"]}
    assert expanded(env["PRICE"]) == "$(LEVEL)"
    order = pod_of(replace(PLAIN, parameters={"a": f"{pods.FOLDER}/$(x)"}))["spec"]["initContainers"][1][
        "args"
    ][1]
    assert json.loads(expanded(order))["parameters"] == {"a": f"{pods.FOLDER}/$(x)"}


def test_what_the_pipeline_says_goes_over_what_the_project_says():
    found = task(FULL)
    env = {each["name"]: each for each in found["env"]}
    assert env["LEVEL"]["value"] == "low"
    assert env["WANDB_API_KEY"]["valueFrom"]["secretKeyRef"] == {"name": "wandb", "key": "key"}
    assert "NOT_GIVEN" not in env
    assert found["resources"] == {
        "requests": {"memory": "8Gi", "cpu": "2"},
        "limits": {"ephemeral-storage": "50Gi", "cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "2"},
    }
    assert pod("full")["spec"]["activeDeadlineSeconds"] == 3600


def test_no_secret_is_in_a_pod():
    """Values of secrets are nowhere in a `Launch`; what names one becomes a reference."""
    text = json.dumps(pod("full"))
    assert text.count("secretKeyRef") == 2
    values = [each["value"] for each in task(FULL)["env"] if "value" in each]
    assert not any("token" in value.lower() for value in values)


def test_a_root_image_runs_only_where_that_is_said():
    on = {**PLAIN.on, "run_as_root": True}
    assert task(replace(PLAIN, on=on))["securityContext"]["runAsNonRoot"] is False
    spec = pod_of(replace(PLAIN, on=on))["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert all("runAsNonRoot" not in each["securityContext"] for each in spec["initContainers"])
    assert forbidden(spec) == ["base: runAsNonRoot is not true"]


def test_one_user_for_all_of_a_pod_has_a_home():
    found = pod_of(replace(PLAIN, on={**PLAIN.on, "run_as_user": 1000}))["spec"]
    assert found["securityContext"]["runAsUser"] == 1000
    assert {"name": "HOME", "value": pods.HOME} in found["containers"][0]["env"]


def test_an_attempt_that_goes_on_after_a_loss_looks_for_the_same_checkpoints():
    def order(launch, loss):
        found = pod_of(launch, state=STATE, loss=loss)["spec"]["initContainers"]
        return [json.loads(each["args"][1])["checkpoints"] for each in found]

    first, lost, retried = order(PLAIN, 0), order(PLAIN, 1), order(replace(PLAIN, attempt=2), 0)
    assert {each["uri"] for each in (*first, *lost, *retried)} == {f"{STATE}/checkpoints"}
    assert [each[0]["who"] for each in (first, lost, retried)] == ["1-0", "1-1", "2-0"]
    assert "checkpoints" not in json.loads(pod_of(PLAIN)["spec"]["initContainers"][0]["args"][1])


@pytest.mark.parametrize(
    "change, said",
    [
        ({"on": {}}, "`on.kubernetes.image` is not set"),
        ({"workspace": "s3://lines/workspace"}, "task workspace"),
        ({"inputs": (Carried("rows", "/mnt/rows", "/mnt/rows"),)}, "`rows` is kept at /mnt/rows"),
        ({"output_file": "/tmp/output.json"}, "/tmp/output.json is outside"),
    ],
)
def test_what_cannot_be_is_said_before_anything_runs(change, said):
    with pytest.raises(ValueError, match=said.replace("/", ".")):
        pod_of(replace(PLAIN, **change))


def test_names_and_labels_are_what_kubernetes_takes():
    found = pod("full")["metadata"]
    assert len(found["name"]) <= 50
    assert found["labels"]["tuneline/task"] == label_value("loop-1/3/tune") != label_value("loop-1-3-tune")
    assert label_value("manual__2026-01-01T00:00:00+00:00") != label_value(
        "manual__2026-01-01T00:00:00-00:00"
    )
    assert len(label_value("x" * 300)) <= 63
    assert label_value("ünï").startswith("n-")
    assert set(labels_of(PLAIN)) < set(found["labels"])


def test_the_defaults_are_those_of_the_project_file():
    defaults = {each.name: each.default for each in fields(Kubernetes)}
    assert (defaults["disk"], defaults["upload_time_s"]) == (pods.DISK, pods.UPLOAD_S)
    spec = pod_of(PLAIN)["spec"]
    assert spec["containers"][0]["imagePullPolicy"] == defaults["image_pull_policy"]
    assert pod_of(PLAIN)["metadata"]["namespace"] == defaults["namespace"]


def test_the_snapshots_are_yaml_that_reads_back():
    for name in LAUNCHES:
        assert yaml.safe_load((SNAPSHOTS / f"{name}.yaml").read_text()) == json.loads(json.dumps(pod(name)))
