"""What is wrong with `deploy.vllm` and `deploy.kubernetes` between their keys. Pure; `checks` notes it with
its line."""

import re
from collections.abc import Iterator

from tuneline.spec.models import GPU_MEMORY_GB, weights_gb
from tuneline.spec.sections import Project

GIVEN = frozenset((
    "--model", "--tokenizer", "--served-model-name", "--uds", "--host", "--port", "--enable-lora",
    "--lora-modules", "--max-lora-rank", "--dtype", "--max-model-len", "--max-num-seqs",
    "--tensor-parallel-size", "--gpu-memory-utilization", "--kv-cache-memory-bytes", "--generation-config",
    "--logprobs-mode", "--max-logprobs", "--api-key", "--root-path",
))  # fmt: skip
"""Words of vLLM's command line that are not a project's."""
DIGEST = r"@sha256:[0-9a-f]{64}"


def faults(project: Project, written: frozenset[str]) -> Iterator[tuple[str, str]]:
    """(key, what is wrong with it) for every fault. written: the keys that the file has."""
    deploy, section = project.deploy, "deploy.kubernetes"
    if deploy.on != "kubernetes":
        for path in sorted(each for each in written if each.startswith(f"{section}.")):
            yield path, f"`{path}` has no effect without `deploy.on: kubernetes`"
        yield from _at_home(project, written)
        return
    for path in sorted(each for each in written if each.startswith("deploy.vllm.")):
        yield path, f"`{path}` has no effect with `deploy.on: kubernetes`; see `deploy.kubernetes`"
    if deploy.runtime not in ("vllm", "pyfunc"):
        yield "deploy.runtime", f"`deploy.runtime` is `{deploy.runtime}`; on Kubernetes it is vllm or pyfunc"
        return
    if len(deploy.endpoint) > 40:
        yield (
            "deploy.endpoint",
            "`deploy.endpoint` has more than 40 characters: objects are named after it",
        )
    if not deploy.endpoint[:1].isalpha():
        what = f"`deploy.endpoint` is `{deploy.endpoint}`: a Service is named after it"
        yield "deploy.endpoint", f"{what}, and such a name begins with a letter"
    yield from _images(project)
    yield from _files(project)
    yield from _scaling(project)


def _at_home(project: Project, written: frozenset[str]) -> Iterator[tuple[str, str]]:
    section, vllm = "deploy.vllm", project.deploy.vllm
    if project.deploy.runtime != "vllm":
        for path in sorted(each for each in written if each.startswith(f"{section}.")):
            yield path, f"`{path}` has no effect without `deploy.runtime: vllm`"
        return
    ours = sorted({word.partition("=")[0] for word in vllm.args} & GIVEN)
    if ours:
        what = f"`{section}.args` has {', '.join(ours)}, which tuneline gives itself"
        yield f"{section}.args", f"{what}: leave it out, or use the key of `{section}` for it"


def _images(project: Project) -> Iterator[tuple[str, str]]:
    kubernetes, section = project.deploy.kubernetes, "deploy.kubernetes"
    for key, image in (("image", kubernetes.image), ("router_image", kubernetes.router_image)):
        if not image:
            yield f"{section}.{key}", f"`{section}.{key}` is missing: it names the image whose pods serve"
        elif not re.search(DIGEST + "$", image) and not kubernetes.allow_tags:
            what = f"`{section}.{key}` is `{image}`, which has no digest: a tag may move"
            yield f"{section}.{key}", f"{what}; write `...@sha256:...`, or `allow_tags: true`"


def _files(project: Project) -> Iterator[tuple[str, str]]:
    kubernetes, section = project.deploy.kubernetes, "deploy.kubernetes"
    model = project.deploy.runtime == "vllm"
    if not kubernetes.adapters:
        yield f"{section}.adapters", f"`{section}.adapters` is missing: where pods find what was trained"
    if kubernetes.adapters.startswith("hf://"):
        yield f"{section}.adapters", f"`{section}.adapters` cannot be on the hub: use gs://, pvc:// or oci://"
    if kubernetes.adapters.startswith("pvc://") and not kubernetes.upload:
        what = f"`{section}.upload` is missing: how files come to the volume of `{section}.adapters`"
        yield f"{section}.upload", f"{what}, e.g. the bucket behind it"
    if not model:
        return
    if not kubernetes.base and kubernetes.adapters.startswith("oci://"):
        yield f"{section}.base", f"`{section}.base` is missing: where pods find the base's weights"
    if kubernetes.base.startswith("oci://") and not re.search(DIGEST, kubernetes.base):
        yield (
            f"{section}.base",
            f"`{section}.base` is an image without a digest; write `oci://...@sha256:...`",
        )
    if kubernetes.base.startswith("hf://") and "@" not in kubernetes.base and not kubernetes.allow_tags:
        yield f"{section}.base", f"`{section}.base` has no revision; write `hf://ORG/NAME@REVISION`"
    if not kubernetes.weights_gb and not weights_gb(project.base_model) and not weights_gb(kubernetes.base):
        what = f"`{section}.weights_gb` is missing: the base is none of the known models"
        yield f"{section}.weights_gb", f"{what}, and probes and GPUs go by its size"
    if project.train.method != "lora":
        yield (
            "train.method",
            "on Kubernetes vLLM serves LoRA adapters; `train.method: full` makes none",
        )
    if kubernetes.accelerator not in ("none", *GPU_MEMORY_GB) and not kubernetes.gpus:
        what = f"`{section}.gpus` is missing: the memory of `{kubernetes.accelerator}` is not known"
        yield f"{section}.gpus", f"{what}; known are {', '.join(GPU_MEMORY_GB)}"


def _scaling(project: Project) -> Iterator[tuple[str, str]]:
    kubernetes, section = project.deploy.kubernetes, "deploy.kubernetes"
    if kubernetes.max_replicas and kubernetes.max_replicas < kubernetes.replicas:
        what = f"`{section}.max_replicas` is {kubernetes.max_replicas}, less than `replicas`"
        yield f"{section}.max_replicas", f"{what}: {kubernetes.replicas}"
    if kubernetes.scale_by == "keda" and not kubernetes.prometheus:
        yield f"{section}.prometheus", f"`{section}.prometheus` is missing: KEDA asks it for the metric"
    if kubernetes.hosts and not kubernetes.gateway:
        yield f"{section}.hosts", f"`{section}.hosts` has no effect without `{section}.gateway`"
    if kubernetes.gateway_header and not kubernetes.gateway:
        yield f"{section}.gateway_header", f"`{section}.gateway_header` has no effect without a gateway"
