"""One tiny release a session, and one real runtime process on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.serve.releases import make_release

from tuneline.serve import child


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with base, adapter, served, test and package."""
    return make_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="session")
def runtime(release: Path) -> Iterator[str]:
    """The URL of a real runtime on it; one thread, so that the tests beside it are not starved."""
    with child.running(runtime_arguments(release)) as url:
        yield url


def runtime_arguments(release: Path, runtime: str = "llamacpp") -> list[str | Path]:
    """The command line of a runtime on a release."""
    names: list[str | Path] = [
        "--runtime",
        runtime,
        "--model",
        "tiny",
        "--release",
        "tiny@1.0.0",
        "--threads",
        "1",
    ]
    return [
        *names,
        "--slots",
        "2",
        "--context",
        "512",
        "--base",
        release / "base",
        "--package",
        release / "package",
    ]
