"""The readiness probe of vLLM's pods, against a server that loads adapters as vLLM does."""

import json

import pytest
from tests.vllm_server import vllm_server

from tuneline.serve.pod_adapters import main


@pytest.fixture
def pod(tmp_path):
    with vllm_server() as (vllm, port):

        def probe(*listed):
            file = tmp_path / "adapters.json"
            file.write_text(json.dumps([
                {"name": name, "path": path, "required": required} for name, path, required in listed
            ]))  # fmt: skip
            return main([f"http://127.0.0.1:{port}", str(file), str(tmp_path / "kept.json")])

        yield vllm, probe


def test_a_pod_that_starts_loads_what_is_listed_and_is_ready_then(pod):
    vllm, probe = pod
    assert probe(("m@1.0.0", "/adapters/m/1", True), ("m@1.1.0", "/adapters/m/2", False)) == 0
    assert vllm.loaded == {"m@1.0.0": "/adapters/m/1", "m@1.1.0": "/adapters/m/2"}


def test_what_is_listed_no_more_is_unloaded_and_the_base_stays(pod):
    vllm, probe = pod
    probe(("m@1.0.0", "/adapters/m/1", True), ("m@1.1.0", "/adapters/m/2", False))
    assert probe(("m@1.1.0", "/adapters/m/2", True)) == 0
    assert [each["id"] for each in vllm.models()] == ["base", "m@1.1.0"]


def test_what_the_server_loaded_stays_while_the_mounted_list_is_still_the_old_one(pod):
    """The kubelet brings a changed ConfigMap within a minute or two; the server loads an adapter at once."""
    vllm, probe = pod
    old = ("m@1.0.0", "/adapters/m/1", True)
    probe(old)
    vllm.load("m@1.1.0", "/adapters/m/2")
    assert probe(old) == 0
    assert set(vllm.loaded) == {"m@1.0.0", "m@1.1.0"}
    probe(old, ("m@1.1.0", "/adapters/m/2", False))
    probe(old)
    assert set(vllm.loaded) == {"m@1.0.0"}
    vllm.load("m@1.1.0", "/adapters/m/2")  # it is wanted again, and the list lags again
    probe(old)
    assert set(vllm.loaded) == {"m@1.0.0", "m@1.1.0"}


def test_a_pod_without_the_live_adapter_is_not_ready(pod, capsys):
    _, probe = pod
    assert probe(("m@1.0.0", "/adapters/bad", True)) == 1
    assert "rank 64 is greater than max_lora_rank 8" in capsys.readouterr().err


def test_a_candidate_that_does_not_load_takes_no_pod_from_what_is_live(pod):
    vllm, probe = pod
    assert probe(("m@1.0.0", "/adapters/m/1", True), ("m@1.1.0", "/adapters/bad", False)) == 0
    assert list(vllm.loaded) == ["m@1.0.0"]


def test_a_server_that_is_not_there_is_not_ready(tmp_path, capsys):
    (tmp_path / "adapters.json").write_text("[]")
    assert main(["http://127.0.0.1:9", *(str(tmp_path / name) for name in ("adapters.json", "kept"))]) == 1
    assert "cannot be asked" in capsys.readouterr().err
