"""Runs pipelines whose tasks are pods: `python -m tests.airflow.running_pods CASES.json OUT.json`, where
Airflow is.

kmock stands for the API server: it keeps what is made, and each pod goes through the statuses that its case
says, one a look. CASES.json: by name `ir`, `on`, `options`, `pods` (a list of pods in the order they are
made, each a list of statuses; null: the pod is gone) and `logs` by container. OUT.json: by name how the run
went and what was asked of the API server. `dag.test()` runs Airflow's own task runner, and its triggers in
the same process.
"""

import asyncio
import json
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kmock
import yaml
from airflow.dag_processing.bundles.manager import DagBundlesManager
from tests.airflow.running import run

PODS = kmock.resource("v1", "pods")
EXPIRED = "expired"
"""Instead of a status: the token that asks for it has ended."""
DAG = """
import json
from tuneline_airflow.dag import pipeline_dag
case = json.loads({text!r})
given = {{"options": case["options"], "on": case["on"], "root": "s3://lines/prefix"}}
dag = pipeline_dag(case["ir"], dag_id={name!r}, **given)
"""


class Cluster:
    """What the API server has of one case at a time."""

    def __init__(self, server: kmock.KubernetesScaffold) -> None:
        self.server = server
        self.case: Mapping[str, Any] = {}
        self.made: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self.selectors: list[str] = []
        self.looks: dict[str, int] = {}
        self.gone: set[str] = set()
        server[kmock.action.CREATE, PODS] << self.create
        server[kmock.action.FETCH, PODS] << self.fetch
        server[kmock.action.LIST, PODS] << self.list
        server[kmock.action.UPDATE, PODS] << self.update
        server[kmock.action.DELETE, PODS] << self.delete

    def begin(self, case: Mapping[str, Any]) -> None:
        """Forget all, and begin a case."""
        self.case, self.looks, self.gone = case, {}, set()
        self.made, self.deleted, self.selectors = [], [], []

    def create(self, request: Any) -> Any:
        self.made.append(request.data)
        return {**request.data, "status": {"phase": "Pending"}}

    def fetch(self, request: Any) -> Any:
        """A pod as it stands at this look, or a log."""
        parts = str(request.url.path).strip("/").split("/")
        if parts[-1] == "log":
            return str(self.case.get("logs", {}).get(request.params.get("container"), "")).encode()
        name = parts[-1]
        number = [each["metadata"]["name"] for each in self.made].index(name)
        statuses = self.case["pods"][number]
        look = self.looks[name] = self.looks.get(name, -1) + 1
        status = statuses[min(look, len(statuses) - 1)]
        if status == EXPIRED:
            raise kmock.KubernetesError(status=401, reason="Unauthorized", message="Unauthorized")
        if status is None or name in self.deleted:
            self.gone.add(name)
            raise kmock.KubernetesObjectNotFoundError()
        return {**self.made[number], "status": status}

    def list(self, request: Any) -> Any:
        """Pods by their labels; the first time the one that an earlier worker made, if the case has one."""
        selector = request.params["labelSelector"]
        self.selectors.append(selector)
        if self.case.get("adopted") and not self.made:
            labels = dict(part.split("=") for part in selector.split(",") if "!" not in part)
            metadata = {"name": "adopted", "namespace": "default", "labels": {**labels, "try_number": "1"}}
            self.made.append({"metadata": metadata, "spec": {"containers": [{"name": "base"}]}})
        seen = self.case.get("seen") or {"phase": "Running"}
        shown = [{**each, "status": seen} for each in self.made if self._is(each, selector)]
        return {"metadata": {}, "items": shown}

    def update(self, request: Any) -> Any:
        pod = self._named(request)
        pod["metadata"]["labels"].update(request.data["metadata"]["labels"])
        return pod

    def delete(self, request: Any) -> Any:
        pod = self._named(request)
        self.deleted.append(pod["metadata"]["name"])
        return pod

    def _named(self, request: Any) -> dict[str, Any]:
        name = str(request.url.path).rpartition("/")[2]
        return next(each for each in self.made if each["metadata"]["name"] == name)

    def _is(self, pod: Mapping[str, Any], selector: str) -> bool:
        labels = pod["metadata"]["labels"]
        if pod["metadata"]["name"] in {*self.deleted, *self.gone}:
            return False
        for part in selector.split(","):
            name, _, value = part.lstrip("!").replace("!=", "=").partition("=")
            if part.startswith("!") or "!=" in part:
                if name in labels and (part.startswith("!") or labels[name] == value):
                    return False
            elif labels.get(name) != value:
                return False
        return True


def served(ready: threading.Event, found: list[Any]) -> None:
    """Serve until the process ends."""

    async def serve() -> None:
        handler = kmock.KubernetesScaffold()
        async with handler, kmock.Server(handler) as server:
            found.extend([Cluster(handler), str(server.url)])
            ready.set()
            await asyncio.Event().wait()

    asyncio.run(serve())


def kubeconfig(path: Path, url: str) -> Path:
    """A file that leads clients there."""
    body = {
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": url}}],
        "users": [{"name": "it", "user": {"token": "t"}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    }  # fmt: skip
    path.write_text(yaml.safe_dump(body))
    return path


def main() -> None:
    cases, found = json.loads(Path(sys.argv[1]).read_text()), {}
    home = Path(sys.argv[1]).parent
    ready, parts = threading.Event(), list[Any]()
    threading.Thread(target=served, args=(ready, parts), daemon=True).start()
    assert ready.wait(30)
    cluster, url = parts
    config = kubeconfig(home / "kubeconfig", url)
    bundles = {name: home / "bundles" / name for name in cases}
    for name, case in cases.items():
        options = {"config_file": str(config), "in_cluster": False, "poll_interval": 0.05, **case["options"]}
        bundles[name].mkdir(parents=True)
        text = json.dumps({**case, "options": options})
        (bundles[name] / "pipeline.py").write_text(DAG.format(text=text, name=name))
    kind = "airflow.dag_processing.bundles.local.LocalDagBundle"
    listed = [
        {"name": name, "classpath": kind, "kwargs": {"path": str(path)}} for name, path in bundles.items()
    ]
    os.environ["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = json.dumps(listed)
    DagBundlesManager().sync_bundles_to_db()
    for name, case in cases.items():
        cluster.begin(case)
        try:
            found[name] = {"run": run(name, {"bundle": str(bundles[name])})}
        except Exception:
            found[name] = {"broke": traceback.format_exc()[-4000:]}
        seen = {"pods": cluster.made, "deleted": cluster.deleted, "selectors": cluster.selectors}
        found[name] |= seen
        Path(sys.argv[2]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
