"""The record's password stays with the server: what runs users' code does not get it."""

import os
import sys
from pathlib import Path

from tuneline.client.server import environment
from tuneline.control.processes import spawn
from tuneline.execute.environment import of_tasks
from tuneline.settings import LOGINS, Settings

URL = "postgresql://ann:s3cret@db.example/line"


def test_a_task_does_not_get_the_records_url(tmp_path: Path) -> None:
    env = {"TUNELINE_DATABASE_URL": URL, "TUNELINE_PORT": "8080", "PATH": "/bin"}
    given = of_tasks(env, Settings(home=tmp_path, database_url=URL), "http://127.0.0.1:8080")
    assert given["TUNELINE_PORT"] == "8080"
    assert "s3cret" not in str(given)


def test_a_task_does_not_get_the_logins_of_other_engines(tmp_path: Path) -> None:
    env = {name: "hunter2" for name in LOGINS} | {"TUNELINE_OFFLINE": "1"}
    assert of_tasks(env, Settings(tmp_path), "").keys().isdisjoint(LOGINS)
    assert environment(Settings(tmp_path), env).keys().isdisjoint(LOGINS)


def test_what_serves_a_model_does_not_get_the_records_url(tmp_path: Path, monkeypatch) -> None:
    """A real child, 30 ms: it prints its environment."""
    monkeypatch.setenv("TUNELINE_DATABASE_URL", URL)
    monkeypatch.setenv("TUNELINE_HOME", "/here")
    made = spawn(
        [sys.executable, "-S", "-c", "import os; print(dict(os.environ))"], tmp_path / "log", {}, tmp_path
    )
    os.waitpid(made.pid, 0)
    said = (tmp_path / "log").read_text()
    assert "/here" in said
    assert "s3cret" not in said


def test_settings_do_not_show_it(tmp_path: Path) -> None:
    made = Settings.from_env({"TUNELINE_HOME": str(tmp_path), "TUNELINE_DATABASE_URL": URL})
    assert made.record_url == URL
    assert "s3cret" not in repr(made)
