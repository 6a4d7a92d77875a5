"""Attempts that the tests of pods have in common: one that asks for nothing, one that asks for everything.

`python tests/airflow/launches.py` writes the pods of both into the snapshots beside it.
"""

import json
from dataclasses import replace
from pathlib import Path

import yaml

from tuneline_airflow.launch import Carried, Launch
from tuneline_airflow.pods import FOLDER, pod_of

IMAGE = "registry.example/tuneline@sha256:" + "a" * 64
RUN = "s3://lines/prefix/reviews/manual__2026-01-01"
STATE = f"{RUN}/tune/state"
SNAPSHOTS = Path(__file__).parent / "pods"

PLAIN = Launch(
    dag_id="reviews",
    run_id="manual__2026-01-01T00:00:00+00:00",
    task="tune",
    map_index=-1,
    attempt=1,
    image="tuneline",
    command=("tuneline", "step", "tune"),
    args=("--executor-input", '{"inputs": {"price": "$(HOME) $$5"}}'),
    env={},
    inputs=(Carried("base", f"{RUN}/base/1/outputs/base", f"{FOLDER}/inputs/base/0/base"),),
    outputs=(Carried("adapter", f"{RUN}/tune/1/outputs/adapter", f"{FOLDER}/outputs/adapter"),),
    parameters={"rows": f"{FOLDER}/parameters/rows"},
    output_file=f"{FOLDER}/executor_output.json",
    resources={},
    platform={},
    on={"image": IMAGE},
)
CONSTANT = {"runtimeValue": {"constant": "tls"}}
NOT_GIVEN = {"secretKey": "a", "envVar": "NOT_GIVEN"}
FULL = replace(
    PLAIN,
    dag_id="Reviews_of.films" + "-and-more" * 6,
    task="loop-1/3/tune",
    map_index=3,
    attempt=2,
    image="python:3.12",
    command=("sh", "-c", 'program_path=$(mktemp -d); echo "$0" "$@"'),
    env={"LEVEL": "low", "PRICE": "$(LEVEL)"},
    resources={
        "resourceCpuRequest": "2", "resourceMemoryLimit": "16Gi", "cpuLimit": 4.0,
        "accelerator": {"resourceType": "nvidia.com/gpu", "resourceCount": "2"},
    },
    platform={
        "secretAsEnv": [
            {
                "secretNameParameter": "huggingface", "secretName": "huggingface", "optional": False,
                "keyToEnv": [{"secretKey": "token", "envVar": "HF_TOKEN"}],
            },
            {"secretNameParameter": None, "optional": True, "keyToEnv": [NOT_GIVEN]},
        ],
        "secretAsVolume": [
            {"secretNameParameter": CONSTANT, "mountPath": "/tls", "optional": True}
        ],
        "configMapAsEnv": [
            {"configMapNameParameter": "limits", "keyToEnv": [{"configMapKey": "rows", "envVar": "ROWS"}]}
        ],
        "configMapAsVolume": [{"configMapNameParameter": "prompts", "mountPath": "/prompts"}],
        "pvcMount": [{"pvcNameParameter": "corpus", "mountPath": "/corpus", "subPath": "part"}],
        "emptyDirMounts": [{"volumeName": "f", "mountPath": "/fast", "medium": "Memory", "sizeLimit": "1Gi"}],
        "genericEphemeralVolume": [
            {
                "volumeName": "cache", "mountPath": "/cache", "accessModes": ["ReadWriteOnce"], "size": "5Gi",
                "storageClassName": "standard", "metadata": {"labels": {"of": "reviews"}},
            }
        ],
        "enabledSharedMemory": {"volumeName": "shm", "size": "2Gi"},
        "fieldPathAsEnv": [{"name": "POD", "fieldPath": "metadata.name"}],
        "nodeSelector": {"labels": {"pool": "gpu"}},
        "tolerations": [
            {"key": "slow", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": "60"}
        ],
        "nodeAffinity": [
            {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]},
            {"matchExpressions": [{"key": "cpu", "operator": "Exists"}], "weight": 10},
        ],
        "podAffinity": [
            {"matchPodLabels": {"app": "db"}, "topologyKey": "zone", "anti": True},
            {"matchPodLabels": {"app": "cache"}, "topologyKey": "zone", "weight": 5},
        ],
        "podMetadata": {"labels": {"owner": "me"}, "annotations": {"note": "mine"}},
        "imagePullSecret": [{"secretNameParameter": "registry"}],
        "imagePullPolicy": "Always",
        "activeDeadlineSeconds": "3600",
        "securityContext": {"runAsUser": "1000", "runAsGroup": "1000", "runAsNonRoot": True},
    },
    on={
        "image": IMAGE, "namespace": "training", "service_account": "tuneline", "disk": "100Gi",
        "upload_time": 1800.0, "timeout": 21600.0, "gpus": 1, "requests": {"memory": "8Gi", "cpu": "1"},
        "limits": {"ephemeral-storage": "50Gi"}, "node_selector": {"cloud.google.com/gke-spot": "true"},
        "tolerations": [
            {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"}
        ],
        "image_pull_secrets": ["registry", "mirror"], "labels": {"team": "a"}, "annotations": {"a": "b"},
        "env": {"LEVEL": "high", "HF_HOME": "/tuneline/home/hf"},
        "secret_env": {"WANDB_API_KEY": "wandb/key"}, "spot": "gke",
    },
)  # fmt: skip
LAUNCHES = {"plain": PLAIN, "full": FULL}


def pod(name: str) -> dict:
    """The pod of an attempt, as the snapshots have it."""
    return pod_of(LAUNCHES[name], state=STATE, loss=1 if name == "full" else 0)


def text_of(pod: dict) -> str:
    """As a snapshot is written."""
    return yaml.safe_dump(json.loads(json.dumps(pod)), sort_keys=False, width=110)


if __name__ == "__main__":
    for each in LAUNCHES:
        (SNAPSHOTS / f"{each}.yaml").write_text(text_of(pod(each)))
