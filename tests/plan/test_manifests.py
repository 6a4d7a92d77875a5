"""What stands on a cluster: valid for Kubernetes 1.36, the same every time, and what it must be."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import yaml
from tests.kubernetes_schemas import check
from tests.pod_security import forbidden

from tuneline.errors import SpecError
from tuneline.export.kubernetes import script
from tuneline.plan.capacity import capacity
from tuneline.plan.manifests import least, manifests
from tuneline.plan.standing import Placed, engines, slug, wanted_of
from tuneline.spec.project import load
from tuneline.spec.serving import Kubernetes

ROOT = Path(__file__).parents[2]
DIGEST = "sha256:" + "a" * 64
OLD = Placed("1.0.0-1", "movie-reviews@1.0.0", "movie-reviews/0123456789abcdef")
NEW = Placed("1.1.0-2", "movie-reviews@1.1.0", "movie-reviews/fedcba9876543210")


def wanted(*revisions, runtime="vllm", sticky=(), base_model="google/gemma-3-4b-it", **keys):
    kubernetes = {
        "namespace": "ml", "image": f"vllm/vllm-openai@{DIGEST}", "router_image": f"r/tuneline@{DIGEST}",
        "base": "gs://bucket/models/gemma-3-4b-it", "adapters": "gs://bucket/adapters", **keys,
    }  # fmt: skip
    deploy = {"endpoint": "movie-reviews", "runtime": runtime, "on": "kubernetes", "kubernetes": kubernetes,
              "rollout": {"sticky": list(sticky)}}  # fmt: skip
    return wanted_of(deploy, base_model, revisions or (OLD,))


def made(what):
    return manifests(what, script())


def one(found, kind, name=""):
    (only,) = [each for each in found if each["kind"] == kind and name in each["metadata"]["name"]]
    return only


def kinds(found):
    return sorted((each["kind"], each["metadata"]["name"]) for each in found)


def container(deployment):
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    return only


VARIANTS = {
    "router": wanted(),
    "gateway": wanted(gateway="infra/main", hosts=["reviews.example.com"]),
    "canary": replace(wanted(OLD, NEW, gateway="main", gateway_header=True), candidate=NEW.id, weight=5.0),
    "shadow": replace(wanted(OLD, NEW, gateway="main"), candidate=NEW.id, shadow=True),
    "sticky": replace(wanted(OLD, NEW, gateway="main", sticky=["x-user"]), candidate=NEW.id, weight=25.0),
    "hpa": wanted(max_replicas=4, service="LoadBalancer"),
    "keda": wanted(max_replicas=4, scale_by="keda", prometheus="http://prometheus.monitoring:9090"),
    "hub": wanted(base="hf://google/gemma-3-4b-it@abc", hf_secret="hub", service_account="reader"),
    "claim": wanted(base="pvc://models/gemma", adapters="pvc://models/adapters", image_pull_secrets=["pull"]),
    "images": wanted(
        replace(OLD, files=f"r/adapters@{DIGEST}"), base=f"oci://r/base@{DIGEST}", adapters="oci://r/adapters"
    ),
    "processors": wanted(accelerator="none", base_model="gemma-3-270m", base="pvc://models/small"),
    "large": wanted(accelerator="nvidia-h100-80gb", base_model="meta-llama/Llama-3.3-70B-Instruct"),
    "base": wanted(Placed("base", "movie-reviews@base")),
    "pyfunc": wanted(runtime="pyfunc", image=f"r/threats@{DIGEST}"),
    "nothing": replace(wanted(), revisions=(), live=""),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_manifest_is_one_for_kubernetes(name):
    found = made(VARIANTS[name])
    assert found
    for each in found:
        check(each)
    assert len(kinds(found)) == len(set(kinds(found)))


EXAMPLES = [path.parent.name for path in sorted(ROOT.glob("examples/*/tuneline.yaml"))]


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_s_manifests_are_valid(name):
    project = load(ROOT / "examples" / name).project
    if project.deploy.on != "kubernetes":
        pytest.skip("it is not served on Kubernetes")
    for each in made(wanted_of(project.value("deploy"), project.base_model, (OLD,))):
        check(each)


def test_the_check_refuses_what_is_not_in_the_schemas():
    found = made(VARIANTS["gateway"])
    route, deployment = one(found, "HTTPRoute"), one(found, "Deployment", "vllm")
    with pytest.raises(jsonschema.ValidationError, match="wieght"):
        check({**route, "spec": {**route["spec"], "wieght": 1}})
    with pytest.raises(jsonschema.ValidationError, match="replica"):
        check({**deployment, "spec": {**deployment["spec"], "replica": 1}})


def test_the_same_is_the_same_to_the_byte():
    assert json.dumps(made(VARIANTS["canary"])) == json.dumps(made(VARIANTS["canary"]))


@pytest.mark.parametrize("name", VARIANTS)
def test_pods_run_as_nobody_write_nothing_and_name_images_by_digest(name):
    for each in made(VARIANTS[name]):
        if each["kind"] != "Deployment":
            continue
        pod = each["spec"]["template"]["spec"]
        assert forbidden(pod) == []
        assert not pod["automountServiceAccountToken"]
        assert container(each)["securityContext"]["readOnlyRootFilesystem"]
        assert "@sha256:" in container(each)["image"]
        assert container(each)["resources"]["requests"]["memory"]
        selected = each["spec"]["selector"]["matchLabels"]
        assert selected.items() <= each["spec"]["template"]["metadata"]["labels"].items()


def test_the_check_of_pods_refuses_what_restricted_forbids():
    pod = one(made(wanted()), "Deployment", "vllm")["spec"]["template"]["spec"]
    assert forbidden({**pod, "hostNetwork": True}) == ["hostNetwork: true"]
    assert forbidden({**pod, "volumes": [{"name": "x", "hostPath": {"path": "/"}}]}) == [
        "volume x is a hostPath"
    ]
    assert len(forbidden({**pod, "securityContext": {}})) == 2
    (inner,) = pod["containers"]
    wrong = {"privileged": True, "runAsUser": 0, "capabilities": {"add": ["SYS_PTRACE"]}}
    assert len(forbidden({**pod, "initContainers": [{**inner, "securityContext": wrong}]})) == 5


def test_revisions_of_one_base_share_an_engine_and_another_base_has_another():
    assert len(engines(wanted(OLD, NEW))) == 1
    other = replace(NEW, base="gs://bucket/models/gemma-3-12b-it")
    assert [len(each.revisions) for each in engines(wanted(OLD, other))] == [1, 1]
    larger = replace(NEW, rank=64)
    assert [each.rank for each in engines(wanted(OLD, larger))] == [8, 64]


def test_what_changes_pods_makes_another_engine_and_leaves_the_one_that_is_live_as_it_is():
    before = one(made(wanted(OLD)), "Deployment", "vllm")
    begun = replace(OLD, own=wanted(OLD).kubernetes, base_model="google/gemma-3-4b-it")
    other = wanted(
        begun, NEW, image=f"vllm/vllm-openai@sha256:{'b' * 64}", base_model="google/gemma-3-12b-it"
    )
    found = [
        each for each in made(other) if each["kind"] == "Deployment" and "vllm" in each["metadata"]["name"]
    ]
    assert before in found
    assert len(found) == 2
    assert [container(each)["resources"]["limits"]["nvidia.com/gpu"] for each in found] == ["1", "2"]
    more = wanted(replace(OLD, own=wanted(OLD).kubernetes), replace(NEW, own=wanted(replicas=3).kubernetes))
    (deployment,) = [
        each for each in made(more) if each["kind"] == "Deployment" and "vllm" in str(each["metadata"])
    ]
    assert deployment["spec"]["replicas"] == 3


def test_answers_are_compared_by_our_router_whatever_the_gateway_can():
    compared = wanted_of(
        {"endpoint": "e", "rollout": {"watched": ["agreement"]}, "kubernetes": {"gateway": "main"}},
        "gemma-3-1b",
    )
    assert not compared.by_gateway


def test_the_live_adapter_must_be_loaded_and_a_candidate_s_need_not():
    listed = json.loads(one(made(VARIANTS["canary"]), "ConfigMap", "adapters")["data"]["adapters.json"])
    assert [(each["name"], each["required"]) for each in listed] == [
        (OLD.release, True),
        (NEW.release, False),
    ]
    assert listed[0]["path"] == "/adapters/movie-reviews/0123456789abcdef"


def test_vllm_s_arguments_say_base_adapters_and_tensor_parallelism():
    command = container(one(made(VARIANTS["large"]), "Deployment", "vllm"))
    words = " ".join(command["command"] + command["args"])
    assert words.startswith("vllm serve /base --served-model-name base")
    assert "--tensor-parallel-size 4" in words
    assert "--enable-lora --max-loras 2 --max-cpu-loras 8 --max-lora-rank 8" in words
    assert command["resources"]["limits"]["nvidia.com/gpu"] == "4"
    pod = one(made(VARIANTS["large"]), "Deployment", "vllm")["spec"]["template"]["spec"]
    assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}} in pod["volumes"]
    hub = container(one(made(VARIANTS["hub"]), "Deployment", "vllm"))
    assert hub["command"] == ["vllm", "serve", "google/gemma-3-4b-it"]
    assert hub["args"][-8:-6] == ["--enable-lora", "--max-loras"] or "abc" in hub["args"]
    assert "token" not in json.dumps([each for each in hub["env"] if each["name"] != "HF_TOKEN_PATH"]).lower()


def test_a_start_may_take_as_long_as_the_weights_take():
    small, large = (
        container(one(made(wanted(base_model=name)), "Deployment", "vllm"))["startupProbe"]
        for name in ("gemma-3-270m", "gemma-3-12b")
    )
    assert small["failureThreshold"] * small["periodSeconds"] < 140
    assert 300 < large["failureThreshold"] * large["periodSeconds"] < 330


def test_the_cache_beside_a_pod_is_within_what_the_pod_may_write():
    """Else the kubelet evicts it: it compares all emptyDirs with the limits of all containers together."""
    template = one(made(wanted()), "Deployment", "vllm")["spec"]["template"]
    limit = int(template["metadata"]["annotations"]["gke-gcsfuse/ephemeral-storage-limit"].removesuffix("Gi"))
    volumes = {each["name"]: each for each in template["spec"]["volumes"]}
    cache = int(volumes["gke-gcsfuse-cache"]["emptyDir"]["sizeLimit"].removesuffix("Gi"))
    assert limit >= cache + 5
    adapters = one(made(wanted(base="pvc://models/base")), "Deployment", "vllm")["spec"]["template"]
    assert adapters["metadata"]["annotations"] == {"gke-gcsfuse/volumes": "true"}


def test_weights_of_the_route_follow_the_rollout_s():
    rule = one(made(VARIANTS["canary"]), "HTTPRoute")["spec"]["rules"][0]
    assert [(each["name"], each["weight"]) for each in rule["backendRefs"]] == [
        ("movie-reviews-1-0-0-1", 950), ("movie-reviews-1-1-0-2", 50),
    ]  # fmt: skip
    set_ = [each["filters"][0]["responseHeaderModifier"]["set"] for each in rule["backendRefs"]]
    assert [each[0]["value"] for each in set_] == [OLD.release, NEW.release]


def test_a_shadow_is_mirrored_and_asked_for_nothing():
    rule = one(made(VARIANTS["shadow"]), "HTTPRoute")["spec"]["rules"][0]
    assert rule["filters"][0]["requestMirror"]["backendRef"]["name"] == "movie-reviews-1-1-0-2"
    assert [each["weight"] for each in rule["backendRefs"]] == [1000, 0]


def test_where_users_stay_with_a_release_one_router_has_all_and_the_weights():
    found = made(VARIANTS["sticky"])
    (backend,) = one(found, "HTTPRoute")["spec"]["rules"][0]["backendRefs"]
    assert backend["name"] == "movie-reviews"
    traffic = json.loads(one(found, "ConfigMap", "traffic")["data"]["traffic.json"])
    assert [(each["release"], each["weight"], each["model"]) for each in traffic["revisions"]] == [
        (OLD.release, 75.0, OLD.release), (NEW.release, 25.0, NEW.release),
    ]  # fmt: skip
    assert traffic["sticky_headers"] == ["x-user"]


def test_scaling_leaves_the_number_of_pods_to_the_scaler():
    found = made(VARIANTS["hpa"])
    assert "replicas" not in one(found, "Deployment", "vllm")["spec"]
    name = one(found, "Deployment", "vllm")["metadata"]["name"]
    hpa = one(found, "HorizontalPodAutoscaler")["spec"]
    assert least(made(wanted(replicas=2, max_replicas=4)), name) == 2
    assert least(made(wanted()), name) == 1
    assert (hpa["minReplicas"], hpa["maxReplicas"]) == (1, 4)
    assert hpa["metrics"][0]["pods"]["metric"]["name"] == "vllm:num_requests_waiting"
    trigger = one(made(VARIANTS["keda"]), "ScaledObject")["spec"]["triggers"][0]["metadata"]
    assert trigger["query"].startswith(
        'sum(vllm:num_requests_waiting{namespace="ml",pod=~"movie-reviews-vllm-'
    )


@pytest.mark.parametrize(
    "base, accelerator, gpus",
    [("gemma-3-270m", "nvidia-l4", 1), ("gemma-3-12b", "nvidia-l4", 2), ("gemma-3-27b", "nvidia-l4", 4),
     ("gemma-3-27b", "nvidia-h100-80gb", 2), ("llama-3.3-70b", "nvidia-h200-141gb", 2)],
)  # fmt: skip
def test_gpus_are_the_smallest_power_of_two_that_holds_the_weights(base, accelerator, gpus):
    assert capacity(Kubernetes(accelerator=accelerator), base).gpus == gpus


def test_shared_memory_is_part_of_what_a_pod_may_take():
    one_gpu, eight = (capacity(Kubernetes(gpus=number), "gemma-3-1b") for number in (1, 8))
    assert (one_gpu.shm_gb, eight.shm_gb) == (2, 16)
    assert eight.memory_gb - one_gpu.memory_gb == 14
    assert eight.memory_gb > eight.shm_gb


def test_a_base_that_nothing_holds_is_refused():
    with pytest.raises(SpecError, match="900 GB of weights, which 16 nvidia-l4"):
        capacity(Kubernetes(weights_gb=900), "x")


def test_what_it_takes_is_said_before_it_starts():
    assert capacity(Kubernetes(), "gemma-3-4b").text(2) == (
        "2 pods, each with 1 nvidia-l4, 4 CPU and 19 GB of memory"
    )


def test_names_stay_names_whatever_a_version_is():
    assert slug("1.1.0-rc.1+Build.5-3") == "1-1-0-rc-1-build-5-3"
    assert slug("1.1.0-3") == "1-1-0-3"
    assert len(slug("1.2.3-alpha.beta.gamma.delta.1-12")) == 20
    assert slug("1.2.3-alpha.beta.gamma.delta.1-12") != slug("1.2.3-alpha.beta.gamma.delta.1-13")


@pytest.mark.parametrize("name", ["router", "canary"])
def test_manifests_are_those_that_were_looked_at(name):
    """`tests/fixtures/manifests`: read by people when written; a change must be meant."""
    found = [each for each in made(VARIANTS[name]) if each["kind"] != "ConfigMap"]
    assert list(yaml.safe_load_all((ROOT / f"tests/fixtures/manifests/{name}.yaml").read_text())) == found
