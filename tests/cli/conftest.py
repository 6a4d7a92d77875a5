"""Commands run in this process as `tuneline` runs them, with a home of their own."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

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
    for name in ("TUNELINE_URL", "TUNELINE_DEBUG", "TUNELINE_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TUNELINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TUNELINE_PORT", "0")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Ended:
        capfd.readouterr()
        code = guarded(lambda: cli.main(list(arguments), prog_name="tuneline", standalone_mode=False))
        said = capfd.readouterr()
        return Ended(code, said.out, said.err)

    return run
