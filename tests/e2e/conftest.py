"""A world for a test: made in its temporary folder, emptied of processes at its end."""

import pytest
from tests.e2e.world import World


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "home")
    yield made
    made.close()
