"""How processes that compute wait for each other: they may share the cores."""

import os
import sys
from pathlib import Path

import pytest

from tuneline.control.processes import spawn
from tuneline.execute.environment import of_tasks
from tuneline.settings import Settings


@pytest.mark.parametrize(("said", "wanted"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_their_threads_do_not_wait_busily_unless_somebody_says_so(
    said: str | None, wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tasks, and what serves a model: a real child, 30 ms, prints its environment."""
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if said is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", said)
    assert of_tasks(os.environ, Settings(tmp_path), "")["OMP_WAIT_POLICY"] == wanted
    words = [sys.executable, "-S", "-c", "import os; print(os.environ['OMP_WAIT_POLICY'])"]
    made = spawn(words, tmp_path / "log", {}, tmp_path)
    os.waitpid(made.pid, 0)
    assert (tmp_path / "log").read_text().strip() == wanted


def test_how_long_they_spin_is_passed_on(tmp_path: Path) -> None:
    given = of_tasks({"GOMP_SPINCOUNT": "7", "LESS": "-R"}, Settings(tmp_path), "")
    assert (given["GOMP_SPINCOUNT"], "LESS" in given) == ("7", False)
