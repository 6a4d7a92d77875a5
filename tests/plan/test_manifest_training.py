"""A training on several machines: valid for Kubernetes 1.36, and what it must be for its pods to meet."""

import json

import pytest
from click.testing import CliRunner
from tests.kubernetes_schemas import check

from tuneline.cli.main import cli
from tuneline.errors import SpecError
from tuneline.plan.compile import compile_project
from tuneline.plan.manifest_training import training_manifests, training_of
from tuneline.spec.project import parse
from tuneline.steps.carry import for_machine
from tuneline.steps.workers import Place, place_of

TEXT = """\
name: movie-reviews
base_model: gemma-3-270m
data: {source: data.csv, prompt: "{text}", completion: " {label}", label: label}
train: {num_machines: 2, num_processes: 4}
on:
  kubernetes:
    image: ghcr.io/you/tuneline@sha256:aa
    service_account: tuneline
    steps: {tune: {gpus: 4, spot: gke, secret_env: {HF_TOKEN: hf/token}, limits: {memory: 64Gi}}}
"""
ON = {"image": "ghcr.io/you/tuneline@sha256:aa", "gpus": 4, "secret_env": {"HF_TOKEN": "hf/token"}}


@pytest.fixture
def project(tmp_path):
    return parse(TEXT, tmp_path).project


def made(project, on=ON, **more):
    training = training_of(project, "gs://b/base", "gs://b/train", "gs://b/out/", **more)
    return training_manifests(training, on)


def test_both_are_valid_with_and_without_everything(project):
    full = {
        **ON, "namespace": "ml", "requests": {"cpu": "4"}, "node_selector": {"a": "b"}, "env": {"A": "$(B)"},
        "tolerations": [{"key": "x", "operator": "Exists"}], "image_pull_secrets": ["pull"],
        "run_as_user": 1000, "timeout": 3600.0, "labels": {"team": "nlp"}, "annotations": {"note": "x"},
        "disk": "100Gi", "service_account": "tuneline",
    }  # fmt: skip
    for on in (ON, full):
        for manifest in made(project, on):
            check(manifest)


def test_pods_find_the_first_by_its_name_and_know_which_they_are(project):
    service, job = made(project)
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 2, 2)
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": job["metadata"]["name"]}
    assert pod["subdomain"] == service["metadata"]["name"]
    env = {each["name"]: each for each in pod["containers"][0]["env"]}
    assert env["MASTER_ADDR"]["value"] == f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert env["MASTER_PORT"]["value"] == str(service["spec"]["ports"][0]["port"])
    assert env["NODE_RANK"]["valueFrom"]["fieldRef"]["fieldPath"].endswith("job-completion-index']")
    assert "emptyDir" in next(each for each in pod["volumes"] if each["name"] == "shared-memory")
    assert pod["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "4"}
    told = {"MASTER_ADDR": env["MASTER_ADDR"]["value"], "MASTER_PORT": "29500", "NODE_RANK": "1"}
    assert place_of(told, 2) == Place(1, told["MASTER_ADDR"], 29500)


def test_the_first_machine_alone_takes_anything_to_the_bucket(project):
    _, job = made(project)
    take = next(each for each in job["spec"]["template"]["spec"]["initContainers"] if each["name"] == "take")
    order = json.loads(take["args"][1])
    assert take["restartPolicy"] == "Always"
    assert {each["name"]: each["uri"] for each in order["outputs"]} == {
        name: f"gs://b/out/{name}" for name in ("adapter", "metrics", "logs")
    }
    assert for_machine(order, {"NODE_RANK": "0"}) == order
    others = for_machine(order, {"NODE_RANK": "1"})
    assert "outputs" not in others
    assert "checkpoints" not in others
    assert for_machine({"outputs": [1]}, {"NODE_RANK": "1"}) == {"outputs": [1]}


def test_what_cannot_be_is_refused_before_anything_starts(project):
    with pytest.raises(SpecError, match="a pod of `tune` has 2 GPUs"):
        made(project, {**ON, "gpus": 2})
    with pytest.raises(SpecError, match="image"):
        made(project, {})
    with pytest.raises(SpecError) as caught:
        training_of(project, "/home/base", "gs://b/train", "out")
    assert caught.value.details == ["--base: /home/base is in no bucket", "--to: out is in no bucket"]
    with pytest.raises(SpecError, match="train.num_machines is 2: no runner") as caught:
        compile_project(project)
    assert "tuneline export training" in caught.value.hint


def test_the_command_writes_both_and_leaves_an_endpoint_s_files_alone(tmp_path):
    (tmp_path / "tuneline.yaml").write_text(TEXT)
    words = ["export", "training", str(tmp_path), "-o", str(tmp_path / "out"), "--base", "gs://b/base"]
    words += ["--train", "gs://b/train", "--to", "gs://b/out", "--json"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    files = json.loads(done.stdout)["files"]
    assert files == ["kustomization.yaml", "service-movie-reviews-tune.yaml", "job-movie-reviews-tune.yaml"]
    assert "gke-spot" in (tmp_path / "out/job-movie-reviews-tune.yaml").read_text()
    again = CliRunner().invoke(cli, words)
    assert json.loads(again.stdout)["changed"] == []
    (tmp_path / "out/kustomization.yaml").write_text("# Written by `tuneline export kubernetes`\n")
    assert CliRunner().invoke(cli, words).exit_code != 0
