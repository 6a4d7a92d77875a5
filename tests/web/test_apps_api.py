"""Apps asked for over HTTP and by the step `app`: what is refused, what is kept, and a task that waits."""

import json

import pytest
from tests.control.apps import SOURCE

from tuneline.actions import apps
from tuneline.control.endpoints import Controller
from tuneline.control.launching import Runtimes
from tuneline.control.programs import Programs
from tuneline.errors import DataError, NotFoundError, SpecError
from tuneline.execute.digests import digest_path, files_below
from tuneline.settings import Settings
from tuneline.steps.main import main


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "app.py").write_text(SOURCE.format(version="one", status=200))
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "app.pyc").write_bytes(b"x")
    return folder


def body(source, **more):
    return {"source": str(source), "entry": "app.py:app", **more}


def test_an_app_is_put_kept_by_its_digest_and_removed(client, platform, source, tmp_path):
    put = client.put_app("web", body(source, digest=str(digest_path(source)[0])))
    assert (put["release"], put["created"], put["runtime"], put["phase"]) == (
        "web@1.0.0",
        True,
        "app",
        "pending",
    )
    (kept,) = (tmp_path / "apps").iterdir()
    assert [path.name for path in kept.iterdir()] == ["app.py"]
    (source / "app.py").write_text("something else")
    assert platform.release("web@1.0.0")["package"]["uri"] == str(kept)
    assert "something else" not in (kept / "app.py").read_text()
    assert client.models() == []
    assert client.remove_app("web")["desired"] is None
    with pytest.raises(NotFoundError, match="No app runs at endpoint `web`"):
        client.remove_app("web")


def test_a_file_is_a_source_too_whatever_it_is_called(client, source, tmp_path):
    client.put_app("web", body(source / "app.py"))
    (source / "app.py").rename(source / "output")
    assert client.put_app("web", body(source / "output"))["reason"] == "identical to web@1.0.0"


def test_everything_wrong_with_an_app_is_said_at_once(client, source):
    wrong = body(source, command=["x"], probe="up", uses="w b", env={"PORT": "1", "GITHUB_TOKEN": "t0p"})
    with pytest.raises(SpecError) as refused:
        client.put_app("w b", wrong)
    said = "\n".join(refused.value.details)
    for part in ("name `w b`", "either an entry", "probe `up`", "its own endpoint", "env `PORT`", "a secret"):
        assert part in said
    assert "t0p" not in said


def test_what_cannot_run_is_refused_before_anything_is_wanted(client, source, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="is not there"):
        client.put_app("web", body(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="is not sha256:0000"):
        client.put_app("web", body(source, digest="sha256:" + "0" * 64))
    with pytest.raises(SpecError, match=r"has the entry `main\.py:app`, and no such file") as refused:
        client.put_app("web", {"source": str(source), "entry": "main.py:app"})
    assert refused.value.hint == "The source holds: app.py."
    with pytest.raises(NotFoundError, match="no endpoint `titles`"):
        client.put_app("web", body(source, uses="titles"))
    monkeypatch.setattr(apps, "MAX_BYTES", 10)
    with pytest.raises(DataError, match="has 1 files, 0 MB"):
        client.put_app("web", body(source))
    assert client.endpoints() == []


def test_what_is_no_part_of_a_source_counts_for_nothing_and_links_may_lead_back(
    client, source, tmp_path, monkeypatch
):
    monkeypatch.setattr(apps, "MAX_FILES", 2)
    (source / ".venv" / "lib").mkdir(parents=True)
    for number in range(3):
        (source / ".venv" / "lib" / f"{number}.py").write_text("")
        (source / f"here{number}").symlink_to(".")
    (source / "static").mkdir()
    (source / "static" / "page.html").write_text("hello")
    client.put_app("web", body(source))
    (kept,) = (tmp_path / "apps").iterdir()
    assert files_below(kept) == ["app.py", "static/page.html"]


def test_a_kept_source_that_was_damaged_is_kept_anew(client, source, tmp_path):
    client.put_app("web", body(source))
    (kept,) = (tmp_path / "apps").iterdir()
    (kept / "app.py").write_text("damaged")
    client.put_app("web", body(source))
    assert (kept / "app.py").read_text() == (source / "app.py").read_text()


def run_step(folder, source, url, monkeypatch, **parameters):
    """Exit code and outputs, or the error."""
    folder.mkdir()
    monkeypatch.setenv("TUNELINE_URL", url)
    monkeypatch.setenv("TUNELINE_RUN_ID", "r1")
    given = {
        "inputs": {
            "parameterValues": {"name": "web", "entry": "app.py:app", "uses": "", **parameters},
            "artifacts": {"source": {"artifacts": [{"uri": str(source)}]}},
        },
        "outputs": {"outputFile": str(folder / "output.json")},
    }
    code = main("app", json.dumps(given))
    found = folder / ("error.json" if code else "output.json")
    return code, json.loads(found.read_text())


@pytest.mark.slow
def test_the_step_ends_when_its_app_answers_and_fails_with_the_reason_if_it_does_not(
    url, platform, source, tmp_path, monkeypatch
):
    monkeypatch.setattr("tuneline.plan.lifecycle.MAX_FAILURES", 1)
    store = platform.record.endpoints
    launching = Programs(store, Runtimes(Settings(tmp_path)))
    controller = Controller(store, tmp_path / "endpoints", drain_s=2.0, launching=launching)
    controller.start()
    try:
        code, out = run_step(tmp_path / "first", source, url, monkeypatch)
        shown = out["parameterValues"]
        assert (code, shown["release"], shown["url"]) == (0, "web@1.0.0", platform.endpoint("web")["url"])
        assert platform.history("web")[0]["why"] == "run r1 asked for it"
        (source / "app.py").write_text("import nowhere_at_all")
        code, error = run_step(tmp_path / "second", source, url, monkeypatch)
        assert code == 1
        assert error["message"].startswith("web@1.1.0 does not run:")
        assert "No module named 'nowhere_at_all'" in error["message"]
        assert platform.endpoint("web")["live"] == "web@1.0.0"
    finally:
        controller.stop(all=True)


def test_the_step_does_not_wait_longer_than_it_is_told(url, source, tmp_path, monkeypatch):
    code, out = run_step(tmp_path / "asked", source, url, monkeypatch, wait_s=0)
    assert (code, out["parameterValues"]["url"]) == (0, "")
    code, error = run_step(tmp_path / "waited", source, url, monkeypatch, wait_s=0.1)
    assert (code, error["retry"], "is not live after 0.1 s" in error["message"]) == (1, True, True)


def test_without_a_server_the_step_says_so(source, tmp_path, monkeypatch):
    code, error = run_step(tmp_path / "alone", source, "", monkeypatch)
    assert (code, error["code"]) == (2, "invalid_setting")
