"""The controller of endpoints: a thread of the server that brings every endpoint to what is wanted there.

It is woken by changes and looks every half second anyway. Stopping it stops nothing that serves: routers and
runtimes go on by themselves, and the next server adopts them. `stop_all` is the one that ends them.
"""

import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tuneline.control.cluster_endpoint import ClusterEndpoint
from tuneline.control.endpoint import Endpoint
from tuneline.control.launching import Launching
from tuneline.control.looping import Loop
from tuneline.control.rollouts import Rollouts
from tuneline.errors import TunelineError
from tuneline.plan.endpoints import Desired, EndpointStore
from tuneline.plan.revisions import Policy
from tuneline.plan.rollouts import FeedbackSource, RolloutStore
from tuneline.types import Clock

LOG = logging.getLogger("tuneline.control")
PERIOD_S = 0.5
BUSY_PERIOD_S = 0.05
"""While something starts or stops."""


class Controller:
    """All endpoints of one home."""

    def __init__(
        self,
        store: EndpointStore,
        folder: Path,
        *,
        drain_s: float = 30.0,
        start_timeout_s: float = 120.0,
        launching: Launching,
        clock: Clock = time.time,
        rollouts: RolloutStore | None = None,
        feedback: FeedbackSource | None = None,
        cluster: Mapping[str, Any] | None = None,
    ) -> None:
        """folder: of all endpoints, one below it each. rollouts: without it none is looked at. feedback:
        where scores of answers come from, if they do. cluster: options of endpoints on clusters. Nothing
        happens before `start`."""
        self._store, self._folder, self._clock = store, folder, clock
        self._policy = Policy(start_timeout_s, drain_s)
        self._launching = launching
        self._rollouts, self._feedback, self._cluster = rollouts, feedback, dict(cluster or {})
        self._endpoints: dict[str, Endpoint | ClusterEndpoint] = {}
        self._executor = ThreadPoolExecutor(4, thread_name_prefix="tuneline-endpoint-job")
        self._loop = Loop("endpoints", self._look_once, store.listening, retry_s=PERIOD_S)

    def start(self) -> None:
        """Begin. What earlier servers left running is adopted."""
        self._loop.start()

    def stop(self, *, all: bool = False) -> None:
        """Stop looking after endpoints; with `all`, stop routers and runtimes too, and wait for that."""
        self._loop.stop()
        for each in self._endpoints.values():
            if isinstance(each, ClusterEndpoint):
                each.close()
        self._executor.shutdown(wait=False, cancel_futures=True)
        if all:
            self.stop_all()

    def stop_all(self) -> None:
        """Leave no process of any endpoint. Only when the controller is not running."""
        for desired in self._store.desired():
            try:
                self._endpoint(desired).stop_all()
            except (TunelineError, OSError) as error:
                LOG.error("%s could not be stopped in order: %s", desired.endpoint, error)

    def _look_once(self) -> float:
        everyone = list(self._store.desired())
        for desired in everyone:
            if self._loop.stopped:
                break
            try:
                endpoint = self._endpoint(desired)
                others = {each.port for name, each in self._endpoints.items() if name != desired.endpoint}
                others |= {each.port for each in everyone}
                endpoint.tick(desired, others)
            except (TunelineError, OSError) as error:
                LOG.error("%s: %s", desired.endpoint, error)
            except Exception:
                LOG.exception("%s: trying again", desired.endpoint)
        busy = any(each.busy for each in self._endpoints.values())
        return BUSY_PERIOD_S if busy else PERIOD_S

    def _endpoint(self, desired: Desired) -> Endpoint | ClusterEndpoint:
        name = desired.endpoint
        if name not in self._endpoints:
            folder = self._folder / name
            store, looking = self._rollouts, None
            if store is not None:
                looking = Rollouts(folder, store, self._feedback, self._clock)
            if desired.on_cluster:
                self._endpoints[name] = ClusterEndpoint(
                    desired, folder, self._store, self._executor, self._clock, looking, **self._cluster
                )
                return self._endpoints[name]
            self._endpoints[name] = Endpoint(
                desired,
                folder,
                self._store,
                self._launching,
                self._executor,
                self._policy,
                self._clock,
                looking,
            )
        return self._endpoints[name]
