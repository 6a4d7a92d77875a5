"""What of a cluster's state takes a revision for lost, and what does not: pure, from what a look saw."""

import pytest

from tuneline.control.cluster import Cluster
from tuneline.control.cluster_sight import Sight
from tuneline.plan.standing import Placed, engine_of, router_of, wanted_of

OLD = Placed("1.0.0-1", "m@1.0.0", "m/0123456789abcdef")
NEW = Placed("1.1.0-2", "m@1.1.0", "m/fedcba9876543210")
KUBERNETES = {"base": "gs://b/base", "adapters": "gs://b/adapters", "gateway": "infra/main", "weights_gb": 2}
WANTED = wanted_of({"endpoint": "e", "runtime": "vllm", "kubernetes": KUBERNETES}, "x", (OLD, NEW))
ENGINE, ROUTER = engine_of(WANTED, NEW).name, router_of(WANTED, NEW)


@pytest.fixture
def cluster(tmp_path):
    return Cluster(None, tmp_path, "e", "")


def deployment(asked, available):
    status = {"observedGeneration": 2, "updatedReplicas": asked, "availableReplicas": available}
    return {"metadata": {"generation": 2}, "spec": {"replicas": asked}, "status": status}


def sight(engine, router=(2, 2), **more):
    return Sight({ENGINE: deployment(*engine), ROUTER: deployment(*router)}, **more)


@pytest.mark.parametrize("engine, router", [((4, 1), (2, 2)), ((1, 1), (2, 1)), ((2, 1), (2, 1))])
def test_a_scaler_that_adds_pods_and_a_drain_that_moves_one_take_nothing_from_a_candidate(
    cluster, engine, router
):
    both = frozenset((OLD.release, NEW.release))
    seen = sight(engine, router, loaded={ENGINE: frozenset()}, somewhere={ENGINE: both})
    assert cluster.serves(WANTED, NEW, seen)
    assert not cluster.ready(WANTED, NEW, seen)  # it would be given no more than it has


def test_pods_that_cannot_be_asked_at_this_look_are_not_lost(cluster):
    assert cluster.serves(WANTED, NEW, sight((1, 1)))


@pytest.mark.parametrize(
    "seen",
    [
        sight((2, 0)),
        sight((1, 1), (2, 0)),
        sight((1, 1), somewhere={ENGINE: frozenset((OLD.release,))}),
        Sight(),
    ],
    ids=["no engine", "no router", "no adapter", "nothing"],
)
def test_without_any_pod_it_is_lost(cluster, seen):
    assert not cluster.serves(WANTED, NEW, seen)
