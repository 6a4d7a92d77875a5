"""One endpoint on a cluster: the same plan as for one on this machine (`plan.lifecycle`), another place.

Each look is made in a thread of its own, because a cluster that is away takes its time to say nothing. What
this server must know after a restart is in the record and in the folder's traffic.json, as for all endpoints:
the routers in pods are told of it, and their acknowledgements and request lines are brought to it.
A runtime that ended is started again by Kubernetes; what is decided here is what gets requests meanwhile.
"""

import logging
from collections.abc import Callable, Container, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuneline.control.cluster import Cluster
from tuneline.control.cluster_api import Api
from tuneline.control.cluster_files import manifest_base, placed
from tuneline.control.cluster_release import adopted, check, first_request, url_of
from tuneline.control.cluster_sight import Sight, applied_route, stands
from tuneline.control.kubeconfig import access
from tuneline.control.observing import from_json, job_of, phase, to_json
from tuneline.control.rollouts import Rollouts
from tuneline.control.routes import Routes
from tuneline.errors import TunelineError
from tuneline.export.kubernetes import script
from tuneline.plan import revisions as plan
from tuneline.plan.endpoints import Desired, EndpointStore, ReleaseFacts
from tuneline.plan.lifecycle import decide, failures_after
from tuneline.plan.revisions import Policy, Revision, Role, Seen, Split, State
from tuneline.plan.standing import Placed, Wanted, engine_of, from_deploy, wanted_of
from tuneline.serve.traffic import ACK_FILE, replace_json
from tuneline.spec.serving import Kubernetes
from tuneline.types import Clock

LOG = logging.getLogger("tuneline.control")
PERIOD_S = 1.0
NODE_S = 900.0
"""What a node and the pull of an image may take, beyond the start of a pod."""
RUNNING = (State.STARTING, State.WARMING, State.READY)
Connect = Callable[[Kubernetes], Api]
Check = Callable[[ReleaseFacts, Desired], None]


def connect(kubernetes: Kubernetes) -> Api:
    """The API that the project asks for. Raises: SettingError."""
    return Api(access(kubernetes.context), kubernetes.namespace)


class ClusterEndpoint:
    """One endpoint. `tick` is called by the controller's thread; all else happens in its own."""

    def __init__(
        self,
        desired: Desired,
        folder: Path,
        store: EndpointStore,
        executor: Executor,
        clock: Clock,
        rollouts: Rollouts | None = None,
        connect: Connect = connect,
        check: Check = check,
        period_s: float = PERIOD_S,
        node_s: float = NODE_S,
    ) -> None:
        self.name, self.folder, self._desired, self.port = desired.endpoint, folder, desired, 0
        self._store, self._executor, self._clock, self._rollouts = store, executor, clock, rollouts
        self._connect, self._check_one, self._period_s, self._node_s = connect, check, period_s, node_s
        self._jobs: dict[str, Future[None]] = {}
        self._alive: frozenset[str] = frozenset()
        self._cluster: tuple[Any, Cluster] | None = None
        self._problem, self._takes = "", ""
        folder.mkdir(parents=True, exist_ok=True)
        self._saved: Mapping[str, Any] = store.observed(self.name)
        self._number = int(self._saved.get("number") or 0)
        self._begun_with: dict[str, Any] = dict(self._saved.get("begun_with") or {})
        self._routes = Routes(folder, self.name)
        found = [adopted(from_json(each), self._routes, clock()) for each in self._saved.get("revisions", ())]
        self._revisions = {each.id: each for each in found}
        self._own = ThreadPoolExecutor(1, thread_name_prefix=f"tuneline-cluster-{self.name}")
        self._look: Future[None] | None = None
        self._next_at, self._said = 0.0, ""
        self._changing = False
        self._holds = True
        """Whether anything of it may stand."""

    @property
    def busy(self) -> bool:
        """Whether something is under way that should be looked at soon again."""
        return self._changing or self._look is not None

    def tick(self, desired: Desired, taken_ports: Container[int]) -> None:
        """Begin a look, unless one is under way or was just made. Raises: what the last one came to."""
        if self._look is not None:
            if not self._look.done():
                return
            look, self._look = self._look, None
            self._tell(look)
        now = self._clock()
        if now >= self._next_at:
            self._next_at = now + self._period_s
            self._look = self._own.submit(self._look_once, desired)

    def _tell(self, look: Future[None]) -> None:
        """Raise what a look came to, once: an API that is away says the same every second."""
        error = look.exception()
        said, self._said = self._said, repr(error) if error is not None else ""
        if error is not None and self._said != said:
            raise error

    def stop_all(self) -> None:
        """Nothing: what stands on a cluster is not this machine's to stop. `tuneline rollback`, or wanting
        nothing, takes it away."""
        self.close()

    def close(self) -> None:
        """No look any more; the one under way ends."""
        self._own.shutdown(wait=True, cancel_futures=True)
        if self._cluster is not None:
            self._cluster[1].close()

    # In its own thread

    def _look_once(self, desired: Desired) -> None:
        self._desired = desired
        self._holds = self._holds or desired.release is not None
        self._routes.configure(desired)
        try:
            cluster, wanted = self._place(), self._wanted()
            if desired.release is not None or self._revisions:
                cluster.apply(wanted, self._clock())
            sight = cluster.look(wanted)
            self._problem = ""
        except TunelineError as error:
            self._problem = f"{error.message} {error.hint}".strip()
            self._save()
            raise
        self._acknowledge(cluster, wanted, sight)
        for action in decide(
            desired, self._seen(cluster, wanted, sight), self._clock(), self._policy(wanted)
        ):
            self._apply(action, cluster, wanted, sight)
        self._save()
        if self._rollouts is not None:
            everyone = tuple(self._revisions.values())
            self._rollouts.look(desired, everyone, lambda each: each.id in self._alive)

    def _place(self) -> Cluster:
        kubernetes = from_deploy(self._desired.deploy)
        key = (kubernetes.context, kubernetes.namespace)
        if self._cluster is not None and self._cluster[0] != key:
            self._cluster[1].close()
            self._cluster = None
        if self._cluster is None:
            self._cluster = (key, Cluster(self._connect(kubernetes), self.folder, self.name, script()))
        return self._cluster[1]

    def _wanted(self) -> Wanted:
        """What is to stand: the revisions that run, with the traffic that was last written."""
        running = [each for each in self._revisions.values() if each.state in RUNNING]
        base = ""
        places: list[Placed] = []
        for each in running:
            facts = self._store.release(each.release)
            base = base or manifest_base(facts.manifest)
            places.append(self._placed(each.id, facts))
        wanted = wanted_of(self._desired.deploy, base, places)
        split, routed, ids = self._routes.split, self._routes.routed, {each.id for each in places}
        traffic = {**wanted.traffic, "generation": max(1, self._routes.generation)}
        return replace(
            wanted,
            live=routed if routed in ids else "",
            candidate=split.candidate if split.candidate in ids else "",
            weight=split.weight,
            shadow=split.shadow,
            traffic=traffic,
        )

    def _placed(self, id: str, facts: ReleaseFacts) -> Placed:
        desired = self._desired_of(facts.release)
        kubernetes = from_deploy({"kubernetes": self._begun_with.get(id) or desired.deploy.get("kubernetes")})
        place = placed(id, facts, desired.runtime, kubernetes)
        return replace(place, own=kubernetes, base_model=manifest_base(facts.manifest))

    def _policy(self, wanted: Wanted) -> Policy:
        slowest = max((wanted.as_of(each).capacity.start_s for each in wanted.revisions), default=0.0)
        return Policy(start_timeout_s=slowest + self._node_s)

    def _acknowledge(self, cluster: Cluster, wanted: Wanted, sight: Sight) -> None:
        """What a router of this machine says in ack.json, said for those in pods and for the gateway."""
        generation = self._routes.generation
        served = sight.acknowledged == generation or (not wanted.live and not wanted.revisions)
        if wanted.by_gateway:
            served = applied_route(sight.route) and not cluster.held_back if wanted.live else not sight.route
        body = {"generation": generation if served else -1, "in_flight": dict(sight.in_flight)}
        replace_json(self.folder / ACK_FILE, body)

    def _seen(self, cluster: Cluster, wanted: Wanted, sight: Sight) -> Seen:
        places = {each.id: each for each in wanted.revisions}
        ready = {id for id, each in places.items() if cluster.ready(wanted, each, sight)}
        now, alive = self._clock(), set()
        for each in self._revisions.values():
            if each.id not in places:
                continue
            place = places[each.id]
            lost = (
                each.state is State.READY
                and each.role is not Role.LIVE
                and not cluster.serves(wanted, place, sight)
            )
            if not lost and not self._gone(cluster, wanted, place, sight, each, now):
                alive.add(each.id)
        self._alive = frozenset(alive)
        acknowledged, in_flight = self._routes.acknowledged()
        return Seen(
            live=self._store.live(self.name),
            holding=self._holds,
            revisions=tuple(self._revisions.values()),
            alive=self._alive,
            healthy=frozenset(ready),
            jobs={name: job_of(future) for name, future in self._jobs.items()},
            routed=self._routes.routed,
            split=self._routes.split,
            acknowledged=acknowledged,
            in_flight=in_flight,
        )

    def _gone(
        self, cluster: Cluster, wanted: Wanted, place: Placed, sight: Sight, each: Revision, now: float
    ) -> bool:
        """Whether a revision that starts will never be ready; the live one is Kubernetes' to bring back."""
        if each.role is Role.LIVE or each.state is State.READY:
            return False
        return bool(cluster.hopeless(wanted, place, sight, now))

    # Act

    def _apply(self, action: plan.Action, cluster: Cluster, wanted: Wanted, sight: Sight) -> None:
        """Do one thing; what stands follows at the next look. Doing it again does no harm."""
        match action:
            case plan.Begin(release):
                self._begin(release)
            case plan.Check(id):
                self._check(id)
            case plan.Launch(id):
                self._launch(id, wanted, sight)
            case plan.WarmUp(id):
                self._warm_up(id, cluster, wanted, sight)
            case plan.Ready(id):
                took = round(self._clock() - self._revisions[id].pid_started, 3)
                self._change(id, state=State.READY, error="", ready_s=took)
            case plan.Fail():
                self._fail(action, cluster, wanted, sight)
            case plan.Stop(id):
                self._jobs.pop(id, None)
                self._change(id, state=State.STOPPING)
            case plan.Drop(id):
                self._revisions.pop(id, None)
            case plan.Unhold():
                cluster.remove_all()
                self._holds = False
            case plan.Hold() | plan.Kill():
                return
            case _:
                self._move(action)

    def _move(self, action: plan.Action) -> None:
        """Traffic, and the record of it."""
        match action:
            case plan.Route(id, split):
                self._route(id, split)
            case plan.RecordLive(id):
                self._record_live(id)
            case plan.Retire():
                self._store.retire(self.name, self._desired.why, self._desired.by, self._clock())

    def _begin(self, release: str) -> None:
        self._number += 1
        id = f"{release.rpartition('@')[2]}-{self._number}"
        LOG.info("%s: %s is to go live as revision %s", self.name, release, id)
        self._revisions[id] = Revision(id, release, self._desired.generation, since=self._clock())
        self._begun_with[id] = self._desired_of(release).deploy.get("kubernetes") or {}
        self._check(id)

    def _check(self, id: str) -> None:
        self._change(id, state=State.CHECKING)
        release = self._revisions[id].release
        desired = self._desired_of(release)
        self._jobs[id] = self._executor.submit(lambda: self._check_one(self._store.release(release), desired))

    def _launch(self, id: str, wanted: Wanted, sight: Sight) -> None:
        self._jobs.pop(id, None)
        now = self._clock()
        self._change(id, state=State.STARTING, pid_started=now)
        place = self._placed(id, self._store.release(self._revisions[id].release))
        engine = engine_of(wanted, place)
        mine, shared = wanted.as_of(place), stands(sight, engine)
        takes = mine.capacity.text(mine.kubernetes.replicas)
        self._takes = "" if shared else f"It takes {takes} beside what stands."
        LOG.info("%s: %s %s", self.name, id, f"shares {engine.name}" if shared else self._takes)
        self._save()

    def _warm_up(self, id: str, cluster: Cluster, wanted: Wanted, sight: Sight) -> None:
        self._change(id, state=State.WARMING)
        place = next(each for each in wanted.revisions if each.id == id)
        facts = self._store.release(place.release)
        path, body = first_request(facts, wanted.runtime, place)
        self._jobs[id] = self._executor.submit(cluster.ask_first, wanted, place, sight, path, body)

    def _route(self, id: str | None, split: Split) -> None:
        for each in list(self._revisions.values()):
            if each.id == id and each.role is not Role.LIVE:
                self._change(each.id, role=Role.LIVE)
            elif each.id != id and each.role is Role.LIVE:
                self._change(each.id, role=Role.KEPT)
            elif each.id == split.candidate and each.role is Role.KEPT:
                self._change(each.id, role=Role.CANDIDATE, failures=0, crashes=0)
        self._routes.write(id, self._revisions.values(), True, split, self._desired.sticky)
        self._next_at = 0.0  # at once: this may be the way back

    def _record_live(self, id: str) -> None:
        release, before, desired = self._revisions[id].release, self._store.live(self.name), self._desired
        wanted = release == desired.release
        why, by = (desired.why, desired.by) if wanted else ("it took over before its successor", "control")
        at = self._routes.since(self._clock())
        self._store.went_live(self.name, release, before.digest if before else "", why, by, at)

    def _fail(self, action: plan.Fail, cluster: Cluster, wanted: Wanted, sight: Sight) -> None:
        revision, now = self._revisions[action.id], self._clock()
        reason, why = action.reason, ""
        place = next((each for each in wanted.revisions if each.id == action.id), None)
        if place is not None:
            why = cluster.hopeless(wanted, place, sight, now)
            reason = why or action.reason.replace("Its runtime ended.", "None of its pods is ready any more.")
            reason = f"{reason} {cluster.story(wanted, place, sight)}".strip()
        LOG.warning("%s: revision %s is down: %s", self.name, revision.id, reason)
        self._jobs.pop(revision.id, None)
        # Kubernetes has started it again often enough, and vLLM refuses the same files again
        final = action.final or bool(why)
        self._change(
            revision.id, state=State.DOWN, error=reason, final=final,
            failures=failures_after(revision, now), crashes=revision.crashes + 1,
            retry_at=now + action.retry_in_s,
        )  # fmt: skip

    def _desired_of(self, release: str) -> Desired:
        """What is wanted of `release`: one on trial may have a runtime of its own."""
        trial = self._desired.trial
        if trial is None or trial.release != release:
            return self._desired
        deploy = {**trial.deploy, "endpoint": self.name} if trial.deploy else self._desired.deploy
        return replace(self._desired, runtime=trial.runtime or self._desired.runtime, deploy=deploy)

    def _change(self, id: str, **changes: Any) -> None:
        self._revisions[id] = replace(self._revisions[id], since=self._clock(), **changes)

    def _save(self) -> None:
        everyone = tuple(self._revisions.values())
        now_phase, message = phase(self._desired, self._store.live(self.name), everyone, self._problem)
        if now_phase == "starting" and self._takes:
            message = f"{message} {self._takes}"
        weights = self._routes.weights
        self._begun_with = {id: each for id, each in self._begun_with.items() if id in self._revisions}
        body = {
            "url": url_of(self.name, from_deploy(self._desired.deploy)),
            "port": None,
            "phase": now_phase,
            "message": message,
            "revisions": [to_json(each, weights.get(each.id, 0.0)) for each in everyone],
            "generation": self._routes.generation,
            "desired_generation": self._desired.generation,
            "number": self._number,
            "begun_with": self._begun_with,
        }
        waiting = (State.CHECKING, State.STARTING, State.WARMING, State.STOPPING)
        self._changing = any(each.state in waiting for each in everyone)
        if body != self._saved:
            self._store.observe(self.name, body, self._clock())
            self._saved = body
