"""`deploy.kubernetes`: how an endpoint stands on a cluster. Frozen values; no IO, no YAML.

Names are those of `on.kubernetes`, where both have the same thing. What is made of it stands in
docs/kubernetes.md; what one key alone cannot tell is checked by `serving_checks`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tuneline.spec.keys import key
from tuneline.spec.on import OBJECT

PLACE: Final = r"(gs|pvc|oci|hf)://[\w.@:/+-]+"
"""Where pods find files: a bucket, a claim of a volume, an image, or the hub."""


@dataclass(frozen=True, kw_only=True)
class Vllm:
    """How vLLM serves on this machine, with `deploy.runtime: vllm`."""

    max_model_len: int = key(
        "integer", 4096, "Tokens a request may have, prompt and answer; never less than "
        "`train.max_length`.", low=64, high=1_048_576,
    )  # fmt: skip
    dtype: str = key(
        "text", "auto", "What it computes in; `auto` is as the base's files say: bfloat16.",
        choices=("auto", "bfloat16", "float16", "float32"),
    )  # fmt: skip
    gpus: int = key("integer", 1, "GPUs over which the tensors are split.", low=1, high=16)
    gpu_memory_utilization: float = key(
        "number", 0.3, "The part of a GPU's memory that one revision takes: up to three stand side by side "
        "while a release takes over.", above=0.0, high=1.0,
    )  # fmt: skip
    kv_cache_gb: int = key(
        "integer", 0, "Memory of the key-value cache instead; 0 goes by `gpu_memory_utilization`, and is 2 "
        "where vLLM computes on processors.", low=0, high=10_000,
    )  # fmt: skip
    max_num_seqs: int = key("integer", 64, "Requests computed at once; more wait.", low=1, high=4096)
    start_timeout_s: float = key(
        "duration", 900.0, "How long it may take until it is ready.", low=1, high=86_400
    )
    args: tuple[str, ...] = key(
        "texts", (), "More words of vLLM's command line, e.g. `[--quantization, fp8]`."
    )


@dataclass(frozen=True, kw_only=True)
class Kubernetes:
    """The endpoint's Deployments, Services and routes on a cluster, with `deploy.on: kubernetes`."""

    namespace: str = key("text", "default", "Where everything of the endpoint is; it must exist.",
                          pattern=OBJECT)  # fmt: skip
    context: str = key(
        "text", "", "Of the kubeconfig; by default the cluster that the server runs in, else the current one."
    )
    image: str = key(
        "text", "", "The image that serves, by digest: vLLM's, `vllm/vllm-openai@sha256:...`, or for "
        "`pyfunc` one with tuneline and the code's requirements.",
    )  # fmt: skip
    router_image: str = key("text", "", "The image with tuneline that routes, by digest.")
    allow_tags: bool = key("flag", False, "Whether images may be named by a tag alone, which can change.")
    image_pull_secrets: tuple[str, ...] = key(
        "texts", (), "Secrets of Kubernetes to pull images with, by name.", pattern=OBJECT
    )
    base: str = key(
        "text", "", "Where pods find the base: `gs://BUCKET/PATH`, `pvc://CLAIM/PATH`, "
        "`oci://IMAGE@sha256:...` or `hf://ORG/NAME@REVISION`; by default the server puts the files that "
        "were trained on beside the adapters.", pattern=PLACE,
    )  # fmt: skip
    adapters: str = key(
        "text", "", "Where pods find adapters: `gs://BUCKET/PATH` or `pvc://CLAIM/PATH`, a folder each; or "
        "`oci://IMAGE`, an image each.", pattern=PLACE,
    )  # fmt: skip
    upload: str = key(
        "text", "", "Where the server writes adapters: a bucket, or a folder's absolute path; by default "
        "`adapters`, if that is a bucket.",
    )  # fmt: skip
    weights_gb: float = key(
        "number", 0.0, "The size of the base's weights; 0 takes it from the table of known models.",
        low=0.0, high=10_000.0,
    )  # fmt: skip
    accelerator: str = key(
        "text", "nvidia-l4", "The kind of GPU, as GKE labels its nodes, e.g. `nvidia-h100-80gb`; `none` "
        "serves on processors.", pattern=OBJECT,
    )  # fmt: skip
    gpus: int = key(
        "integer", 0, "GPUs of a pod, over which the tensors are split; 0 takes what the weights need.",
        low=0, high=16,
    )  # fmt: skip
    node_selector: Mapping[str, str] = key(
        "map", {}, "Labels of the nodes; by default GKE's for `accelerator`."
    )
    cpu: float = key("number", 0.0, "Processors of a pod; 0 takes what the GPUs need.", low=0.0, high=512.0)
    memory_gb: float = key(
        "number", 0.0, "Memory of a pod; 0 takes what the weights need.", low=0.0, high=10_000.0
    )
    max_model_len: int = key(
        "integer", 4096, "Tokens a request may have, prompt and answer.", low=64, high=1_048_576
    )
    max_loras: int = key("integer", 2, "Adapters that compute side by side.", low=1, high=64)
    replicas: int = key("integer", 1, "Pods that serve, at least.", low=1, high=1000)
    max_replicas: int = key(
        "integer", 0, "Pods that serve, at most: more than `replicas` makes an autoscaler.", low=0, high=1000
    )
    scale_by: str = key(
        "text", "pods", "What scales: an HPA on a metric of pods, or a ScaledObject of KEDA.",
        choices=("pods", "keda"),
    )  # fmt: skip
    scale_metric: str = key(
        "text", "vllm:num_requests_waiting", "The metric, as the cluster's adapter or Prometheus names it."
    )
    scale_at: float = key("number", 4.0, "Its average over pods above which one more is started.", above=0.0)
    prometheus: str = key("text", "", "For KEDA: the address of Prometheus.")
    service: str = key(
        "text", "ClusterIP", "The type of the endpoint's Service.",
        choices=("ClusterIP", "LoadBalancer", "NodePort"),
    )  # fmt: skip
    router_replicas: int = key("integer", 2, "Pods of each router.", low=1, high=100)
    gateway: str = key(
        "text", "", "The Gateway that requests come through, `NAMESPACE/NAME`: its route then has the "
        "weights.", pattern=rf"({OBJECT}/)?{OBJECT}",
    )  # fmt: skip
    hosts: tuple[str, ...] = key("texts", (), "Host names of that route; none takes all.")
    gateway_header: bool = key(
        "flag", False, "Whether the gateway sets `x-tuneline-release` too; not every gateway can."
    )
    service_account: str = key(
        "text", "", "The service account of the pods: the identity that reads the bucket.", pattern=OBJECT
    )
    hf_secret: str = key(
        "text", "", "For `hf://`: the Secret whose key `token` is the hub's, mounted as a file.",
        pattern=OBJECT,
    )  # fmt: skip
    start_timeout_s: float = key(
        "duration", 0.0, "How long a pod may take until it is ready; 0 goes by the size of the weights.",
        low=0, high=86_400,
    )  # fmt: skip
