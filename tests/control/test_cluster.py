"""Endpoints on a cluster: the controller against a real HTTP server that is as strict as Kubernetes' API."""

import json
import time
from pathlib import Path

import pytest
from tests.control.conftest import Store
from tests.kubernetes_api import api_server

from tuneline.control.cluster_api import Api
from tuneline.control.cluster_files import put
from tuneline.control.endpoints import Controller
from tuneline.control.kubeconfig import Access
from tuneline.plan.endpoints import ReleaseFacts
from tuneline.plan.rollout_plan import RolloutPlan
from tuneline.plan.standing import from_deploy
from tuneline.record.record import Record
from tuneline.record.releases import Proposal
from tuneline.record.rollouts import Asked
from tuneline.types import digest_json

pytestmark = pytest.mark.slow
DIGEST = "sha256:" + "a" * 64
PLAN = RolloutPlan(stages=(20.0, 50.0, 100.0), every_s=0.1, min_requests=20, metrics=("errors",),
                   margins={"errors": 0.2})  # fmt: skip


def deploy(folder, **more):
    kubernetes = {
        "namespace": "ml", "image": f"vllm/vllm-openai@{DIGEST}", "router_image": f"r/tuneline@{DIGEST}",
        "base": "pvc://models/gemma", "adapters": "pvc://models/adapters", "upload": str(folder / "bucket"),
        "weights_gb": 2.0, "router_replicas": 1, "gateway": "infra/main", **more,
    }  # fmt: skip
    return {"endpoint": "e", "runtime": "vllm", "on": "kubernetes", "kubernetes": kubernetes, "keep_s": 60.0}


class Releases:
    """Packages on disk; how a release behaves is told by its adapter's folder."""

    def __init__(self, folder):
        self.folder, self.kinds = folder, {}

    def facts(self, release):
        kind = self.kinds.get(release.rpartition("@")[2], "good")
        package = self.folder / "packages" / release
        (package / "adapter").mkdir(parents=True, exist_ok=True)
        (package / "adapter" / "adapter_config.json").write_text(release)
        number = release.rpartition("@")[2].replace(".", "")
        manifest = {"adapter_digest": f"sha256:{kind}{number}", "recipe": {"r": 64 if kind == "wide" else 8}}
        return ReleaseFacts(release, "m", package, f"sha256:{release}", Path(), {}, manifest)


class World:
    """A cluster, a record, and a server's controller that may come and go."""

    def __init__(self, folder, cluster, url):
        self.folder, self.cluster, self.url = folder, cluster, url
        self.releases, self.controller, self.rollouts = Releases(folder), None, None
        self.store = Store()
        self.store.release = self.releases.facts
        self.deploy = deploy(folder)

    def connect(self, kubernetes):
        return Api(Access(self.url, True, lambda: "secret-bearer", "the test"), kubernetes.namespace)

    def up(self):
        options = {"connect": self.connect, "period_s": 0.02, "node_s": 1.0, "check": check}
        self.controller = Controller(
            self.store, self.folder / "endpoints", launching=None, cluster=options, rollouts=self.rollouts
        )
        self.controller.start()

    def down(self):
        self.controller.stop()

    def want(self, release, **more):
        self.store.want(release, deploy=self.deploy, runtime="vllm", keep_s=self.deploy["keep_s"], **more)

    def seen(self):
        return self.store.observed("e")

    def until(self, condition, within_s=20.0):
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, self.seen()
            time.sleep(0.01)

    def generations(self):
        found = self.cluster.objects.items()
        return {name: each["metadata"]["generation"] for name, each in found if name[0] != "Pod"}

    def until_live(self, release):
        def live():
            found = self.store.live("e")
            return self.seen().get("phase") == "live" and found is not None and found.release == release

        self.until(live)

    def state(self, release):
        return next(
            (each["state"] for each in self.seen().get("revisions", ()) if each["release"] == release), None
        )


def check(release, desired):
    """The proof has a test of its own; here files are brought to where pods find them."""
    put(release, desired.runtime, from_deploy(desired.deploy))


@pytest.fixture
def world(tmp_path):
    with api_server(tmp_path / "pods") as (cluster, url):
        world = World(tmp_path, cluster, url)
        world.up()
        yield world
        world.down()


def test_a_first_release_stands_and_is_live_when_its_route_is_applied(world):
    world.want("m@1.0.0")
    world.until_live("m@1.0.0")
    assert [name.partition("-vllm-")[0] for name in world.cluster.names("Deployment")] == ["e-1-0-0-1", "e"]
    assert world.cluster.weights() == {"e-1-0-0-1": 1000}
    assert (world.folder / "bucket/m/good100/adapter_config.json").read_text() == "m@1.0.0"
    assert world.cluster.request(1) == ("m@1.0.0", 200)
    assert "beside what stands" not in world.seen()["message"]
    assert "secret-bearer" not in json.dumps(world.seen())


def test_a_new_release_comes_up_beside_the_old_on_the_same_engine_and_then_gets_all(world):
    world.want("m@1.0.0")
    world.until_live("m@1.0.0")
    before = world.cluster.get("Deployment", "vllm")["metadata"]["uid"]
    world.want("m@1.1.0")
    world.until_live("m@1.1.0")
    assert world.cluster.weights() == {"e-1-0-0-1": 0, "e-1-1-0-2": 1000}
    assert world.cluster.get("Deployment", "vllm")["metadata"]["uid"] == before
    assert world.cluster.get("Deployment", "vllm")["metadata"]["generation"] == 1
    (engine,) = [each for name, each in world.cluster.machines.items() if "vllm" in name]
    assert set(engine.loaded) == {"m@1.0.0", "m@1.1.0"}
    world.want("m@1.0.0")  # the way back is a change of weights: it is warm
    world.until_live("m@1.0.0")
    assert world.cluster.weights() == {"e-1-0-0-1": 1000, "e-1-1-0-2": 0}


def test_another_image_is_another_engine_and_the_old_one_is_not_touched_until_it_serves(world):
    world.want("m@1.0.0")
    world.until_live("m@1.0.0")
    old = world.cluster.get("Deployment", "vllm")
    world.deploy = deploy(world.folder, image=f"vllm/vllm-openai@sha256:{'b' * 64}")
    world.want("m@1.1.0")
    answered = []
    while (found := world.store.live("e")) is None or found.release != "m@1.1.0":
        answered.append(world.cluster.request(len(answered)))
    assert {status for _, status in answered} == {200}
    engines = [name for name in world.cluster.names("Deployment") if "vllm" in name]
    assert len(engines) == 2
    assert world.cluster.objects["Deployment", old["metadata"]["name"]] == old
    world.down()
    world.up()
    world.until_live("m@1.1.0")
    assert [name for name in world.cluster.names("Deployment") if "vllm" in name] == engines


def test_weights_move_from_the_route_to_our_router_and_nobody_is_refused(world):
    world.want("m@1.0.0")
    world.until_live("m@1.0.0")
    world.deploy["rollout"] = {"sticky": ["x-user"]}
    world.want("m@1.1.0", sticky=("x-user",))
    answered = []
    while (found := world.store.live("e")) is None or found.release != "m@1.1.0":
        answered.append(world.cluster.request(len(answered)))
    assert {status for _, status in answered} == {200}
    world.until(lambda: world.cluster.weights() == {"e": 1000})


def test_a_release_that_is_not_needed_any_more_goes_with_its_router_and_its_adapter(world):
    world.deploy["keep_s"] = 0.0
    world.want("m@1.0.0")
    world.until_live("m@1.0.0")
    world.want("m@1.1.0")
    world.until_live("m@1.1.0")
    world.until(lambda: world.cluster.weights() == {"e-1-1-0-2": 1000})
    world.until(lambda: not any("1-0-0" in name for _, name in list(world.cluster.objects)))
    (engine,) = [each for name, each in world.cluster.machines.items() if "vllm" in name]
    assert set(engine.loaded) == {"m@1.1.0"}


def test_an_adapter_that_vllm_refuses_keeps_the_old_release_and_says_why(world):
    world.want("m@1.0.0")
    world.until_live("m@1.0.0")
    world.releases.kinds["1.1.0"] = "bad"
    world.want("m@1.1.0")
    world.until(lambda: world.state("m@1.1.0") == "failed")
    world.until(lambda: world.seen()["phase"] == "failed")
    assert "rank 64 is greater than max_lora_rank 8" in world.seen()["message"]
    assert "m@1.0.0 stays live" in world.seen()["message"]
    world.until(lambda: world.cluster.weights() == {"e-1-0-0-1": 1000})
    assert world.cluster.request(1) == ("m@1.0.0", 200)


def test_pods_that_crash_keep_the_old_release_and_their_events_and_log_are_told(world):
    world.want("m@1.0.0")
    world.until_live("m@1.0.0")
    (old,) = [name for name in world.cluster.names("Deployment") if "vllm" in name]
    world.releases.kinds["1.1.0"] = "wide"
    warning = {"type": "Warning", "reason": "FailedMount", "message": "the bucket is not there"}
    cluster = world.cluster
    cluster.events = lambda pod: [warning]
    cluster.log = lambda pod: "torch.OutOfMemoryError: CUDA out of memory"
    cluster.trouble = lambda name: "CrashLoopBackOff" if "vllm" in name and name != old else None
    world.want("m@1.1.0")
    world.until(lambda: world.seen()["phase"] == "failed")
    message = world.seen()["message"]
    assert "CrashLoopBackOff" in message
    assert "ended with 1, Error" in message
    assert "FailedMount: the bucket is not there" in message
    assert "Its log ends with:\ntorch.OutOfMemoryError" in message
    assert world.cluster.weights()["e-1-0-0-1"] == 1000
    assert world.cluster.request(1) == ("m@1.0.0", 200)


def test_what_takes_more_is_said_before_it_starts(world):
    world.want("m@1.0.0")
    world.until(
        lambda: (
            "It takes a pod with 1 nvidia-l4, 4 CPU and 11 GB of memory" in world.seen().get("message", "")
        )
    )


def test_a_server_that_comes_back_adopts_what_stands_and_asks_for_nothing_new(world):
    world.want("m@1.0.0")
    world.until_live("m@1.0.0")
    before = {
        name: each["metadata"]["generation"]
        for name, each in world.cluster.objects.items()
        if name[0] != "Pod"
    }
    world.down()
    assert world.cluster.request(1) == ("m@1.0.0", 200)
    world.up()
    world.until(lambda: world.controller._endpoints)
    applied = len(world.cluster.applied)
    world.until(lambda: len(world.cluster.applied) > applied or len(world.cluster.applied) >= 2 * applied)
    world.until_live("m@1.0.0")
    after = {
        name: each["metadata"]["generation"]
        for name, each in world.cluster.objects.items()
        if name[0] != "Pod"
    }
    assert before == after
    assert [each["id"] for each in world.seen()["revisions"]] == ["1.0.0-1"]


def test_request_lines_come_to_the_endpoint_each_once_also_over_a_restart(world):
    world.want("m@1.0.0")
    world.until_live("m@1.0.0")
    for number in range(5):
        world.cluster.request(number)
    segments = world.folder / "endpoints/e/segments"
    world.until(lambda: len(lines(segments)) == 5)
    world.down()
    for number in range(5, 8):
        world.cluster.request(number)
    world.up()
    world.until(lambda: len(lines(segments)) == 8)
    assert [each["id"] for each in lines(segments)] == [f"r{number}" for number in range(8)]


def lines(segments):
    return [
        json.loads(line)
        for path in sorted(segments.glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def test_a_cluster_that_is_away_is_said_to_be_and_what_serves_goes_on(world):
    world.want("m@1.0.0")
    world.until_live("m@1.0.0")
    world.cluster.away = True
    world.until(lambda: "the API is away" in world.seen().get("message", ""))
    world.cluster.away = False
    world.until_live("m@1.0.0")


def test_where_nothing_is_wanted_nothing_stays(world):
    world.want("m@1.0.0")
    world.until_live("m@1.0.0")
    world.want(None)
    world.until(lambda: world.store.live("e") is None)
    world.until(lambda: {kind for kind, _ in list(world.cluster.objects)} <= {"Pod"})


def test_with_a_sticky_header_one_router_has_the_weights_and_is_told_at_once(world):
    world.deploy["rollout"] = {"sticky": ["x-user"]}
    world.want("m@1.0.0", sticky=("x-user",))
    world.until_live("m@1.0.0")
    world.want("m@1.1.0", sticky=("x-user",))
    world.until_live("m@1.1.0")
    (router,) = [each for name, each in world.cluster.machines.items() if "vllm" not in name]
    weights = {each["release"]: each["weight"] for each in router.traffic["revisions"]}
    assert weights == {"m@1.0.0": 0.0, "m@1.1.0": 100.0}
    assert world.cluster.weights() == {"e": 1000}
    assert world.cluster.request(1) == ("m@1.1.0", 200)


class Line(World):
    """A world with a real record, so that rollouts are real."""

    def __init__(self, folder, cluster, url):
        super().__init__(folder, cluster, url)
        self.record = Record(f"sqlite:///{folder / 'record.db'}")
        self.record.migrate()
        self.store, self.rollouts = self.record.endpoints, self.record.rollouts
        self.known = self.store.release
        self.store.release = self.releases.facts

    def release(self, number):
        live = self.record.endpoints.live("e")
        proposal = Proposal(
            model="m", package_uri="/", package_digest=digest_json(number), base_uri="/",
            base_digest=digest_json(""), manifest={"model": "m", "base": {}, "rows_digest": number},
            verdict={"passed": True, "rules": []}, proof={"passed": True}, report={}, deploy=self.deploy,
            live_digest=live.digest if live else "", approved=number == 0, why="asked for", run="",
            project_digest="", by="ann",
        )  # fmt: skip
        return self.record.releases.propose(proposal, time.time()).release

    def start(self, release):
        return self.rollouts.start("e", release, PLAN, Asked("ann", "to see", time.time()), forced=True)

    def ask_until(self, status):
        """Requests through the gateway, until the rollout has ended so."""
        seen, number = [], 0
        deadline = time.monotonic() + 40
        while self.rollouts.latest("e")["status"] != status:
            assert time.monotonic() < deadline, (self.rollouts.latest("e"), seen)
            for _ in range(10):
                self.cluster.request(number)
                number += 1
            weights = tuple(sorted(self.cluster.weights().items()))
            seen += [] if seen and seen[-1] == weights else [weights]
            time.sleep(0.02)
        return [dict(each) for each in seen]


@pytest.fixture
def line(tmp_path):
    with api_server(tmp_path / "pods") as (cluster, url):
        line = Line(tmp_path, cluster, url)
        line.release(0)
        line.up()
        line.until_live("m@1.0.0")
        yield line
        line.down()
        line.record.close()


def test_weights_follow_the_rollout_until_it_is_promoted(line):
    release = line.release(1)
    line.start(release)
    seen = line.ask_until("promoted")
    stages = [weights for weights in seen if len(weights) == 2]
    assert {"e-1-0-0-1": 800, "e-1-1-0-2": 200} in stages or {"e-1-0-0-1": 800, "e-1-0-1-2": 200} in stages
    line.until_live(release)
    assert 1000 in line.cluster.weights().values()


def test_a_candidate_whose_answers_fail_is_rolled_back_and_gets_nothing(line):
    line.releases.kinds["1.1.0"] = line.releases.kinds["1.0.1"] = "slow"
    release = line.release(1)
    line.start(release)
    line.ask_until("rolled_back")
    line.until(lambda: line.cluster.weights() == {"e-1-0-0-1": 1000})
    assert line.record.endpoints.live("e").release == "m@1.0.0"
    assert line.cluster.request(1) == ("m@1.0.0", 200)
