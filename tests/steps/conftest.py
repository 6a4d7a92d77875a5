"""A download server and a desk for the tests of sources."""

import pytest
from tests.steps.download_server import serving

from tuneline.steps.downloads import Desk


class Notes(list):
    """What a source said, and how long it would have slept."""

    def __init__(self):
        super().__init__()
        self.slept = []


@pytest.fixture
def server():
    with serving() as found:
        yield found


@pytest.fixture
def notes():
    return Notes()


@pytest.fixture
def desk(tmp_path, notes):
    """Makes desks over one folder of downloads; waiting is noted, not done."""

    def make(**more):
        env = more.pop("env", {})
        return Desk(tmp_path / "downloads", env, note=notes.append, sleep=notes.slept.append, **more)

    return make
