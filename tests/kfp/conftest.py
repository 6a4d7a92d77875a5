"""Where the real kfp SDK is: an interpreter of its own, because it pins what others need newer."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def kfp_python() -> str:
    """An interpreter with kfp 2.17.0: `TUNELINE_TEST_KFP_PYTHON`, or the one that `make test` sets up."""
    found = os.environ.get("TUNELINE_TEST_KFP_PYTHON") or str(ROOT / ".venv-kfp" / "bin" / "python")
    if not Path(found).exists():
        pytest.fail(f"There is no kfp SDK at {found}: run `make test`, or set TUNELINE_TEST_KFP_PYTHON.")
    return found
