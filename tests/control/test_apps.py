"""Apps kept at their endpoints by a real controller: switched under load, killed, broken, adopted, ended."""

import os
import signal
import threading

import pytest
from tests.control.apps import Home
from tests.living import commands

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path)
    yield made
    made.close()


def test_an_app_answers_at_its_endpoint_and_knows_its_surroundings(home):
    home.up()
    home.put("one", env={"COLOUR": "red"})
    home.until_live("web@1.0.0")
    status, body = home.ask()
    assert (status, body["version"], body["COLOUR"]) == (200, "one", "red")
    assert body["cwd"].startswith(str(home.folder / "apps"))
    assert body["TUNELINE_APP_DATA"] == str(home.folder / "endpoints" / "web" / "data")
    assert os.path.isdir(body["TUNELINE_APP_DATA"])
    assert not [
        name for _, _, files in os.walk(home.folder / "apps") for name in files if name.endswith(".pyc")
    ]


def test_a_new_version_takes_over_without_a_failed_request(home):
    home.up()
    home.put("one")
    home.until_live("web@1.0.0")
    stop, failed, versions = threading.Event(), [], []

    def load():
        while not stop.is_set():
            status, body = home.ask()
            (versions if status == 200 else failed).append(body["version"])

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        home.put("two")
        home.until_live("web@1.1.0")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed
    assert set(versions) == {"one", "two"}
    assert [row["version"] for row in home.record.endpoints.history("web")] == ["1.0.0", "1.1.0"]


@pytest.mark.parametrize(
    "broken, said",
    [
        ({"text": "import nowhere_at_all\napp = None\n"}, "No module named 'nowhere_at_all'"),
        ({"status": 500}, "GET / was answered with 500"),
        ({"text": "app = 3\n"}, "is int, no ASGI or WSGI app"),
        ({"entry": "", "command": ("no-such-program",)}, "`no-such-program` cannot be started"),
    ],
)
def test_a_broken_version_leaves_the_old_one_serving_with_the_reason(home, monkeypatch, broken, said):
    monkeypatch.setattr("tuneline.plan.lifecycle.MAX_FAILURES", 1)  # the third would come after five seconds
    home.up()
    home.put("one")
    home.until_live("web@1.0.0")
    home.put("two", **broken)
    home.until(lambda: home.seen()["phase"] == "failed")
    assert said in home.seen()["message"]
    assert "web@1.0.0 stays live" in home.seen()["message"]
    assert home.ask()[1]["version"] == "one"
    home.put("three")
    home.until_live("web@1.2.0")


def test_an_app_that_dies_is_started_again(home):
    home.up()
    home.put("one")
    home.until_live("web@1.0.0")
    pid = home.ask()[1]["pid"]
    os.kill(pid, signal.SIGKILL)
    status, body = home.ask()  # waits at the router
    assert status == 200
    assert body["pid"] != pid


def test_a_later_server_adopts_it_and_down_leaves_nothing(home):
    home.up()
    home.put("one")
    home.until_live("web@1.0.0")
    pid = home.ask()[1]["pid"]
    home.controller.stop()
    assert home.ask()[1]["pid"] == pid
    home.up()
    home.put("two")
    home.until_live("web@1.1.0")
    assert home.ask()[1]["version"] == "two"
    home.controller.stop(all=True)
    assert [line for line in commands() if str(home.folder) in line] == []
    home.up()
    home.until_live("web@1.1.0")
    assert home.ask()[1]["version"] == "two"


def test_a_wsgi_app_and_a_command_are_apps_too_and_use_an_endpoint(home):
    home.up()
    home.put("one")
    home.until_live("web@1.0.0")
    home.put(
        "wsgi",
        name="other",
        uses="web",
        text="""
import json, os
def app(environ, start_response):
    start_response("200 OK", [("content-type", "application/json")])
    return [json.dumps([os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_MODEL"]]).encode()]
""",
    )
    home.until_live("other@1.0.0", "other")
    assert home.ask("other") == (200, [f"{home.seen('web')['url']}/v1", "web"])
    words = ("python3", "-m", "http.server", "{port}", "--bind", "{host}", "--directory", ".")
    home.put("command", name="third", entry="", command=words, probe="/app.py", text='"a file"')
    home.until_live("third@1.0.0", "third")
    assert home.ask("third", "/app.py") == (200, "a file")
    home.apps.remove("third")
    home.until(lambda: home.record.endpoints.live("third") is None)
    assert home.seen("third")["phase"] == "stopped"


def test_files_that_were_changed_since_are_not_run(home, monkeypatch):
    monkeypatch.setattr("tuneline.plan.lifecycle.MAX_FAILURES", 1)
    home.put("one")
    (source,) = [each for each in (home.folder / "apps").iterdir()]
    (source / "app.py").write_text("app = 3")
    home.up()
    home.until(lambda: home.seen().get("phase") == "failed")
    assert "is gone or was changed" in home.seen()["message"]
