"""What tests of several folders share: a PostgreSQL server, started when the first test asks for it."""

from collections.abc import Iterator

import pytest
from tests import buckets
from tests.buckets import Flaky
from tests.postgres import Databases, programs, server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Databases]:
    """Databases of a real server, one a test process: about a second at the first use, then a few ms each."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed: no initdb on PATH or in /usr/lib/postgresql")
    with server() as running:
        yield Databases(running)


@pytest.fixture(scope="session")
def s3() -> Iterator[Flaky]:
    """A real S3 server with the bucket `lines`: about a second at the first use."""
    with buckets.s3() as running:
        yield running


@pytest.fixture(scope="session")
def gcs() -> Iterator[None]:
    """A real Google Cloud Storage server with the bucket `lines`."""
    with buckets.gcs():
        yield
