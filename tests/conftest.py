"""What tests of several folders share: the SDK, real databases and object stores, started when asked for.

Their libraries are imported then too: they take a second, which every other test would pay for.
"""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.kubeflow import SDK

# A machine with other work answers late: what hangs is ended by pytest's own limit.
inspect.signature(httpx.get).parameters["timeout"].default.read = 120.0

_ALL_SLOW = re.compile(r"^pytestmark = \[?\s*pytest\.mark\.slow\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`-m "not slow"` does not import files in which every test is slow: torch alone takes seconds."""
    if config.option.markexpr != "not slow" or not collection_path.match("test_*.py"):
        return None
    return True if _ALL_SLOW.search(collection_path.read_text(encoding="utf-8")) else None


@pytest.fixture(scope="session")
def kfp_python() -> str:
    """An interpreter with kfp 2.17.0: `TUNELINE_TEST_KFP_PYTHON`, or the one that `make test` sets up."""
    if not SDK.exists():
        pytest.fail(f"There is no kfp SDK at {SDK}: run `make test`, or set TUNELINE_TEST_KFP_PYTHON.")
    return str(SDK)


@pytest.fixture(scope="session")
def postgres():
    """Databases of a real server, one a test process: about a second at the first use, then a few ms each."""
    from tests.postgres import Databases, programs, server  # noqa: PLC0415

    if programs() is None:
        pytest.skip("PostgreSQL is not installed: no initdb on PATH or in /usr/lib/postgresql")
    with server() as running:
        yield Databases(running)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database with nothing in it."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'tuneline.db'}"
    else:
        with request.getfixturevalue("postgres").migrated() as url:
            yield url


@pytest.fixture
def new_database(database_url: str, request: pytest.FixtureRequest, tmp_path: Path):
    """Makes URLs of further databases of the same kind, without a table."""

    def make(name: str) -> str:
        if database_url.startswith("sqlite"):
            return f"sqlite:///{tmp_path / name}.db"
        return request.getfixturevalue("postgres").empty()

    return make


@pytest.fixture(scope="session")
def s3_server():
    """A real S3 server with the bucket `lines`: about a second at the first use."""
    from tests import buckets  # noqa: PLC0415

    with buckets.s3() as running:
        yield running


@pytest.fixture
def s3(s3_server, monkeypatch: pytest.MonkeyPatch):
    """That server, where the library finds it while the test runs."""
    running, env = s3_server
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return running


@pytest.fixture(scope="session")
def gcs_server():
    """A real Google Cloud Storage server with the bucket `lines`."""
    from tests import buckets  # noqa: PLC0415

    with buckets.gcs() as env:
        yield env


@pytest.fixture
def gcs(gcs_server, monkeypatch: pytest.MonkeyPatch) -> None:
    """That server, where the library finds it while the test runs."""
    for name, value in gcs_server.items():
        monkeypatch.setenv(name, value)
