"""The Kubernetes executor: a task is a pod, over the provider's KubernetesPodOperator.

The provider finds pods again after a crash, follows logs and talks to the cluster; ours is what stands in a
pod (`pods.py`), how it stands (`reasons.py`) and what it put out. A pod lost with its node is made again
within the same attempt, so it costs the task none of its tries; the new one goes on from the last
checkpoint. Limits: a pod that a user kills in Airflow has `upload_time` to save its outputs, which nobody
then reads.
"""

import base64
import hashlib
import json
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from inspect import signature
from typing import Any, NoReturn

from airflow.providers.cncf.kubernetes.operators.pod import (
    KubernetesPodOperator,
    PodCredentialsExpiredFailure,
)
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from airflow.sdk import BaseOperator
from kubernetes.client import V1Pod, V1PodStatus
from kubernetes.client.exceptions import ApiException

from tuneline_airflow.described import Described
from tuneline_airflow.launch import Launch
from tuneline_airflow.operators import Step
from tuneline_airflow.outline import Place
from tuneline_airflow.pod_trigger import PodTrigger, shown, waited_s
from tuneline_airflow.pods import BASE, FOLDER, LABEL, TAKE, labels_of, pod_of
from tuneline_airflow.reasons import GONE, How, Standing, ended, stuck

LINE = "tuneline-result"
"""Begins each line of a result that is too long for a termination message (`steps/carry.py`)."""
SPOT_RETRIES, STARTUP_S = 3, 1800.0
CONFUSED = 3
"""How often a watch may break off, by an error of the triggerer's or of the API's, with the pod still
there."""


class PodOperator(Step, KubernetesPodOperator):
    """Runs a task as a pod."""

    ui_color = "#e4ecf7"
    template_fields = ()
    pod: Any

    def __init__(self, *, frame: Any = None, **kwargs: Any) -> None:
        super().__init__(termination_message_policy="FallbackToLogsOnError", **kwargs)
        self.frame = frame
        self._kept = ""
        self._told: dict[str, Any] = {}

    def task_folder(self, kept: str) -> str:
        """See `Step`."""
        self._kept = kept
        return FOLDER

    def execute(self, context: Any) -> Any:
        """The task's record, or a deferral until the pod has ended. Raises: see `Step`."""
        launch = self.begin(context)
        self._start(context, launch, 0)
        while not self.deferrable:
            record = self._conclude(context, launch, self._watched())
            if record is not None:
                return record
        return None  # not reached: `_start` has deferred

    def trigger_reentry(self, context: Any, event: dict[str, Any]) -> Any:
        """What `execute` goes on with when the pod has ended, or its watch has."""
        launch = self.begin(context)
        return self._conclude(context, launch, event)

    def defer(self, *, trigger: Any, **kwargs: Any) -> None:
        """Defer to our own trigger, which the provider knows nothing of."""
        super().defer(trigger=PodTrigger(**trigger.serialize()[1], told=self._told), **kwargs)

    def _watch(self, context: Any) -> NoReturn:
        """Let the triggerer watch the pod. Raises: TaskDeferred, in every case.

        The provider does not defer for a pod whose task's container has ended, and drops what comes of it;
        ours has not ended while its sidecar saves. So it is shown a pod that waits.
        """
        self.pod = V1Pod(metadata=self.pod.metadata, status=V1PodStatus(phase="Pending"))
        self.convert_config_file_to_dict()  # of a file, which the triggerer may not have; older ones do not
        knows = "context" in signature(self.invoke_defer_method).parameters
        self.invoke_defer_method(**({"context": context} if knows else {}))
        raise AssertionError("the provider did not defer")

    def _start(self, context: Any, launch: Launch, loss: int) -> None:
        """Make the pod, or find the one that an earlier worker made, and defer if that is wanted."""
        try:
            pod = pod_of(launch, state=self._kept.rpartition("/")[0] + "/state", loss=loss)
        except ValueError as error:
            self.fail(context, f"Task `{launch.task}` could not be started: {error}.", retry=False)
        self.labels = labels_of(launch)
        self.startup_timeout_seconds = round(launch.on.get("startup_timeout", STARTUP_S))
        self.full_pod_spec = PodGenerator.deserialize_model_dict(pod)
        self.pod_request_obj = self.build_pod_request_obj(context)
        self.pod = self.get_or_create_pod(self.pod_request_obj, context)
        found = int(
            self.pod.metadata.labels.get(f"{LABEL}loss", loss)
        )  # more, if a worker before this saw it
        self._told = {"loss": max(loss, found)}
        if self.deferrable:
            self._watch(context)

    def _watched(self) -> dict[str, Any]:
        """Wait until the pod has ended, and show its task's log meanwhile: the event a trigger would send."""
        since, followed = datetime.now(UTC), False
        about = {
            "name": self.pod.metadata.name,
            "namespace": self.pod.metadata.namespace,
            **self._told,
        }
        while True:
            pod = self._found(about)
            if pod is None or ended(shown(pod)).how is not How.RUNNING:
                return {**about, "status": "success", "followed": followed}
            if why := stuck(shown(pod), waited_s(pod, since), self.startup_timeout_seconds):
                return {**about, "status": "timeout", "message": why}
            if pod.status.phase == "Running" and not followed:
                followed = self._followed(pod)
            time.sleep(self.poll_interval)

    def _followed(self, pod: Any) -> bool:
        """Show the task's log until its container has ended; False if it is to be begun anew."""
        try:
            self.await_pod_completion(pod)
        except PodCredentialsExpiredFailure:  # a token that lasts an hour, in a training that lasts longer
            return False
        except ApiException:  # of a pod that is evicted while it is read
            pass
        return True

    def _conclude(self, context: Any, launch: Launch, event: Mapping[str, Any]) -> dict[str, Any] | None:
        """The task's record; None if another pod was made in place of a lost one. Raises: see `Step`."""
        pod = self.pod = self._found(event)
        standing = GONE if pod is None else ended(shown(pod))
        if event["status"] == "timeout" and standing.how is How.RUNNING:
            standing = Standing(How.FAILED, str(event["message"]))
        if standing.how is How.RUNNING:
            self._look_again(context, launch, event)
        if pod is not None and self.get_logs and not event.get("followed"):
            with suppress(Exception):  # the log is gone with its node: the reason is what counts
                self._write_logs(pod)
        if standing.how is How.DONE:
            return self._done(context, launch, pod, standing.message or {})
        self._retire(pod)
        if standing.how is How.LOST:
            self._lost(context, launch, standing, int(event.get("loss", 0)) + 1)
            return None
        self.fail_attempt(context, f"Task `{launch.task}`: {standing.reason}", retry=standing.retry)

    def _look_again(self, context: Any, launch: Launch, event: Mapping[str, Any]) -> NoReturn:
        """Watch on, as the pod is still there. Raises: TaskDeferred; AirflowException if that went on
        long."""
        seen = int(event.get("confused", 0)) + 1
        if event["status"] == "error" and seen > CONFUSED:
            self.fail_attempt(context, f"Task `{launch.task}`: its pod cannot be watched: {event['message']}")
        self._told = {"loss": event.get("loss", 0), "confused": seen}
        self.startup_timeout_seconds = round(launch.on.get("startup_timeout", STARTUP_S))
        self._watch(context)

    def _lost(self, context: Any, launch: Launch, standing: Standing, loss: int) -> None:
        """Make another pod, if that may be."""
        allowed = int(launch.on.get("spot_retries", SPOT_RETRIES))
        if loss > allowed:
            what = f"Task `{launch.task}`: its pod was lost {loss} times, and may be {allowed} times"
            self.fail_attempt(context, f"{what}. {standing.reason}")
        self.log.warning(
            "The pod was lost (%s); loss %s of %s: it is made again.", standing.reason, loss, allowed
        )
        self._start(context, launch, loss)

    def _done(self, context: Any, launch: Launch, pod: Any, message: Mapping[str, Any]) -> dict[str, Any]:
        try:
            result = message["result"] if "result" in message else self._printed(pod, message)
        except (ValueError, KeyError, zlib.error) as error:
            self._retire(pod)
            self.fail_attempt(context, f"Task `{launch.task}` ended well, but its result is torn: {error}.")
        artifacts = {name: {"artifacts": listed} for name, listed in result["artifacts"].items()}
        body = json.dumps({"parameterValues": result["values"], "artifacts": artifacts})
        finished = self.finished(context, launch, body, result["files"])
        self._retire(pod)
        self.do_xcom_push = (
            True  # to the provider it means a container of its own, to Airflow that this is kept
        )
        return self.finish(context, finished)

    def _printed(self, pod: Any, message: Mapping[str, Any]) -> dict[str, Any]:
        """A result that `take` printed. Raises: ValueError if it is not all there."""
        log = self.client.read_namespaced_pod_log(
            pod.metadata.name, pod.metadata.namespace, container=TAKE, _preload_content=False
        ).data.decode("utf-8", "replace")
        words = [line.split(" ", 2) for line in log.splitlines() if line.startswith(f"{LINE} ")]
        chunks = {int(number): chunk for _, number, chunk in words}
        packed = "".join(chunks[number] for number in range(int(message["lines"])))
        text = zlib.decompress(base64.b64decode(packed))
        if hashlib.sha256(text).hexdigest() != message["sha256"]:
            raise ValueError("it does not have the digest it was signed with")
        result: dict[str, Any] = json.loads(text)
        return result

    def _found(self, about: Mapping[str, Any]) -> Any:
        """The pod, or None if it is not there any more. Raises: ApiException."""
        for again in (True, False):
            try:
                return self.hook.get_pod(about["name"], about["namespace"])
            except ApiException as error:
                if error.status == 404:
                    return None
                if error.status != 401 or not again:
                    raise
                for name in ("hook", "client", "pod_manager"):  # they keep the token that they began with
                    self.__dict__.pop(name, None)
        return None  # not reached

    def _retire(self, pod: Any) -> None:
        """See that no later worker takes the pod for its own, and delete it if that is wanted."""
        if pod is not None:
            self.patch_already_checked(pod, reraise=False)
            self.process_pod_deletion(pod, reraise=False)


class PodExecutor:
    """See `operators.Executor`."""

    operator: type[BaseOperator] = PodOperator

    def __init__(self, connection: str = "", deferrable: bool = True, **options: Any) -> None:
        """connection: of Airflow, to the cluster; by default the cluster it runs in. deferrable: whether the
        triggerer watches pods. options: of KubernetesPodOperator, e.g. `on_finish_action`."""
        self._options = {"deferrable": deferrable, **options}
        if connection:
            self._options["kubernetes_conn_id"] = connection

    def arguments(self, described: Described, place: Place) -> Mapping[str, Any]:
        """The same for every task: what differs is in its `Launch`."""
        return {"base_container_name": BASE, **self._options}
