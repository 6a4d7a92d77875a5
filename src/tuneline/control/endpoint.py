"""One endpoint: looks at its processes and files, asks `plan.lifecycle.decide`, does what that says, and
writes down what is the case.

What it must know after a restart of the server is in the record (`observe`) and in `traffic.json`; where the
two differ, traffic.json is right, because that is what the router serves.
"""

import logging
from collections.abc import Container, Mapping
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuneline.control import holding, processes
from tuneline.control.adopting import adopt, process_of
from tuneline.control.launching import Launching, revision_log
from tuneline.control.observing import job_of, phase, to_json
from tuneline.control.processes import MARK, Running
from tuneline.control.rollouts import Rollouts
from tuneline.control.routes import Routes
from tuneline.errors import TunelineError
from tuneline.plan import revisions as plan
from tuneline.plan.apps import KIND as APP
from tuneline.plan.endpoints import Desired, EndpointStore
from tuneline.plan.lifecycle import decide, failures_after, patience
from tuneline.plan.revisions import Policy, Revision, Role, Seen, Split, State
from tuneline.types import Clock

LOG = logging.getLogger("tuneline.control")


class Endpoint:
    """One endpoint. Used by one thread."""

    def __init__(
        self,
        desired: Desired,
        folder: Path,
        store: EndpointStore,
        launching: Launching,
        executor: Executor,
        policy: Policy,
        clock: Clock,
        rollouts: Rollouts | None = None,
    ) -> None:
        self.name, self.folder, self._desired = desired.endpoint, folder, desired
        self._taken_ports: Container[int] = ()
        self._store, self._launching, self._executor = store, launching, executor
        self._policy, self._clock, self._rollouts = policy, clock, rollouts
        self._jobs: dict[str, Future[None]] = {}
        self._problem = ""
        (folder / "revisions").mkdir(parents=True, exist_ok=True)
        self._saved: Mapping[str, Any] = store.observed(self.name)
        self.port = int(self._saved.get("port") or 0)
        self._number = int(self._saved.get("number") or 0)
        self._hold_at = 0.0
        self._routes = Routes(folder, self.name)
        found = adopt(self.folder, self._saved, self._routes, self._clock())
        self._revisions = {each.id: each for each in found}

    @property
    def busy(self) -> bool:
        """Whether something is under way that should be looked at soon again."""
        waiting = (State.CHECKING, State.STARTING, State.WARMING, State.STOPPING)
        unheard = self._routes.routed is not None and not self._routes.acknowledged()[0]
        return unheard or any(each.state in waiting for each in self._revisions.values())

    def tick(self, desired: Desired, taken_ports: Container[int]) -> None:
        """Look, decide, act, and keep what was seen. Raises: TunelineError, OSError; then try again later."""
        self._desired, self._taken_ports = desired, taken_ports
        self._routes.configure(desired)
        for action in decide(desired, self._look(), self._clock(), patience(desired, self._policy)):
            self._apply(action)
        self._save()
        if self._rollouts is not None:
            self._rollouts.look(desired, tuple(self._revisions.values()))

    def stop_all(self) -> None:
        """Stop router and runtimes, for the machine's sake: what is live stays so, and comes back later."""
        holding.stop(self.folder, self._policy.drain_s + 10)
        found = [process for each in self._revisions.values() if (process := process_of(each))]
        for process in found:
            processes.terminate(process)
        processes.wait(found, self._policy.drain_s)
        for process in found:
            processes.kill(process)
        processes.wait(found, 5.0)
        live = [each for each in self._revisions.values() if each.role is Role.LIVE]
        self._revisions = {
            each.id: replace(each, state=State.DOWN, pid=None, failures=0, retry_at=0.0, final=False)
            for each in live
        }
        self._observe("stopped", "Stopped with everything else; `tuneline up` starts it again.")

    # Look

    def _look(self) -> Seen:
        desired, everyone = self._desired, tuple(self._revisions.values())
        wanted = (desired.release, desired.trial.release if desired.trial else None)
        alive = frozenset(each.id for each in everyone if processes.alive(process_of(each)))
        asked = [
            each
            for each in everyone
            if each.id in alive
            and (each.state is State.STARTING or (each.role is Role.KEPT and each.release in wanted))
        ]
        acknowledged, in_flight = self._routes.acknowledged()
        return Seen(
            live=self._store.live(self.name),
            holding=self._is_holding(),
            revisions=everyone,
            alive=alive,
            healthy=frozenset(each.id for each in asked if self._is_ready(each)),
            jobs={name: job_of(future) for name, future in self._jobs.items()},
            routed=self._routes.routed,
            split=self._routes.split,
            acknowledged=acknowledged,
            in_flight=in_flight,
        )

    def _is_ready(self, revision: Revision) -> bool:
        return self._launching.is_ready(self._store.release(revision.release), revision.port)

    def _is_holding(self) -> bool:
        if holding.running(self.folder) is None:
            return False
        return self._desired.port in (0, holding.read(self.folder).get("port"))

    # Act

    def _apply(self, action: plan.Action) -> None:
        """Do one thing. Doing it again does no harm."""
        match action:
            case plan.Hold():
                self._hold()
            case plan.Unhold():
                holding.stop(self.folder, self._policy.drain_s + 10)
            case plan.Begin(release):
                self._begin(release)
            case plan.Route(id, split):
                self._route(id, split)
            case plan.RecordLive(id):
                self._record_live(id)
            case plan.Retire():
                self._store.retire(self.name, self._desired.why, self._desired.by, self._clock())
            case _:
                self._apply_to_one(action)

    def _apply_to_one(self, action: plan.Action) -> None:
        """Do one thing to one revision's runtime."""
        match action:
            case plan.Check(id):
                self._check(id)
            case plan.Launch(id):
                self._launch(id)
            case plan.WarmUp(id):
                self._warm_up(id)
            case plan.Ready(id):
                ready_s = round(self._clock() - self._revisions[id].pid_started, 3)
                self._change(id, state=State.READY, error="", ready_s=ready_s)
            case plan.Fail():
                self._fail(action)
            case plan.Stop(id):
                self._stop(id)
            case plan.Kill(id):
                processes.kill(self._process(id))
            case plan.Drop(id):
                self._revisions.pop(id, None)

    def _hold(self) -> None:
        if self._clock() < self._hold_at:
            return
        try:
            if holding.running(self.folder) is not None:  # at another port than is wanted now
                holding.stop(self.folder, self._policy.drain_s + 10)
            port = self._desired.port or self.port or holding.first_free(self._taken_ports)
            self.port = holding.start(self.folder, port, self._policy.drain_s)
            self._problem = ""
        except TunelineError as error:
            self._problem, self._hold_at = f"{error.message} {error.hint}", self._clock() + 0.5
            LOG.warning("%s: %s", self.name, error.message)

    def _begin(self, release: str) -> None:
        self._number += 1
        id = f"{release.rpartition('@')[2]}-{self._number}"
        LOG.info("%s: %s is to go live as revision %s", self.name, release, id)
        self._revisions[id] = Revision(id, release, self._desired.generation, since=self._clock())
        self._check(id)

    def _check(self, id: str) -> None:
        self._change(id, state=State.CHECKING)
        release = self._revisions[id].release
        desired = self._desired_of(release)
        self._jobs[id] = self._executor.submit(
            lambda: self._launching.check(self._store.release(release), desired)
        )

    def _launch(self, id: str) -> None:
        facts = self._store.release(self._revisions[id].release)
        port, log = holding.any_free(), revision_log(self.folder, id)
        command = self._launching.command(facts, self._desired_of(facts.release), port)
        environment = {**self._launching.environment(facts), MARK: f"{self.folder}#{id}"}
        process = processes.spawn(command, log, environment, self.folder)
        self._jobs.pop(id, None)
        self._change(id, state=State.STARTING, port=port, pid=process.pid, pid_started=process.started)
        self._save()  # at once: the next server must find it

    def _warm_up(self, id: str) -> None:
        self._change(id, state=State.WARMING)
        revision = self._revisions[id]
        facts = self._store.release(revision.release)
        self._jobs[id] = self._executor.submit(self._launching.warm_up, facts, revision.port)

    def _route(self, id: str | None, split: Split) -> None:
        for each in list(self._revisions.values()):
            if each.id == id and each.role is not Role.LIVE:
                self._change(each.id, role=Role.LIVE)
            elif each.id != id and each.role is Role.LIVE:
                self._change(each.id, role=Role.KEPT)
            elif each.id == split.candidate and each.role is Role.KEPT:  # it was warm, and is tried again
                self._change(each.id, role=Role.CANDIDATE, failures=0, crashes=0)
        repeat_all, sticky = self._desired.runtime != APP, self._desired.sticky
        self._routes.write(id, self._revisions.values(), repeat_all, split, sticky)

    def _record_live(self, id: str) -> None:
        release, before, desired = self._revisions[id].release, self._store.live(self.name), self._desired
        wanted = release == desired.release
        why, by = (desired.why, desired.by) if wanted else ("it took over before its successor", "control")
        digest = before.digest if before else ""
        # a server that was killed before this line leaves it to the next one, which may come hours later
        at = self._routes.since(self._clock())
        self._store.went_live(self.name, release, digest, why, by, at)

    def _fail(self, action: plan.Fail) -> None:
        revision = self._revisions[action.id]
        process = process_of(revision)
        reason = action.reason
        if process is not None:
            code = processes.exit_code(process)
            processes.kill(process)
            said = processes.tail(revision_log(self.folder, revision.id))
            reason += f" Exit code {code}." if code is not None else ""
            reason += f" Its log ends with:\n{said}" if said else ""
        now = self._clock()
        LOG.warning("%s: revision %s is down: %s", self.name, revision.id, reason)
        self._change(
            revision.id,
            state=State.DOWN,
            pid=None,
            error=reason,
            final=action.final,
            failures=failures_after(revision, now),
            crashes=revision.crashes + 1,
            retry_at=now + action.retry_in_s,
        )
        self._jobs.pop(revision.id, None)

    def _stop(self, id: str) -> None:
        process = self._process(id)
        self._jobs.pop(id, None)
        if not processes.alive(process):
            del self._revisions[id]
            return
        assert process is not None
        processes.terminate(process)
        self._change(id, state=State.STOPPING)

    def _desired_of(self, release: str) -> Desired:
        """What is wanted of `release`: one on trial may have a runtime of its own."""
        trial = self._desired.trial
        if trial is None or trial.release != release or not trial.runtime:
            return self._desired
        return replace(self._desired, runtime=trial.runtime, deploy=trial.deploy or self._desired.deploy)

    def _change(self, id: str, **changes: Any) -> None:
        self._revisions[id] = replace(self._revisions[id], since=self._clock(), **changes)

    # Keep and find again

    def _save(self) -> None:
        live = self._store.live(self.name)
        self._observe(*phase(self._desired, live, tuple(self._revisions.values()), self._problem))

    def _observe(self, now_phase: str, message: str) -> None:
        weights = self._routes.weights
        body = {
            "url": f"http://{holding.HOST}:{self.port}" if self.port else None,
            "port": self.port or None,
            "phase": now_phase,
            "message": message,
            "revisions": [to_json(each, weights.get(each.id, 0.0)) for each in self._revisions.values()],
            "generation": self._routes.generation,
            "desired_generation": self._desired.generation,
            "number": self._number,
        }
        if body != self._saved:
            self._store.observe(self.name, body, self._clock())
            self._saved = body

    def _process(self, id: str) -> Running | None:
        return process_of(self._revisions[id])
