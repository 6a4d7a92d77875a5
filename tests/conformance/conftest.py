"""One server and one compilation for all conformance tests of a session."""

import pytest
from tests.conformance.harness import Server, Session, compiled


@pytest.fixture(scope="session")
def cases(tmp_path_factory):
    """All cases as the SDK compiled them."""
    return compiled(tmp_path_factory.mktemp("compiled"))


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A real server."""
    made = Server(tmp_path_factory.mktemp("conformance") / "home", TUNELINE_TASK_SLOTS="4")
    yield made
    made.close()


@pytest.fixture(scope="session")
def session(server, cases, tmp_path_factory):
    """All cases, running."""
    made = Session(server, cases, tmp_path_factory.mktemp("cases"))
    yield made
    made.close()
