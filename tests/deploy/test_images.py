"""The images, built, pushed, pulled by digest and run as their own user. Most of the time goes
into torch's layers.

The containers are those of the rendered chart, with its volumes; only the port is a free one.
"""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests.deploy import charts
from tests.deploy.images import USER, Container
from tests.steps.stepping import executor_input, run_step
from tests.tiny import movie_rows, tiny_base, write_split

import tuneline
from tuneline.record.tokens import new_token

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FOLDERS = ["/home/tuneline", "/var/lib/tuneline"]
"""What an image's user owns in it."""
RECIPE = {
    "r": 4, "lora_alpha": 8, "learning_rate": 1e-2, "per_device_train_batch_size": 8.0,
    "num_train_epochs": 1.0, "dtype": "float32", "seed": 7,
}  # fmt: skip
FOUND = """
import importlib.metadata as m, importlib.util as u, json, sys
print(json.dumps({"modules": {n: u.find_spec(n) is not None for n in sys.argv[1].split()},
                  "versions": {n: m.version(n) for n in sys.argv[2].split()}}))
"""
VERSIONS = "torch transformers peft numpy polars"


class Pod:
    """The server's pod as the chart has it, run container by container."""

    def __init__(self, container: Container, spec: dict[str, Any], folder: Path, token: str) -> None:
        self._container, self._spec = container, spec
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._places = {volume["name"]: folder / volume["name"] for volume in spec["volumes"]}
        for name, place in self._places.items():
            place.mkdir(parents=True)
            if name != "tokens":  # as `fsGroup` does
                os.chown(place, USER, USER)
        (self._places["tokens"] / "admin").write_text(token)

    def command(self, found: dict[str, Any], more: dict[str, str], volumes: dict[Path, str]) -> list[str]:
        """What runs one of its containers. more: environment that the chart takes from Secrets."""
        env = {entry["name"]: entry["value"] for entry in found["env"] if "value" in entry} | more
        env["TUNELINE_PORT"] = str(self.port)
        words = [word.replace("8080", str(self.port)) for word in [*found["command"], *found.get("args", [])]]
        mounts = {self._places[mount["name"]]: mount["mountPath"] for mount in found["volumeMounts"]}
        return self._container.command(words, env=env, volumes=mounts | volumes)

    def keep_tokens(self, more: dict[str, str], volumes: dict[Path, str]) -> str:
        """Run the init container to its end; what it printed."""
        (first,) = self._spec["initContainers"]
        done = subprocess.run(
            self.command(first, more, volumes), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def server(self) -> Iterator[subprocess.Popen[str]]:
        """Run the server until the block ends."""
        (found,) = self._spec["containers"]
        with subprocess.Popen(self.command(found, {}, {}), stderr=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    for child in psutil.Process(process.pid).children(recursive=True):
                        child.terminate()


def found_in(container: Container, modules: str, versions: str = "") -> dict[str, Any]:
    """Which modules an image has, and of which versions."""
    done = container.run("python", "-c", FOUND, modules, versions)
    assert done.returncode == 0, done.stderr
    body: dict[str, Any] = json.loads(done.stdout)
    return body


def rendered(place: str) -> dict[str, Any]:
    """The pod of the chart with an image that lies at `place`."""
    repository, digest = place.removeprefix("docker://").split("@")
    settings = [f"--set=image.repository={repository}", f"--set=image.digest={digest}"]
    (deployment,) = charts.of_kind(charts.rendered(charts.SMALLEST, *settings), "Deployment")
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    assert {each["image"] for each in [*spec["initContainers"], *spec["containers"]]} == {
        f"{repository}@{digest}"
    }
    return spec


def answer(url: str) -> httpx.Response:
    """The first answer there."""
    for _ in range(600):
        try:
            return httpx.get(url, timeout=5)
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"no answer at {url}")


def elsewhere() -> str:
    """An address of this machine that is not its loopback."""
    addresses = (each for all_ in psutil.net_if_addrs().values() for each in all_)
    own = (each.address for each in addresses if each.family.name == "AF_INET")
    found = next((address for address in own if not address.startswith("127.")), None)
    return found or pytest.skip("this machine has no address but its loopback")


def test_the_charts_pod_runs_from_the_registry(pushed, pulled, tmp_path, postgres):
    """The init container on SQLite and on PostgreSQL, the server, its health check, the chart's own test."""
    token, spec = new_token(), rendered(pushed["server"])
    with pulled.container(pushed["server"]) as container:
        pod = Pod(container, spec, tmp_path / "pod", token)
        database = {"TUNELINE_DATABASE_URL": postgres.empty()}
        postgres.server.folder.chmod(0o755)
        sockets = {postgres.server.folder: str(postgres.server.folder)}
        assert pod.keep_tokens(database, sockets) == "admin new\n"
        assert pod.keep_tokens(database, sockets) == "admin kept\n"
        assert pod.keep_tokens({}, {}) == "admin new\n"
        health = json.loads(pulled.buildah("inspect", container.name))["Docker"]["config"]["Healthcheck"][
            "Test"
        ]
        assert container.run(*health[1:], env={"TUNELINE_PORT": str(pod.port)}).returncode == 1
        with pod.server() as process:
            url = f"http://{elsewhere()}:{pod.port}"
            assert answer(f"{url}/apis/v2beta1/healthz").status_code == 200
            assert container.run(*health[1:], env={"TUNELINE_PORT": str(pod.port)}).returncode == 0
            assert httpx.get(f"{url}/api/v1/runs").status_code == 401
            mine = {"Authorization": f"Bearer {token}"}
            assert httpx.get(f"{url}/api/v1/runs", headers=mine).json() == []
            _chart_test(container, url)
            home = {tmp_path / "pod/home": "/var/lib/tuneline"}
            ended = container.run("tuneline", "down", "--server", volumes=home)
            assert "stopped server" in ended.stdout, ended.stderr
            assert process.wait(60) == 0
            assert token not in (process.stderr.read() if process.stderr else "")
        assert container.written() == FOLDERS


def _chart_test(container: Container, url: str) -> None:
    (pod,) = charts.of_kind(charts.rendered(charts.SMALLEST), "Pod")
    (found,) = pod["spec"]["containers"]
    done = container.run(*found["command"], *found["args"], env={"SERVER": url})
    assert done.returncode == 0, done.stderr
    assert "refuses whoever has no token" in done.stdout


def test_the_server_has_what_it_offers_and_no_torch(pushed, pulled):
    with pulled.container(pushed["server"]) as container:
        has = "psycopg s3fs gcsfs adlfs apprise tuneline tuneline_ir"
        hasnt = "torch transformers peft xllamacpp pytest"
        modules = found_in(container, f"{has} {hasnt}")["modules"]
        assert [name for name, there in modules.items() if there] == has.split()
        said = container.run(
            "sh", "-c", "id -u; touch /opt/tuneline/bin/python || touch /etc/x || echo read only"
        )
        assert said.stdout.split("\n")[:2] == [str(USER), "read only"]
        config = json.loads(pulled.buildah("inspect", container.name))["Docker"]["config"]
        assert config["User"] == f"{USER}:{USER}"
        assert config["Entrypoint"] == ["tuneline"]
        assert config["Labels"]["org.opencontainers.image.version"] == "0.0.0-test"
        assert container.run("tuneline", "--version").stdout == f"{tuneline.__version__}\n"


def test_a_training_from_the_registry_is_the_one_at_home(pushed, pulled, tmp_path):
    """`tune` on a tiny Gemma, by Kubeflow's contract: the same versions make the same bytes."""
    tiny_base(tmp_path / "base", "gemma3")
    write_split(tmp_path / "train", movie_rows(120))
    (tmp_path / "none").mkdir()
    inputs = {"base": tmp_path / "base", "train": tmp_path / "train", "init": tmp_path / "none"}
    home = run_step("tune", tmp_path / "home", RECIPE, inputs)
    away = tmp_path / "away"
    body = executor_input("tune", away, RECIPE, inputs)
    os.chown(away, USER, USER)
    scratch = tmp_path / "scratch"
    scratch.mkdir(mode=0o777)
    scratch.chmod(0o1777)
    shutil.chown(tmp_path, USER)  # pytest lets nobody else in
    with pulled.container(pushed["steps"]) as container:
        versions = found_in(container, "", VERSIONS)["versions"]
        done = container.run(
            "tuneline", "step", "tune", "--executor-input", json.dumps(body),
            env={"OMP_NUM_THREADS": "1"},
            volumes={tmp_path: str(tmp_path), scratch: "/tmp"},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert container.written() == FOLDERS
    assert json.loads((away / "output.json").read_text())["artifacts"].keys() == {
        "adapter",
        "metrics",
        "logs",
    }
    here, there = (json.loads((each / "metrics").read_text()) for each in (home.folder, away))
    assert there["steps"] == here["steps"] > 10
    assert there["final_loss"] == pytest.approx(here["final_loss"], rel=1e-3)
    if versions == _versions_here():
        name = "adapter/adapter_model.safetensors"
        assert (away / name).read_bytes() == (home.folder / name).read_bytes()


def _versions_here() -> dict[str, str]:
    from importlib.metadata import version  # noqa: PLC0415

    return {name: version(name) for name in VERSIONS.split()}
