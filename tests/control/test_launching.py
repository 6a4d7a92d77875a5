"""A real llama.cpp runtime on a tiny package: only what was proven is served; streams survive switches."""

import importlib.metadata
import json
import sys
import threading
from dataclasses import replace
from pathlib import Path

import openai
import pytest
from tests.serve.pyfunc_package import pyfunc_package
from tests.serve.releases import make_release
from tests.vllm_stand_in import home

from tuneline.control import launching
from tuneline.control.launching import Runtimes
from tuneline.errors import MissingPartError, ModelError, ProofError
from tuneline.plan.endpoints import Desired, ReleaseFacts
from tuneline.serve.interpreters import version_of
from tuneline.serve.proof import base_file_sha256
from tuneline.serve.vllm_python import find
from tuneline.settings import Settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    """A release with the proof that `verify` would have made of it."""
    folder = make_release(tmp_path_factory.mktemp("release"))
    manifest = json.loads((folder / "package" / "manifest.json").read_text())
    names = ("served_digest", "adapter_digest", "template_hash", "tokenizer_hash")
    proof = {
        "passed": True,
        "runtime": "llamacpp",
        "runtime_version": importlib.metadata.version("xllamacpp"),
        "base_file_sha256": base_file_sha256(folder / "base", "llamacpp"),
        **{name: manifest[name] for name in names},
    }
    return ReleaseFacts(
        "tiny@1.0.0", "tiny", folder / "package", "sha256:1", folder / "base", proof, manifest
    )


WANTED = Desired("e", 1, "tiny@1.0.0", "")
RUNTIMES = Runtimes(Settings(Path("/nowhere")))


def test_what_was_proven_may_be_served(facts):
    RUNTIMES.check(facts, WANTED)


@pytest.mark.parametrize("fact", ["runtime_version", "base_file_sha256", "served_digest", "template_hash"])
def test_what_was_not_proven_may_not(facts, fact):
    other = replace(facts, proof={**facts.proof, fact: "another"})
    with pytest.raises(ProofError, match=fact):
        RUNTIMES.check(other, WANTED)


def test_a_package_that_is_gone_is_said_to_be_gone(facts, tmp_path):
    with pytest.raises(ModelError, match="is gone"):
        RUNTIMES.check(replace(facts, package=tmp_path / "gone"), WANTED)


def test_vllm_serves_what_was_proven_with_the_very_one_that_is_there(facts, tmp_path):
    python = home(tmp_path / "vllm")
    runtimes = Runtimes(Settings(Path("/nowhere"), vllm_python=python))
    wanted = replace(WANTED, runtime="vllm", deploy={"vllm": {"max_model_len": 128}})
    proof = {
        "runtime": "vllm",
        "runtime_version": find(python).version,
        "base_file_sha256": base_file_sha256(facts.base, "vllm"),
    }
    release = replace(facts, proof={**facts.proof, **proof})
    runtimes.check(release, wanted)
    command = runtimes.command(release, wanted, 8000)
    assert command[command.index("--python") + 1] == str(python)
    assert json.loads(command[command.index("--vllm") + 1]) == {"max_model_len": 128}
    newer = Runtimes(Settings(Path("/nowhere"), vllm_python=home(tmp_path / "newer", "0.33.0")))
    with pytest.raises(ProofError, match=r"runtime_version: proven 0\.32\.1, torch .*, here 0\.33\.0"):
        newer.check(release, wanted)
    with pytest.raises(ProofError, match="runtime: proven llamacpp, here vllm"):
        runtimes.check(facts, wanted)
    with pytest.raises(MissingPartError, match="which has none"):
        RUNTIMES.check(release, wanted)


def test_own_code_is_served_only_in_the_environment_it_was_proven_in(tmp_path, monkeypatch):
    """Requirements such as `scikit-learn==1.7.*` may be met by another version when the environment is made
    again."""
    folder = pyfunc_package(tmp_path / "package")
    manifest = json.loads((folder / "manifest.json").read_text())
    here = Path(sys.executable)
    monkeypatch.setattr(launching, "interpreter_of", lambda *_: here)
    proof = {
        "passed": True,
        "runtime": "pyfunc",
        "runtime_version": version_of(here, {"requirements": ["httpx>=0.1", "pytest"]}),
        "base_file_sha256": "",
        **{name: manifest[name] for name in ("served_digest", "adapter_digest")},
        "template_hash": "",
        "tokenizer_hash": "",
    }
    release = ReleaseFacts("flows@1.0.0", "flows", folder, "sha256:1", Path(), proof, manifest)
    wanted = Desired("e", 1, "flows@1.0.0", "", runtime="pyfunc")
    RUNTIMES.check(release, wanted)
    command = RUNTIMES.command(release, wanted, 8000)
    assert command[command.index("--python") + 1] == str(here)
    assert "--base" not in command
    other = replace(release, proof={**proof, "runtime_version": "3.11.7, httpx 0.0.1, environment 0"})
    with pytest.raises(ProofError, match=r"runtime_version: proven 3\.11\.7, httpx 0\.0\.1"):
        RUNTIMES.check(other, wanted)


class OneThread(Runtimes):
    """Two cores have to do for runtimes, router and load."""

    def command(self, release, desired, port):
        return [
            *super().command(release, desired, port),
            "--threads",
            "1",
            "--slots",
            "2",
            "--context",
            "512",
        ]


def test_streams_of_a_real_runtime_end_whole_over_three_switches(world, facts):
    world.launching = OneThread(Settings(Path("/nowhere")))
    world.store.release = lambda release: replace(facts, release=release)
    world.up()
    world.store.want("tiny@1.0.0")
    world.until_live("tiny@1.0.0", within_s=60)
    done, failed, stop = [], [], threading.Event()

    def load():
        with openai.OpenAI(base_url=f"{world.seen()['url']}/v1", api_key="-", max_retries=0) as client:
            while not stop.is_set():
                try:
                    pieces = list(
                        client.completions.create(model="tiny", prompt="Review:", max_tokens=8, stream=True)
                    )
                    (done if pieces[-1].choices[0].finish_reason else failed).append(len(pieces))
                except openai.OpenAIError as error:
                    failed.append(error)

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, 4):
            world.store.want(f"tiny@1.0.{number}", keep_s=0.0)
            world.until_live(f"tiny@1.0.{number}", within_s=60)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed
    assert len(done) > 20
