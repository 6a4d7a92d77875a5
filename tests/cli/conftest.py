"""Commands run in this process as `tuneline` runs them, with a home of their own."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.living import end_all

from tuneline.cli.errors import guarded
from tuneline.cli.main import cli


@dataclass(frozen=True)
class Ended:
    """What a command left."""

    code: int
    out: str
    err: str


@pytest.fixture
def tuneline(tmp_path, monkeypatch, capfd) -> Callable[..., Ended]:
    """`tuneline("check", "demo")`: exit code, stdout and stderr. Home and working folder are temporary."""
    for name in ("URL", "TOKEN", "HOST", "DEBUG", "OFFLINE", "KFP_PYTHON"):
        monkeypatch.delenv(f"TUNELINE_{name}", raising=False)
    monkeypatch.setenv("TUNELINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TUNELINE_PORT", "0")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Ended:
        capfd.readouterr()
        code = guarded(lambda: cli.main(list(arguments), prog_name="tuneline", standalone_mode=False))
        said = capfd.readouterr()
        return Ended(code, said.out, said.err)

    return run


@pytest.fixture
def home(tuneline, tmp_path) -> Iterator[Path]:
    """The home that the fixture `tuneline` has set; every process of it ends with the test."""
    folder = tmp_path / "home"
    yield folder
    end_all(folder)


@pytest.fixture(scope="session")
def kfp_python() -> Path:
    """The interpreter with KFP's SDK that `make` builds for the tests."""
    built = Path(__file__).parents[2] / ".venv-kfp" / "bin" / "python"
    found = Path(os.environ.get("TUNELINE_TEST_KFP_PYTHON") or built)
    assert found.exists(), f"{found} is missing: `make test` builds it"
    return found
