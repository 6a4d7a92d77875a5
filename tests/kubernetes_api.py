"""A Kubernetes API server for tests: a real HTTP server, as much of the API as an endpoint takes.

What it is strict about, because a real one is: server-side apply needs its content type and a field manager;
every manifest is checked by the schemas of 1.36 (`kubernetes_schemas`); `generation` grows with `spec`; a
Deployment's pods, and what they answer, come and go with it. Pods of vLLM are `vllm_server.Vllm`, with the
readiness probe's own program run against what is mounted; pods of routers keep traffic and lines as
`serve.pod_router.Pod` does. `Cluster.request` is the gateway: it goes by the route's weights and mirrors.
Not like a real one: pods are ready at once, a mounted ConfigMap is new at once, nothing is defaulted.
"""

import contextlib
import itertools
import json
import random
import re
import time
from base64 import b64decode, b64encode
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import RLock
from urllib.parse import parse_qs, unquote, urlsplit

import jsonschema
import kubernetes_validate
from tests.kubernetes_schemas import check
from tests.vllm_server import Vllm, serving

from tuneline.serve.pod_router import Pod

KINDS = {
    "configmaps": "ConfigMap", "secrets": "Secret", "services": "Service", "pods": "Pod", "events": "Event",
    "deployments": "Deployment", "poddisruptionbudgets": "PodDisruptionBudget",
    "horizontalpodautoscalers": "HorizontalPodAutoscaler", "httproutes": "HTTPRoute",
}  # fmt: skip
TOKEN = "x-tuneline-token"


class Engine(Vllm):
    """A pod of vLLM."""

    listed = frozenset()

    def probe(self, listed):
        """What `serve/pod_adapters.py` does; that one is tested over HTTP by itself."""
        names = {each["name"] for each in listed}
        for name in (self.loaded.keys() & self.listed) - names:
            self.unload(name)
        self.listed = names
        missing = [each["name"] for each in listed if each["name"] not in self.loaded
                   and self.load(each["name"], each["path"])[0] != 200 and each["required"]]  # fmt: skip
        return not missing


class Router(Pod):
    """A pod of a router."""

    def __init__(self, folder, key):
        folder.mkdir(parents=True)
        (folder / "token").write_text(key)
        super().__init__(folder, folder / "mounted.json", folder / "token")

    @property
    def traffic(self):
        return json.loads((self.folder / "traffic.json").read_text())

    def answer(self, method, path, body, headers):
        if not self.knows(headers.get(TOKEN) or ""):
            return 401, {"error": "wrong key"}
        url = urlsplit(path)
        if (method, url.path) == ("POST", "/traffic"):
            return 200, {"applied": self.bring(body)}
        if url.path == "/segments":
            return 200, {"segments": self.segments()}
        if url.path == "/ack":
            return 200, {"generation": self.traffic["generation"], "in_flight": {}}
        name = url.path.rpartition("/")[2]
        return 200, self.lines(name, int(parse_qs(url.query)["from"][0]))

    def line(self, **line):
        folder = self.folder / "segments"
        folder.mkdir(exist_ok=True)
        with (folder / "00000001.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")


class Cluster:
    """The state of one namespace."""

    def __init__(self, folder, seed=0):
        self.folder, self.lock, self.random = folder, RLock(), random.Random(seed)
        self.objects, self.machines = {}, {}
        self.trouble = lambda deployment: None
        """Why the pods of a Deployment do not get ready, by its name."""
        self.log = lambda pod: ""
        self.events = lambda pod: []
        self.applied, self.away, self.numbers = [], False, itertools.count(1)

    # What clients of the endpoint do

    def request(self, number):
        """One request through the gateway; (release, status)."""
        with self.lock:
            (route,) = [each for (kind, _), each in self.objects.items() if kind == "HTTPRoute"]
            (rule,) = route["spec"]["rules"]
            backends = rule["backendRefs"]
            weights = [each.get("weight", 1) for each in backends]
            chosen = self.random.choices(backends, weights)[0]["name"]
            for each in rule.get("filters", []):
                self._through(each["requestMirror"]["backendRef"]["name"], f"{number}-copy")
            return self._through(chosen, number)

    def _through(self, service, number):
        router = next(self.machines[name] for name in self._pods_of(service))
        revisions = [each for each in router.traffic["revisions"] if each["weight"] > 0]
        revision = self.random.choices(revisions, [each["weight"] for each in revisions])[0]
        engine = self.machines[self._pods_of(revision["host"].partition(".")[0])[0]]
        status, _ = engine.answer("POST", "/v1/completions", {"model": revision["model"], "prompt": "x"})
        router.line(at=time.time(), id=f"r{number}", release=revision["release"], revision=revision["id"],
                    method="POST", path="/v1/completions", status=status, ms=5.0, bytes_in=1, bytes_out=1,
                    sticky="", retries=0)  # fmt: skip
        return revision["release"], status

    # What tests look at

    def names(self, kind):
        return sorted(name for each, name in self.objects if each == kind)

    def get(self, kind, piece=""):
        (found,) = [each for (one, name), each in self.objects.items() if one == kind and piece in name]
        return found

    def weights(self):
        """Of the route, by the router's name."""
        with self.lock:
            (rule,) = self.get("HTTPRoute")["spec"]["rules"]
            return {each["name"]: each.get("weight", 1000) for each in rule["backendRefs"]}

    # The API

    def handle(self, method, path, query, body, headers):
        """Status and JSON, text or bytes."""
        if self.away:
            return 503, {"message": "the API is away"}
        if "authorization" not in headers:
            return 401, {"message": "Unauthorized"}
        found = re.fullmatch(r"/(?:api|apis)/[\w./]+?/namespaces/([\w-]+)/(\w+)(?:/([^/]+))?(/.*)?", path)
        if not found or found[2] not in KINDS:
            return 404, {"message": "the server could not find the requested resource"}
        kind, name, more = KINDS[found[2]], found[3], found[4] or ""
        with self.lock:
            self._settle()
            if kind == "Pod" and more:
                return self._pod(method, name, more, query, body, headers)
            if kind == "Event":
                wanted = query["fieldSelector"][0].partition("=")[2]
                return 200, {"items": self.events(wanted)}
            if method == "PATCH":
                return self._apply(kind, name, query, body, headers)
            if method == "DELETE":
                return (200, {}) if self.objects.pop((kind, name), None) else (404, {"message": "not found"})
            if name:
                there = self.objects.get((kind, name))
                return (200, there) if there else (404, {"message": f"{found[2]} {name} not found"})
            labels = dict(each.split("=") for each in query["labelSelector"][0].split(","))
            found = [each for (one, _), each in self.objects.items() if one == kind]
            has = [each for each in found if labels.items() <= each["metadata"].get("labels", {}).items()]
            return 200, {"items": has}

    def _apply(self, kind, name, query, body, headers):
        if headers.get("content-type") != "application/apply-patch+yaml" or "fieldManager" not in query:
            return 415, {"message": "no server-side apply"}
        try:
            if kind != "Secret":
                check(body)
        except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
            return 422, {"message": f"{kind} {name} is invalid: {error.message}"}
        before = self.objects.get((kind, name))
        fresh = json.loads(json.dumps(body))
        metadata = fresh["metadata"]
        if kind == "Deployment":
            self._own_replicas(query["fieldManager"][0], before, fresh)
        metadata["uid"] = before["metadata"]["uid"] if before else f"uid-{next(self.numbers)}"
        changed = before is None or before.get("spec") != fresh.get("spec")
        metadata["generation"] = (before["metadata"]["generation"] if before else 0) + changed
        if before and "status" in before:
            fresh["status"] = before["status"]
        for key, value in fresh.pop("stringData", {}).items():
            fresh.setdefault("data", {})[key] = b64encode(value.encode()).decode()
        self.objects[kind, name] = fresh
        self.applied.append((kind, name))
        self._settle()
        return 200, fresh

    def _own_replicas(self, manager, before, fresh):
        """Who left the number out had it: it is deleted and defaulted. Else whoever set it last keeps it."""
        field = {"f:spec": {"f:replicas": {}}}
        entry = {"manager": manager, "operation": "Apply", "fieldsV1": field}
        held = before["metadata"]["managedFields"] if before else []
        if "replicas" in fresh["spec"]:
            same = before and before["spec"]["replicas"] == fresh["spec"]["replicas"]
            held = [entry, *(each for each in held if same and each["manager"] != manager)]
        else:
            others = [each for each in held if each["manager"] != manager]
            fresh["spec"]["replicas"] = before["spec"]["replicas"] if others else 1
            held = others
        fresh["metadata"]["managedFields"] = held

    def scale(self, name, number):
        """What an autoscaler does, through the subresource: a value that changes is then its own."""
        with self.lock:
            deployment = self.objects["Deployment", name]
            deployment["spec"]["replicas"] = number
            deployment["metadata"]["generation"] += 1
            field = {"f:spec": {"f:replicas": {}}}
            deployment["metadata"]["managedFields"] = [
                {"manager": "kube-controller-manager", "operation": "Update", "fieldsV1": field}
            ]
            self._settle()

    def _pod(self, method, name, more, query, body, headers):
        if more == "/log":
            return 200, self.log(name)
        pod = name.partition(":")[0]
        machine = self.machines.get(pod)
        if machine is None or not more.startswith("/proxy"):
            return 404, {"message": f"pods {pod} not found"}
        path = more.removeprefix("/proxy")
        if isinstance(machine, Router):
            text = "&".join(f"{key}={value[0]}" for key, value in query.items())
            return machine.answer(method, f"{path}?{text}", body, headers)
        return machine.answer(method, path, body)

    # Controllers and kubelet

    def _settle(self):
        wanted = {}
        for (kind, name), each in list(self.objects.items()):
            if kind == "Deployment":
                for number in range(each["spec"].get("replicas", 1)):
                    wanted[f"{name}-{number}"] = each
        for pod in [name for kind, name in self.objects if kind == "Pod" and name not in wanted]:
            del self.objects["Pod", pod]
            self.machines.pop(pod, None)
        for pod, deployment in wanted.items():
            self._settle_pod(pod, deployment)
        for (kind, name), each in self.objects.items():
            if kind == "Deployment":
                ready = sum(_ready(self.objects["Pod", pod]) for pod in self._pods_of(name))
                each["status"] = {"observedGeneration": each["metadata"]["generation"],
                                  "updatedReplicas": ready, "availableReplicas": ready}  # fmt: skip
            if kind == "HTTPRoute":
                seen = {"status": "True", "observedGeneration": each["metadata"]["generation"]}
                conditions = [{"type": "Accepted", **seen}, {"type": "ResolvedRefs", **seen}]
                each["status"] = {"parents": [{"conditions": conditions}]}

    def _settle_pod(self, pod, deployment):
        name = deployment["metadata"]["name"]
        why = self.trouble(name)
        if ("Pod", pod) not in self.objects:
            labels = deployment["spec"]["template"]["metadata"]["labels"]
            self.objects["Pod", pod] = {
                "metadata": {"name": pod, "uid": f"uid-{next(self.numbers)}", "labels": labels},
                "spec": deployment["spec"]["template"]["spec"],
            }
        body = self.objects["Pod", pod]
        container = body["spec"]["containers"][0]["name"]
        if why is not None:
            state = {"waiting": {"reason": why, "message": "back-off"}}
            status = {"name": container, "state": state, "restartCount": 5, "started": False,
                      "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}  # fmt: skip
            body["status"] = {"containerStatuses": [status], "conditions": []}
            self.machines.pop(pod, None)
            return
        ready = self._run(pod, name, body)
        status = {"name": container, "state": {"running": {}}, "restartCount": 0, "started": True}
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        body["status"] = {"containerStatuses": [status], "conditions": conditions}

    def _run(self, pod, name, body):
        if body["metadata"]["labels"]["app.kubernetes.io/component"] == "engine":
            engine = self.machines.setdefault(pod, Engine())
            listed = self.objects.get(("ConfigMap", f"{name}-adapters"))
            return engine.probe(json.loads(listed["data"]["adapters.json"])) if listed else True
        if pod not in self.machines:
            key = next(each["data"]["token"] for (kind, _), each in self.objects.items() if kind == "Secret")
            folder = Path(self.folder) / body["metadata"]["uid"]
            self.machines[pod] = Router(folder, b64decode(key).decode())
        router = self.machines[pod]
        mounted = self.objects["ConfigMap", f"{name}-traffic"]["data"]["traffic.json"]
        (router.folder / "mounted.json").write_text(mounted)
        router.look()
        return True

    def _pods_of(self, name):
        label = "app.kubernetes.io/instance"
        return [pod for (kind, pod), each in self.objects.items()
                if kind == "Pod" and each["metadata"]["labels"][label] == name]  # fmt: skip


def _ready(pod):
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"]["conditions"])


def handler(cluster):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self):
            length = int(self.headers.get("content-length") or 0)
            data = self.rfile.read(length)
            url = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = json.loads(data) if data else None
            status, said = cluster.handle(self.command, unquote(url.path), parse_qs(url.query), body, headers)
            out = (
                said
                if isinstance(said, bytes)
                else (said if isinstance(said, str) else json.dumps(said)).encode()
            )
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(out)))
            self.end_headers()
            self.wfile.write(out)

        do_GET = do_PATCH = do_POST = do_DELETE = reply

        def log_message(self, *_):
            return

    return Handler


@contextlib.contextmanager
def api_server(folder):
    """A cluster, and its URL."""
    cluster = Cluster(folder)
    with serving(handler(cluster)) as port:
        yield cluster, f"http://127.0.0.1:{port}"
