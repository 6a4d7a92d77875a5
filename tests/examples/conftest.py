"""A home of its own for an example, and the interpreter with the SDK."""

import os
from pathlib import Path

import pytest
from tests.e2e.world import World
from tests.kubeflow import TASK_ENV

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "issue-titles"


@pytest.fixture(scope="session")
def kfp_python() -> str:
    """An interpreter with kfp 2.17.0: `TUNELINE_TEST_KFP_PYTHON`, or the one that `make test` sets up."""
    found = os.environ.get("TUNELINE_TEST_KFP_PYTHON") or str(ROOT / ".venv-kfp" / "bin" / "python")
    if not Path(found).exists():
        pytest.fail(f"There is no kfp SDK at {found}: run `make test`, or set TUNELINE_TEST_KFP_PYTHON.")
    return found


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "home", TUNELINE_TASK_ENV=str(TASK_ENV))
    yield made
    made.close()
