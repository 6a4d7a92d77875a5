"""A router as it runs in a pod: a real process, with vLLM's stand-in behind it."""

import http.client
import json
import signal
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest
from tests.vllm_server import vllm_server

from tuneline.control.holding import any_free

pytestmark = pytest.mark.slow


class Pod:
    """A pod of a router, and the engine it asks."""

    def __init__(self, folder, engine_port):
        self.folder, self.engine = folder, engine_port
        self.port, self.admin = any_free(), any_free()
        (folder / "token").write_text("open-sesame\n")
        self.configure(1, {"m@1.0.0": 100.0})
        places = ["--dir", folder / "run", "--traffic", folder / "traffic.json", "--token", folder / "token"]
        words = [*places, "--host", "127.0.0.1", "--port", self.port, "--admin-port", self.admin]
        command = [sys.executable, "-m", "tuneline.serve.pod_router", *map(str, words), "--drain-s", "2"]
        self.process = subprocess.Popen(command)
        self.until(lambda: self.ask("GET", "/router/health")[0] == 200)

    def traffic(self, generation, weights, **more):
        revisions = [
            {"id": release.partition("@")[2], "release": release, "host": "127.0.0.1", "port": self.engine,
             "weight": weight, "model": release}
            for release, weight in weights.items()
        ]  # fmt: skip
        return {"endpoint": "e", "generation": generation, "revisions": revisions, "page": True,
                "closed": ["/v1/load_lora_adapter"], **more}  # fmt: skip

    def configure(self, *given, **more):
        (self.folder / "traffic.json").write_text(json.dumps(self.traffic(*given, **more)))

    def ask(self, method, path, body=None, port=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=5)
        try:
            data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, data, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read(), dict(answer.getheaders())
        except OSError:
            return 0, b"", {}
        finally:
            connection.close()

    def tell(self, method, path, body=None, key="open-sesame"):
        return self.ask(method, path, body, self.admin, {"x-tuneline-token": key})

    def complete(self, **more):
        return self.ask("POST", "/v1/completions", {"model": "m", "prompt": "x", **more})

    def until(self, condition, within_s=15.0):
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.fixture
def pod(tmp_path):
    with ExitStack() as stack:
        vllm, port = stack.enter_context(vllm_server())
        vllm.loaded = {"m@1.0.0": "/adapters/1", "m@1.1.0": "/adapters/2"}
        pod = Pod(tmp_path, port)
        pod.vllm = vllm
        yield pod
        pod.process.send_signal(signal.SIGTERM)
        assert pod.process.wait(10) == 0


def test_requests_name_the_release_to_the_engine_and_clients_hear_who_answered(pod):
    status, body, headers = pod.complete()
    assert (status, headers["x-tuneline-release"]) == (200, "m@1.0.0")
    assert json.loads(body)["model"] == "m@1.0.0"
    chunked = iter([b'{"model": "m", ', b'"prompt": "in pieces"}'])
    connection = http.client.HTTPConnection("127.0.0.1", pod.port, timeout=5)
    connection.request(
        "POST", "/v1/completions", chunked, {"transfer-encoding": "chunked"}, encode_chunked=True
    )
    assert json.loads(connection.getresponse().read())["prompt"] == "in pieces"
    connection.close()


def test_clients_cannot_load_adapters_and_find_the_page(pod):
    body = {"lora_name": "evil", "lora_path": "/tmp"}
    for path in ("/v1/load_lora_adapter", "/v1/load%5flora_adapter", "/v1/load_lora_adapter?x=1"):
        assert pod.ask("POST", path, body)[0] == 404
    assert "evil" not in pod.vllm.loaded
    status, page, headers = pod.ask("GET", "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"<textarea" in page


def test_traffic_comes_from_whoever_has_the_key_or_from_the_config_map_and_the_newest_holds(pod):
    newer = pod.traffic(5, {"m@1.1.0": 100.0})
    assert pod.tell("POST", "/traffic", newer, key="guess")[0] == 401
    assert pod.tell("POST", "/traffic", {"generation": "x"})[0] == 400
    assert json.loads(pod.tell("POST", "/traffic", newer)[1]) == {"applied": True}
    pod.until(lambda: pod.complete()[2].get("x-tuneline-release") == "m@1.1.0")
    pod.until(lambda: json.loads(pod.tell("GET", "/ack")[1]).get("generation") == 5)
    pod.configure(4, {"m@1.0.0": 100.0})  # an older one that comes late changes nothing
    assert json.loads(pod.tell("POST", "/traffic", pod.traffic(4, {"m@1.0.0": 100.0}))[1]) == {
        "applied": False
    }
    pod.configure(6, {"m@1.0.0": 100.0})
    pod.until(lambda: pod.complete()[2].get("x-tuneline-release") == "m@1.0.0")


def test_request_lines_are_told_from_where_one_was(pod):
    for _ in range(3):
        pod.complete()
    pod.until(lambda: json.loads(pod.tell("GET", "/segments")[1])["segments"])
    (segment,) = json.loads(pod.tell("GET", "/segments")[1])["segments"]
    pod.until(lambda: pod.tell("GET", f"/segments/{segment['name']}")[1].count(b"\n") == 3)
    data = pod.tell("GET", f"/segments/{segment['name']}")[1]
    first = data.index(b"\n") + 1
    assert pod.tell("GET", f"/segments/{segment['name']}?from={first}")[1] == data[first:]
    assert json.loads(data[:first])["release"] == "m@1.0.0"
    assert pod.tell("GET", "/segments/..%2ftraffic.json")[0] == 404
    assert pod.ask("GET", "/segments", port=pod.admin)[0] == 401


def test_a_shadow_of_the_same_engine_is_asked_by_its_own_name(pod):
    body = pod.traffic(7, {"m@1.0.0": 100.0, "m@1.1.0": 0.0}, shadow={"revision": "1.1.0"})
    assert json.loads(pod.tell("POST", "/traffic", body)[1]) == {"applied": True}
    pod.until(lambda: json.loads(pod.tell("GET", "/ack")[1]).get("generation") == 7)
    assert pod.complete()[2]["x-tuneline-release"] == "m@1.0.0"
    pod.until(lambda: "m@1.1.0" in pod.vllm.asked)
