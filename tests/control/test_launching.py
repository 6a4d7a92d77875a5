"""A real llama.cpp runtime on a tiny package: only what was proven is served; streams survive switches."""

import importlib.metadata
import json
import threading
from dataclasses import replace

import openai
import pytest
from tests.serve.releases import make_release

from tuneline.control.launching import Runtimes
from tuneline.errors import ModelError, ProofError
from tuneline.plan.endpoints import Desired, ReleaseFacts
from tuneline.serve.proof import base_file_sha256

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


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


def test_what_was_proven_may_be_served(facts):
    Runtimes().check(facts, WANTED)


@pytest.mark.parametrize("fact", ["runtime_version", "base_file_sha256", "served_digest", "template_hash"])
def test_what_was_not_proven_may_not(facts, fact):
    other = replace(facts, proof={**facts.proof, fact: "another"})
    with pytest.raises(ProofError, match=fact):
        Runtimes().check(other, WANTED)


def test_a_package_that_is_gone_is_said_to_be_gone(facts, tmp_path):
    with pytest.raises(ModelError, match="is gone"):
        Runtimes().check(replace(facts, package=tmp_path / "gone"), WANTED)


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
    world.launching = OneThread()
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
