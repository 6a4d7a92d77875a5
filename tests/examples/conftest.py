"""A home of its own for an example."""

from pathlib import Path

import pytest
from tests.e2e.world import World
from tests.kubeflow import TASK_ENV

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "issue-titles"


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "home", TUNELINE_TASK_ENV=str(TASK_ENV))
    yield made
    made.close()
