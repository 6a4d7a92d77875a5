"""What kfp.local can run, tuneline runs with the same outputs."""

import json

import pytest
from tests.conformance.comparing import same
from tests.conformance.harness import sdk

NAMES = [
    "two-steps",
    "nested",
    "add",
    "if-elif-else-first",
    "if-elif-else-second",
    "if-elif-else-last",
    "oneof-of-a-parameter",
    "exit-after-success",
    "ignore-upstream-success",
    "environment",
    "additional-functions",
    "descriptions-are-kept",
    "an-embedded-file",
    "collected-of-artifacts",
    "a-folder-as-an-artifact",
    "an-artifact-that-is-not-written",
]
"""Cases with outputs that kfp.local gets right: it makes floats of whole numbers, and fails on much else."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """By case: what kfp.local put out."""
    path = tmp_path_factory.mktemp("local") / "outputs.json"
    sdk("local", str(path), *NAMES, CONFORMANCE_WITHOUT_PIP="1")
    return json.loads(path.read_text())


@pytest.mark.parametrize("name", NAMES)
def test_the_outputs_are_those_of_kfp_local(name, local, session):
    run = session.of(name).run
    assert local[name], "kfp.local put out nothing to compare with"
    assert same(run["outputs"]["parameters"], local[name])
