"""Watches a pod from Airflow's triggerer, so that no worker waits with it.

The provider's trigger takes a pod for done when its task's container is; ours is done when the sidecar has
put the outputs into the bucket too, which is when the pod's phase says so. And it says why a pod does not
start. Works with the provider's versions from 10.5 on, whose own triggers differ.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from airflow.providers.cncf.kubernetes.triggers.pod import ContainerState, KubernetesPodTrigger
from airflow.providers.cncf.kubernetes.utils.pod_manager import PodLaunchTimeoutException
from airflow.triggers.base import TriggerEvent
from kubernetes.client import ApiClient

from tuneline_airflow.reasons import stuck

_BY_PHASE = {
    "Succeeded": ContainerState.TERMINATED,
    "Failed": ContainerState.FAILED,
    "Running": ContainerState.RUNNING,
}


class PodTrigger(KubernetesPodTrigger):
    """The provider's, but for when a pod has started and when it is done."""

    def __init__(self, *, told: Mapping[str, Any] | None = None, **given: Any) -> None:
        """told: what its event says beside the provider's own. given: as the provider's."""
        super().__init__(**given)
        self.told = dict(told or {})

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """As the provider's."""
        return f"{__name__}.{type(self).__name__}", {**super().serialize()[1], "told": self.told}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """As the provider's."""
        async for event in super().run():
            yield TriggerEvent({**event.payload, **self.told})

    def define_pod_container_state(self, pod: Any) -> ContainerState:
        """By the pod's phase alone."""
        phase = pod.status.phase if pod.status is not None else None
        return _BY_PHASE.get(str(phase), ContainerState.UNDEFINED)

    def define_container_state(self, pod: Any) -> ContainerState:
        """What the provider asks for in its older versions."""
        return self.define_pod_container_state(pod)

    async def _wait_for_pod_start(self) -> ContainerState:
        """Raises: PodLaunchTimeoutException saying why it is given up."""
        while True:
            pod = await self._get_pod()
            state = self.define_pod_container_state(pod)
            if state is not ContainerState.UNDEFINED:
                return state
            if why := stuck(shown(pod), waited_s(pod, self.trigger_start_time), self.startup_timeout):
                raise PodLaunchTimeoutException(why)
            await asyncio.sleep(self.poll_interval)


def shown(pod: Any) -> dict[str, Any]:
    """A pod as Kubernetes' JSON, whichever client read it: older ones' `to_dict` has other names."""
    found: dict[str, Any] = _client().sanitize_for_serialization(pod)
    return found


@cache
def _client() -> ApiClient:
    return ApiClient()


def waited_s(pod: Any, since: datetime) -> float:
    """Seconds since a pod was made. since: when somebody began to look, if the pod does not say."""
    made = pod.metadata.creation_timestamp or since
    if isinstance(made, str):
        made = datetime.fromisoformat(made)
    return time.time() - made.astimezone(UTC).timestamp()
