"""`deploy.kubernetes`: what is read, and every fault with its line."""

from pathlib import Path

import pytest

from tuneline.errors import SpecError
from tuneline.spec.models import weights_gb
from tuneline.spec.project import parse

DIGEST = "sha256:" + "0" * 64
TEXT = """name: m
data: {{source: a.csv, prompt: "{{x}}", completion: "{{y}}"}}
base_model: google/gemma-3-1b-it
deploy:
  runtime: {runtime}
  on: {on}
  kubernetes:
{keys}
"""
KEYS = {"image": f"vllm/vllm-openai@{DIGEST}", "router_image": f"r/tuneline@{DIGEST}", "adapters": "gs://b/a"}


def read(runtime="vllm", on="kubernetes", **keys):
    given = {**KEYS, **keys}
    lines = "\n".join(f"    {name}: {value}" for name, value in given.items() if value is not None)
    return parse(TEXT.format(runtime=runtime, on=on, keys=lines), Path("/p")).project.deploy


def faults(**given):
    with pytest.raises(SpecError) as raised:
        read(**given)
    return "\n".join(raised.value.details)


def test_a_served_endpoint_is_read_with_its_defaults():
    deploy = read(gateway="infra/main", hosts="[a.example.com]")
    assert (deploy.on, deploy.kubernetes.gateway, deploy.kubernetes.hosts) == (
        "kubernetes", "infra/main", ("a.example.com",),
    )  # fmt: skip
    assert deploy.kubernetes.scale_metric == "vllm:num_requests_waiting"


@pytest.mark.parametrize(
    "given, line, said",
    [
        ({"image": "vllm/vllm-openai:v0.33.0"}, 8, "which has no digest"),
        ({"router_image": None}, 8, "`deploy.kubernetes.router_image` is missing"),
        ({"adapters": None}, 8, "`deploy.kubernetes.adapters` is missing"),
        ({"adapters": "s3://b/a"}, 10, "does not fit: `gs://BUCKET/PATH`"),
        ({"adapters": "hf://a/b"}, 10, "cannot be on the hub"),
        ({"adapters": "pvc://claim/a"}, 8, "`deploy.kubernetes.upload` is missing"),
        ({"adapters": "oci://r/a"}, 8, "`deploy.kubernetes.base` is missing"),
        ({"base": "oci://r/base"}, 11, "an image without a digest"),
        ({"base": "hf://google/gemma-3-1b-it"}, 11, "has no revision"),
        ({"accelerator": "nvidia-new"}, 8, "the memory of `nvidia-new` is not known"),
        ({"replicas": 3, "max_replicas": 2}, 12, "is 2, less than `replicas`: 3"),
        ({"scale_by": "keda"}, 8, "`deploy.kubernetes.prometheus` is missing"),
        ({"hosts": "[a.example.com]"}, 11, "no effect without `deploy.kubernetes.gateway`"),
        ({"replica": 3}, 11, "unknown key `replica` in `deploy.kubernetes`; nearest: `replicas`"),
        ({"runtime": "llamacpp"}, 5, "on Kubernetes it is vllm or pyfunc"),
        ({"on": "here"}, 8, "no effect without `deploy.on: kubernetes`"),
    ],
)
def test_a_fault_is_told_with_its_line(given, line, said):
    told = faults(**given)
    assert any(each.startswith(f"tuneline.yaml:{line}: ") and said in each for each in told.splitlines()), (
        told
    )


@pytest.mark.parametrize(
    "endpoint, said", [("3-stars", "begins with a letter"), ("a" * 41, "more than 40 characters")]
)
def test_an_endpoint_s_name_is_one_that_objects_can_have(endpoint, said):
    """A Service's name is a DNS label that begins with a letter; an engine's has 16 characters more."""
    text = TEXT.format(
        runtime="vllm", on="kubernetes", keys="\n".join(f"    {k}: {v}" for k, v in KEYS.items())
    )
    with pytest.raises(SpecError) as raised:
        parse(text.replace("deploy:\n", f"deploy:\n  endpoint: {endpoint}\n"), Path("/p"))
    assert any(said in each for each in raised.value.details)


def test_a_tag_is_taken_where_it_is_allowed():
    assert read(image="vllm/vllm-openai:v0.33.0", allow_tags="true").kubernetes.image.endswith(":v0.33.0")


@pytest.mark.parametrize(
    "name, size",
    [
        ("gemma-3-270m", 0.54), ("google/gemma-3-27b-it", 54.9), ("hf://Qwen/Qwen2.5-7B-Instruct@abc", 15.2),
        ("gs://bucket/models/gemma-3-1b-it", 2.0), ("/models/gemma-3-1b", 2.0), ("gemma-3-1bx", 0.0),
    ],
)  # fmt: skip
def test_the_size_of_a_base_goes_by_the_longest_beginning_of_its_name(name, size):
    assert weights_gb(name) == size


HOME = """name: m
data: {{source: a.csv, prompt: "{{x}}", completion: "{{y}}"}}
base_model: gemma-3-270m
deploy:
  runtime: {runtime}
  vllm: {keys}
"""


def at_home(keys, runtime="vllm"):
    return parse(HOME.format(runtime=runtime, keys=keys), Path("/p")).project.deploy.vllm


def test_vllm_at_home_is_read_with_its_defaults():
    found = at_home("{max_model_len: 8192, start_timeout: 20m, args: [--quantization, fp8]}")
    assert (found.max_model_len, found.start_timeout_s, found.args) == (
        8192,
        1200.0,
        ("--quantization", "fp8"),
    )
    assert (found.dtype, found.gpus, found.gpu_memory_utilization) == ("auto", 1, 0.3)


@pytest.mark.parametrize(
    "keys, runtime, said",
    [
        ("{gpus: 2}", "llamacpp", "`deploy.vllm.gpus` has no effect without `deploy.runtime: vllm`"),
        ("{args: [--port=1, -O3, --uds, x]}", "vllm", "`deploy.vllm.args` has --port, --uds"),
        ("{max_len: 1}", "vllm", "unknown key `max_len` in `deploy.vllm`"),
        ("{dtype: int4}", "vllm", "`deploy.vllm.dtype`"),
    ],
)
def test_a_fault_of_vllm_at_home_is_told(keys, runtime, said):
    with pytest.raises(SpecError) as raised:
        at_home(keys, runtime)
    assert any(said in each and each.startswith("tuneline.yaml:6: ") for each in raised.value.details)


def test_vllms_keys_at_home_are_not_for_a_cluster():
    text = TEXT.format(runtime="vllm", on="kubernetes", keys="    image: x")
    with pytest.raises(SpecError) as raised:
        parse(text + "  vllm: {gpus: 2}\n", Path("/p"))
    assert any("no effect with `deploy.on: kubernetes`" in each for each in raised.value.details)
