"""Who says how many pods a Deployment has, against a server that keeps who set which field. 5 s: manifests
are judged by Kubernetes' schemas."""

from dataclasses import replace

import pytest
from tests.kubernetes_api import api_server

from tuneline.control.cluster import Cluster
from tuneline.control.cluster_api import Api
from tuneline.control.kubeconfig import Access
from tuneline.export.kubernetes import script
from tuneline.plan.standing import Placed, wanted_of

pytestmark = pytest.mark.slow
DIGEST = "sha256:" + "a" * 64
RELEASE = Placed("1.0.0-1", "m@1.0.0", "m/0123456789abcdef")


def wanted(**keys):
    kubernetes = {
        "namespace": "ml", "image": f"r/vllm@{DIGEST}", "router_image": f"r/tuneline@{DIGEST}",
        "base": "pvc://models/gemma", "adapters": "pvc://models/adapters", "weights_gb": 2.0, **keys,
    }  # fmt: skip
    deploy = {"endpoint": "e", "runtime": "vllm", "on": "kubernetes", "kubernetes": kubernetes}
    return replace(wanted_of(deploy, "x", (RELEASE,)), live=RELEASE.id)


@pytest.fixture
def server(tmp_path):
    """Applies as a server that has just been started, and says how many pods the engine has then."""
    with api_server(tmp_path / "pods") as (cluster, url):

        def apply(**keys):
            api = Api(Access(url, True, lambda: "bearer", "the test"), "ml")
            Cluster(api, tmp_path / "endpoint", "e", script()).apply(wanted(**keys), 0.0)
            api.close()
            return cluster.get("Deployment", "vllm")["spec"]["replicas"]

        yield cluster, apply


def test_a_scaler_gets_the_number_of_pods_as_it_is_and_keeps_what_it_makes_of_it(server):
    """A field that its applier leaves out is deleted, and defaulted to one pod: three would become one."""
    cluster, apply = server
    assert apply(replicas=3) == 3
    assert apply(replicas=2, max_replicas=5) == 3
    deployment = cluster.get("Deployment", "vllm")
    cluster.scale(deployment["metadata"]["name"], 4)
    assert apply(replicas=2, max_replicas=5) == 4
    (owner,) = cluster.get("Deployment", "vllm")["metadata"]["managedFields"]
    assert owner["manager"] == "kube-controller-manager"
    assert apply(replicas=2) == 2  # without a scaler the number is ours again


def test_a_deployment_that_is_scaled_begins_with_the_least(server):
    _, apply = server
    assert apply(replicas=2, max_replicas=5) == 2
