"""An app from the command line: put, its server killed under it, changed, removed, ended with the rest."""

import json
import signal

import httpx
import pytest
from tests.control.apps import SOURCE
from tests.e2e.world import wait_for

pytestmark = pytest.mark.slow


def test_an_app_outlives_its_server_and_ends_with_everything(world, tmp_path):
    def put(version):
        (tmp_path / "app.py").write_text(SOURCE.format(version=version, status=200))
        ended = world.cli("app", "put", "web", str(tmp_path / "app.py"), "--env", "COLOUR=red", "--json")
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)["release"]

    def shown():
        return httpx.get(endpoint()["url"], trust_env=False, timeout=20).json()

    def endpoint():
        with world.server() as client:
            return client.endpoint("web")

    release = put("one")
    wait_for(lambda: endpoint()["live"] == release, said=world.logs)
    first = shown()
    assert (first["version"], first["COLOUR"]) == ("one", "red")
    url = endpoint()["url"]
    with world.server() as client:
        pid = client.healthz()["pid"]
    (server,) = [process for process in world.processes() if process.pid == pid]
    server.send_signal(signal.SIGKILL)
    server.wait(10)
    assert httpx.get(url, trust_env=False).json() == first  # nobody looks after it, and it answers
    release = put("two")
    wait_for(lambda: endpoint()["live"] == release, said=world.logs)
    assert shown()["version"] == "two"
    history = json.loads(world.cli("history", "web", "--json").stdout)
    assert [(row["release"], row["to"] is None) for row in history] == [
        ("web@1.0.0", False),
        ("web@1.1.0", True),
    ]
    assert world.cli("app", "remove", "web").returncode == 0
    wait_for(lambda: endpoint()["phase"] == "stopped" and not endpoint()["live"], said=world.logs)
    assert put("one") == "web@1.0.0"
    assert world.cli("down").returncode == 0
    assert world.processes() == []
