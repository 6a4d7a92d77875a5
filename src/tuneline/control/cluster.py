"""One endpoint on a cluster: what is wanted is applied, what is there is looked at, adapters are loaded,
routers are told and asked. Everything may be repeated; what decides is not here.

A look costs three lists and a request or two to each router pod. Objects are applied when they are not what
was applied last, and all of them once a minute, so that what somebody else changed is put back.
"""

import base64
import json
import logging
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tuneline.control.cluster_api import Api, Object, owns_replicas
from tuneline.control.cluster_lines import Pulled, segments_of
from tuneline.control.cluster_sight import Sight, runs
from tuneline.errors import NetworkError, TransientError, TunelineError
from tuneline.plan.manifest_engine import adapter_list
from tuneline.plan.manifest_router import routers, secret_name, traffic
from tuneline.plan.manifests import KINDS, least, manifests
from tuneline.plan.pod_story import available, hopeless, is_ready, serving, story
from tuneline.plan.standing import (
    ADMIN_PORT,
    DOMAIN,
    PORT,
    Manifest,
    Placed,
    Wanted,
    engine_of,
    engines,
    router_of,
)
from tuneline.serve.pod_router import TOKEN_HEADER
from tuneline.types import digest_json

LOG = logging.getLogger("tuneline.control")
AGAIN_S = 60.0
LOAD_S = 60.0
PULL_PATIENCE_S = 300.0
"""How long an image may fail to be pulled, once the pod has a node."""


class Cluster:
    """Used by one thread."""

    def __init__(self, api: Api, folder: Path, endpoint: str, script: str) -> None:
        """folder: the endpoint's own. script: of the readiness probe."""
        self._api, self._endpoint, self._script = api, endpoint, script
        self._applied: dict[tuple[str, str], str] = {}
        self._applied_at = float("-inf")
        self._key = ""
        self._pulled = Pulled(folder)
        self._told: dict[str, int] = {}
        self._sight = Sight()
        self.held_back = False
        """Whether the route waits for the routers that it is to name."""

    def close(self) -> None:
        """No request any more."""
        self._api.close()

    # Apply

    def apply(self, wanted: Wanted, now: float) -> None:
        """Bring everything to what is wanted, and remove what is no longer. Raises: TunelineError."""
        if now - self._applied_at > AGAIN_S:
            self._applied.clear()
            self._make_key()
        found = manifests(wanted, self._script)
        self.held_back = any(self._too_early(each) for each in found)
        for each in found:
            if self._too_early(each):
                continue
            name, digest = (each["kind"], each["metadata"]["name"]), digest_json(each)
            if self._applied.get(name) != digest:
                self._api.apply(self._with_pods(each, found))
                self._applied[name] = digest
        if self.held_back:  # what the route names now must stay until then
            return
        if now - self._applied_at > AGAIN_S or len(self._applied) > len(found):
            self._remove({(each["kind"], each["metadata"]["name"]) for each in found})
            self._applied_at = now

    def _too_early(self, manifest: Manifest) -> bool:
        """Whether it is a route that would send requests to a router that nobody has seen ready yet."""
        if manifest["kind"] != "HTTPRoute":
            return False
        backends = [each for rule in manifest["spec"]["rules"] for each in rule["backendRefs"]]
        asked = [each["name"] for each in backends if each.get("weight", 1) > 0]
        return not all(available(self._sight.deployments.get(name)) for name in asked)

    def _with_pods(self, manifest: Manifest, found: Sequence[Manifest]) -> Manifest:
        """A Deployment whose number of pods is a scaler's, with the number that is there while that is ours.

        A field that its applier leaves out is deleted, and the API then makes it one pod: so it stays until
        the scaler has set it once, as Kubernetes' page on server-side apply has it. A new one begins with the
        least.
        """
        if manifest["kind"] != "Deployment" or "replicas" in manifest["spec"]:
            return manifest
        name = manifest["metadata"]["name"]
        there = self._api.get("Deployment", name)
        if there is not None and not owns_replicas(there):
            return manifest
        number = there["spec"].get("replicas", 1) if there is not None else least(found, name)
        return {**manifest, "spec": {"replicas": number, **manifest["spec"]}}

    def remove_all(self) -> None:
        """Nothing of the endpoint stays. Raises: TunelineError."""
        self._remove(set())
        self._api.delete("Secret", secret_name(self._endpoint))

    def _remove(self, wanted: set[tuple[str, str]]) -> None:
        labels = {"app.kubernetes.io/managed-by": "tuneline", f"{DOMAIN}/endpoint": self._endpoint}
        for kind in reversed(KINDS):
            for each in self._api.list(kind, labels):
                name = (kind, each["metadata"]["name"])
                if name not in wanted:
                    LOG.info("%s: deleting %s %s", self._endpoint, *name)
                    self._api.delete(*name)
        self._applied = {name: digest for name, digest in self._applied.items() if name in wanted}

    def _make_key(self) -> None:
        """The key of the routers' admin port: made once, kept in the cluster alone."""
        name = secret_name(self._endpoint)
        there = self._api.get("Secret", name)
        if there is None:
            labels = {"app.kubernetes.io/managed-by": "tuneline"}
            metadata = {"name": name, "namespace": self._api.namespace, "labels": labels}
            body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque",
                    "stringData": {"token": secrets.token_urlsafe(32)}}  # fmt: skip
            there = self._api.apply(body)
        self._key = _token_of(there)

    # Look

    def look(self, wanted: Wanted) -> Sight:
        """What is there; missing adapters are loaded, request lines brought. Raises: TunelineError."""
        labels = {f"{DOMAIN}/endpoint": self._endpoint}
        deployments = {each["metadata"]["name"]: each for each in self._api.list("Deployment", labels)}
        sight = Sight(deployments, self._api.list("Pod", labels))
        if wanted.kubernetes.gateway:
            sight.route = self._api.get("HTTPRoute", self._endpoint)
        self._sight = sight
        self._load(wanted, sight)
        self._ask_routers(wanted, sight)
        return sight

    def _load(self, wanted: Wanted, sight: Sight) -> None:
        loaded: dict[str, frozenset[str]] = {}
        somewhere: dict[str, frozenset[str]] = {}
        refused: dict[str, str] = {}
        for engine in engines(wanted):
            listed = {each["name"]: each["path"] for each in adapter_list(wanted, engine)}
            pods = [pod["metadata"]["name"] for pod in sight.of(engine.name) if runs(pod)] if listed else []
            have = [self._load_pod(pod, listed, refused) for pod in pods]
            known = [each for each in have if each is not None]
            loaded[engine.name] = frozenset.intersection(*known) if known and known == have else frozenset()
            if known:
                somewhere[engine.name] = frozenset.union(*known)
        sight.loaded, sight.somewhere, sight.refused = loaded, somewhere, refused

    def _load_pod(
        self, pod: str, listed: Mapping[str, str], refused: dict[str, str]
    ) -> frozenset[str] | None:
        """Load what a pod lacks; what it has then, None if it cannot be asked now."""
        try:
            status, body = self._api.ask(pod, PORT, "GET", "/v1/models")
            if status != 200:
                return None
            have = {str(each["id"]) for each in json.loads(body)["data"]}
            for name, path in listed.items():
                if name in have:
                    continue
                asked = {"lora_name": name, "lora_path": path}
                status, body = self._api.ask(
                    pod, PORT, "POST", "/v1/load_lora_adapter", asked, timeout_s=LOAD_S
                )
                text = body.decode("utf-8", "replace")
                if status == 200 or "already been loaded" in text:
                    have.add(name)
                elif status in (400, 404, 500):
                    refused[name] = f"vLLM in {pod} did not load its adapter: {text[:500]}"
            return frozenset(have)
        except (NetworkError, ValueError, KeyError):
            return None

    def _ask_routers(self, wanted: Wanted, sight: Sight) -> None:
        """Tell router pods what is newer, hear what they apply and have under way, and bring their lines."""
        generations: set[int] = set()
        flight: dict[str, int] = {}
        alive: set[str] = set()
        for name, revisions in routers(wanted).items():
            body = traffic(wanted, revisions)
            for pod in filter(is_ready, sight.of(name)):
                alive.add(pod["metadata"]["uid"])
                try:
                    ack = self._ask_router(pod["metadata"], body)
                except (TunelineError, ValueError, KeyError) as error:
                    LOG.debug("%s: router %s: %s", self._endpoint, pod["metadata"]["name"], error)
                    generations.add(-1)
                    continue
                generations.add(int(ack.get("generation", -1)))
                for id, count in (ack.get("in_flight") or {}).items():
                    flight[id] = flight.get(id, 0) + int(count)
        self._pulled.forget(alive)
        sight.in_flight = flight
        sight.acknowledged = generations.pop() if len(generations) == 1 else None

    def _ask_router(self, pod: Mapping[str, Any], body: Mapping[str, Any]) -> Mapping[str, Any]:
        name, uid = str(pod["name"]), str(pod["uid"])
        if self._told.get(uid) != body["generation"]:
            self._admin(name, "POST", "/traffic", body)
            self._told[uid] = int(body["generation"])
        segments = segments_of(self._admin(name, "GET", "/segments"))

        def read(segment: str, start: int) -> bytes:
            return self._admin(name, "GET", f"/segments/{segment}?from={start}")

        self._pulled.pull(uid, segments, read)
        ack: Mapping[str, Any] = json.loads(self._admin(name, "GET", "/ack"))
        return ack

    def _admin(self, pod: str, method: str, path: str, body: Any = None) -> bytes:
        status, answer = self._api.ask(pod, ADMIN_PORT, method, path, body, {TOKEN_HEADER: self._key})
        if status != 200:
            raise TransientError(f"The router {pod} answered {status} to {method} {path}.")
        return answer

    # Of one revision

    def ready(self, wanted: Wanted, revision: Placed, sight: Sight) -> bool:
        """Whether it may be given requests: all pods of its engine with its adapter, and of its router."""
        engine = engine_of(wanted, revision)
        if not available(sight.deployments.get(engine.name)):
            return False
        if (
            wanted.runtime == "vllm"
            and revision.files
            and revision.release not in sight.loaded.get(engine.name, ())
        ):
            return False
        return available(sight.deployments.get(router_of(wanted, revision)))

    def serves(self, wanted: Wanted, revision: Placed, sight: Sight) -> bool:
        """Whether one that was ready still answers: any pod of its engine, and any of its router, is enough.

        Pods that a scaler adds, a drain moves or that cannot be asked at this look take nothing from it.
        """
        engine = engine_of(wanted, revision)
        adapter = wanted.runtime == "vllm" and revision.files
        if adapter and revision.release not in sight.somewhere.get(engine.name, {revision.release}):
            return False
        names = (engine.name, router_of(wanted, revision))
        return all(serving(sight.deployments.get(name)) for name in names)

    def hopeless(self, wanted: Wanted, revision: Placed, sight: Sight, now: float) -> str:
        """Why it will not get ready; empty if it may."""
        if said := sight.refused.get(revision.release):
            return said
        for name in (engine_of(wanted, revision).name, router_of(wanted, revision)):
            if reason := hopeless(sight.of(name), now, PULL_PATIENCE_S):
                return f"No pod of {name} gets ready: {reason}."
        return ""

    def story(self, wanted: Wanted, revision: Placed, sight: Sight) -> str:
        """What its pods, their events and the log of one say. Never raises for a cluster that is away."""
        try:
            engine = engine_of(wanted, revision)
            pods = [pod for pod in sight.of(engine.name) if not is_ready(pod)]
            pods = pods or [pod for pod in sight.of(router_of(wanted, revision)) if not is_ready(pod)]
            events = [each for pod in pods for each in self._api.events(pod["metadata"]["name"])]
            log = self._log(pods[0]) if pods else ""
            return story(pods, events, log)
        except TunelineError as error:
            return f"What its pods say cannot be asked now: {error.message}"

    def ask_first(self, wanted: Wanted, revision: Placed, sight: Sight, path: str, body: Any) -> None:
        """One request to a pod of its engine. Raises: TransientError with what came instead."""
        pods = [pod for pod in sight.of(engine_of(wanted, revision).name) if is_ready(pod)]
        if not pods:
            raise TransientError("No pod of it is ready any more.")
        status, answer = self._api.ask(pods[0]["metadata"]["name"], PORT, "POST", path, body, timeout_s=60.0)
        if status != 200:
            text = answer[:300].decode("utf-8", "replace")
            raise TransientError(f"The first request was answered with {status}: {text}")

    def _log(self, pod: Object) -> str:
        name, container = pod["metadata"]["name"], pod["spec"]["containers"][0]["name"]
        return self._api.log(name, container, previous=True) or self._api.log(name, container)


def _token_of(secret: Manifest) -> str:
    if "data" in secret:
        return base64.b64decode(secret["data"]["token"]).decode("ascii")
    return str(secret["stringData"]["token"])
