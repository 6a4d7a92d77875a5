"""Kubernetes' API, as much of it as an endpoint takes: server-side apply, lists, logs, events, and requests
to pods through it. A thin client over httpx; all that can go wrong becomes one of our errors here.

Requests to pods go through the API server's proxy, so the same works inside the cluster and out of it. Our
fields are those of the manager `tuneline`: what others set beside them stays.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from tuneline.control.kubeconfig import Access
from tuneline.errors import (
    ConflictError,
    NetworkError,
    NotFoundError,
    SettingError,
    SpecError,
    TransientError,
    TunelineError,
)

MANAGER = "tuneline"
TIMEOUT_S = 15.0
Object = dict[str, Any]
PATHS: Mapping[str, tuple[str, str]] = {
    "ConfigMap": ("api/v1", "configmaps"),
    "Secret": ("api/v1", "secrets"),
    "Service": ("api/v1", "services"),
    "Pod": ("api/v1", "pods"),
    "Event": ("api/v1", "events"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
    "HorizontalPodAutoscaler": ("apis/autoscaling/v2", "horizontalpodautoscalers"),
    "ScaledObject": ("apis/keda.sh/v1alpha1", "scaledobjects"),
    "HTTPRoute": ("apis/gateway.networking.k8s.io/v1", "httproutes"),
}
"""Kind -> its group and version, and its plural."""


class Api:
    """One namespace of one cluster. Thread-safe."""

    def __init__(self, access: Access, namespace: str) -> None:
        self._access, self.namespace = access, namespace
        self._http = httpx.Client(
            base_url=access.url, verify=access.verify, timeout=TIMEOUT_S, trust_env=False
        )

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def apply(self, manifest: Mapping[str, Any]) -> Object:
        """Server-side apply; what is there afterwards. Raises: SpecError if the API refuses it as invalid;
        SettingError if it may not be done; NetworkError."""
        path = self._path(manifest["kind"], manifest["metadata"]["name"])
        query = {"fieldManager": MANAGER, "force": "true"}
        headers = {"content-type": "application/apply-patch+yaml"}  # JSON is YAML
        return self._json("PATCH", path, params=query, content=json.dumps(manifest), headers=headers)

    def get(self, kind: str, name: str) -> Object | None:
        """One object; None if there is none."""
        try:
            return self._json("GET", self._path(kind, name))
        except NotFoundError:
            return None

    def list(self, kind: str, labels: Mapping[str, str]) -> Sequence[Object]:
        """Objects with these labels; none where the cluster does not know the kind."""
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        try:
            found: Sequence[Object] = self._json("GET", self._path(kind), params={"labelSelector": selector})[
                "items"
            ]
        except NotFoundError:
            return []
        return found

    def delete(self, kind: str, name: str) -> None:
        """Delete it, and what it owns, in the background. Twice is fine."""
        try:
            self._json("DELETE", self._path(kind, name), params={"propagationPolicy": "Background"})
        except NotFoundError:
            return

    def events(self, name: str) -> Sequence[Object]:
        """Events about the object of that name."""
        query = {"fieldSelector": f"involvedObject.name={name}"}
        found: Sequence[Object] = self._json("GET", self._path("Event"), params=query)["items"]
        return found

    def log(self, pod: str, container: str, lines: int = 12, previous: bool = False) -> str:
        """The last lines of a container's log; empty if there is none."""
        query = {"container": container, "tailLines": str(lines), "previous": str(previous).lower()}
        try:
            return self._request("GET", f"{self._path('Pod', pod)}/log", params=query).text
        except TunelineError:
            return ""

    def ask(
        self,
        pod: str,
        port: int,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> tuple[int, bytes]:
        """Status and body of a request to a pod.

        Raises: NetworkError if the API does not answer; SettingError if it is the API that refuses.
        """
        content = None if body is None else json.dumps(body)
        given = {"content-type": "application/json", **(headers or {})}
        answer = self._send(
            method, f"{self._path('Pod', f'{pod}:{port}')}/proxy{path}",
            content=content, headers=given, timeout=timeout_s,
        )  # fmt: skip
        if answer.status_code in (401, 403) and _is_status(answer):
            raise self._error(method, str(answer.request.url.path), answer)
        return answer.status_code, answer.content

    def _path(self, kind: str, name: str = "") -> str:
        prefix, plural = PATHS[kind]
        tail = f"/{quote(name, safe=':')}" if name else ""
        return f"/{prefix}/namespaces/{self.namespace}/{plural}{tail}"

    def _json(self, method: str, path: str, **more: Any) -> Object:
        found: Object = self._request(method, path, **more).json()
        return found

    def _request(self, method: str, path: str, **more: Any) -> httpx.Response:
        answer = self._send(method, path, **more)
        if answer.status_code < 400:
            return answer
        raise self._error(method, path, answer)

    def _send(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        bearer = self._access.bearer()
        given = {**(headers or {}), **({"authorization": f"Bearer {bearer}"} if bearer else {})}
        try:
            return self._http.request(method, path, headers=given, **more)
        except httpx.HTTPError as error:
            raise NetworkError(
                f"Kubernetes' API at {self._access.url} did not answer: {type(error).__name__}.",
                hint=f"It is asked as {self._access.who}; what serves goes on meanwhile.",
            ) from error

    def _error(self, method: str, path: str, answer: httpx.Response) -> TunelineError:
        try:
            said = str(answer.json().get("message") or answer.text)
        except (ValueError, AttributeError):
            said = answer.text
        what = f"Kubernetes' API answered {answer.status_code} to {method} {path}: {said[:600]}"
        if answer.status_code in (401, 403):
            hint = f"It was asked as {self._access.who}; docs/kubernetes.md has the Role that is needed."
            return SettingError(what, hint=hint)
        if answer.status_code == 404:
            return NotFoundError(what, hint="Does the namespace exist, and the kind (Gateway API, KEDA)?")
        if answer.status_code == 409:
            return ConflictError(what)
        if answer.status_code in (400, 422):
            return SpecError(what, hint="Change `deploy.kubernetes`, and run the project again.")
        return TransientError(what)


def _is_status(answer: httpx.Response) -> bool:
    """Whether it is the API's own word, and not that of the pod behind it."""
    try:
        body = answer.json()
    except ValueError:
        return False
    return isinstance(body, dict) and (body.get("kind"), body.get("apiVersion")) == ("Status", "v1")


def owns_replicas(deployment: Mapping[str, Any]) -> bool:
    """Whether the number of a Deployment's pods is ours, by what the API keeps of who set which field."""
    for each in deployment["metadata"].get("managedFields") or []:
        mine = each.get("manager") == MANAGER and each.get("operation") == "Apply"
        if mine and "f:replicas" in ((each.get("fieldsV1") or {}).get("f:spec") or {}):
            return True
    return False
