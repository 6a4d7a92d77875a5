"""A project that vLLM serves on this machine, from its command line: all real but vLLM, whose place a program
takes that speaks its routes and computes with the trainer's code."""

import json
import signal

import psutil
import pytest
from tests.e2e.projects import write_project
from tests.e2e.world import World, ask, wait_for
from tests.living import living
from tests.vllm_stand_in import home

pytestmark = pytest.mark.slow
REVIEW = "Review: a great film with a story 99991\nSentiment:"
SERVER = "vllm.entrypoints.openai.api_server"


@pytest.fixture
def world(tmp_path):
    python = home(tmp_path / "vllm")
    made = World(tmp_path / "home", TUNELINE_VLLM_PYTHON=str(python), VLLM_STAND_IN="trainer")
    yield made
    made.close()


def test_a_release_is_proven_on_vllm_served_by_it_and_served_again_after_a_kill(world, tmp_path):
    vllm = {"dtype": "float32", "max_model_len": 512}
    deploy = {"endpoint": "reviews", "runtime": "vllm", "vllm": vllm}
    run = world.run(write_project(tmp_path / "reviews", deploy=deploy))
    assert run["release"]["release"] == "reviews@1.0.0"
    proof = json.loads(world.cli("releases", "show", "reviews@1.0.0", "--json").stdout)["proof"]
    assert (proof["runtime"], proof["passed"], proof["quantization"]) == ("vllm", True, "none")
    assert proof["runtime_version"].startswith("0.32.1, torch")
    assert proof["mean_logprob_diff"] < 0.001

    def shown():
        with world.server() as client:
            return client.endpoint("reviews")

    def answered():
        answer = ask(shown()["url"], "reviews", REVIEW)
        return answer.json()["choices"][0]["text"] if answer.status_code == 200 else ""

    wait_for(lambda: shown()["live"] == "reviews@1.0.0", said=world.logs)
    first = wait_for(answered, said=world.logs)
    before = vllms(tmp_path)
    assert len(before) == 1
    before[0].send_signal(signal.SIGKILL)
    psutil.wait_procs(before, timeout=20)
    assert wait_for(answered, said=world.logs) == first
    (again,) = vllms(tmp_path)
    assert again.pid != before[0].pid
    assert world.cli("down").returncode == 0
    wait_for(lambda: not vllms(tmp_path), timeout_s=20)


def vllms(folder):
    """vLLM's first processes that run for this test."""
    found = []
    for process in living():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if words[1:3] == ["-m", SERVER] and any(str(folder) in word for word in words):
            found.append(process)
    return found
