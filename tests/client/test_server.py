"""The home's server as other commands find it, start it and lose it: real processes, about a second each."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace

import psutil
import pytest

from tuneline.client import Client, ensure_server, find_server
from tuneline.client.server import environment
from tuneline.errors import ConflictError, InternalError, NetworkError, ResourceError
from tuneline.record.record import Record
from tuneline.record.schema import migrations
from tuneline.settings import Settings

pytestmark = pytest.mark.slow


def end_of(run: str, client: Client) -> dict:
    """The run once it has ended."""
    after = 0
    while True:
        answer = client.events(run, after, wait=20)
        after = answer["next"]
        if answer["state"] not in ("PENDING", "RUNNING"):
            return client.run(run)


def gone(pid: int) -> None:
    """Wait until the process has ended."""
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], 20)


def test_a_server_is_started_once_found_again_and_runs_what_it_is_given(settings, live_only):
    client, started = ensure_server(settings)
    assert started
    again, started_again = ensure_server(settings)
    assert not started_again
    assert again.healthz()["pid"] == client.healthz()["pid"]
    run = client.submit(live_only, {}, {"name": "reviews", "digest": "sha256:1"})
    done = end_of(run["id"], client)
    assert (done["state"], done["tasks"][0]["outputs"]["parameters"]["release"]) == ("SUCCEEDED", "")
    pid = client.healthz()["pid"]
    client.shutdown()
    gone(pid)
    assert find_server(settings) is None
    assert not (settings.home / "server.json").exists()
    other, started = ensure_server(settings)
    assert started
    assert [item["id"] for item in other.runs()] == [run["id"]]
    for made in (client, again, other):
        made.close()


def test_two_commands_at_once_start_one_server(settings):
    found: list[tuple[Client, bool]] = []
    threads = [threading.Thread(target=lambda: found.append(ensure_server(settings))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({client.healthz()["pid"] for client, _ in found}) == 1
    assert sorted(started for _, started in found) == [False, True]
    for client, _ in found:
        client.close()


def test_a_server_killed_is_replaced_and_its_run_goes_on(settings, live_only):
    client, _ = ensure_server(settings)
    run = client.submit(live_only, {}, {"name": "reviews"})["id"]
    pid = client.healthz()["pid"]
    os.kill(pid, signal.SIGKILL)
    gone(pid)
    assert find_server(settings) is None
    with pytest.raises(NetworkError):
        client.run(run)
    other, started = ensure_server(settings)
    assert started
    done = end_of(run, other)
    assert done["state"] == "SUCCEEDED"
    assert other.verify_ledger()["ok"]
    client.close()
    other.close()


def test_a_second_server_of_a_home_and_a_taken_port_are_named(settings):
    client, _ = ensure_server(settings)
    pid = client.healthz()["pid"]
    second = up(settings)
    assert second.returncode == 1
    assert f"already has a server: process {pid} on {socket.gethostname()}" in second.stderr
    elsewhere = replace(settings, home=settings.home.with_name("other"))
    exact = up(elsewhere, "--port", str(settings.port))
    assert exact.returncode == 1
    message = f"Port {settings.port} on 127.0.0.1 is taken by the tuneline server of {settings.home}"
    assert message in exact.stderr
    other, started = ensure_server(elsewhere)
    try:
        assert started
        assert other.status()["server"]["port"] != settings.port
        assert f"Port {settings.port} is taken" in (elsewhere.home / "server.log").read_text()
    finally:
        os.kill(other.healthz()["pid"], signal.SIGKILL)
    client.close()
    other.close()


def test_a_server_told_to_end_by_a_signal_ends_well_though_somebody_waits(settings, live_only):
    client, _ = ensure_server(settings)
    run = client.submit(live_only, {}, {"name": "reviews"})["id"]
    end_of(run, client)
    server = psutil.Process(client.healthz()["pid"])
    server.send_signal(signal.SIGTERM)
    gone(server.pid)
    assert "stopped" in (settings.home / "server.log").read_text()
    assert not (settings.home / "server.json").exists()
    client.close()


def test_a_server_that_is_about_to_end_is_waited_for(settings):
    settings.home.mkdir()
    with (settings.home / "server.lock").open("a") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        threading.Timer(0.3, lambda: fcntl.lockf(held, fcntl.LOCK_UN)).start()
        client, started = ensure_server(settings)
    assert started
    client.close()


def test_a_server_that_cannot_start_says_why_in_the_error_itself(settings):
    settings.home.mkdir()
    record = Record(settings.record_url)
    record.migrate()
    with record._store.write() as db:
        db.execute(migrations.insert().values(name="m999_later", applied_at=1.0))
    record.close()
    with pytest.raises(ConflictError, match="written by a newer tuneline") as wrong:
        ensure_server(settings)
    assert "Upgrade tuneline" in wrong.value.hint
    assert json.loads((settings.home / "server-error.json").read_text())["code"] == "conflict"


def test_a_home_that_cannot_be_made_is_a_resource_error(settings):
    settings.home.write_text("a file")
    with pytest.raises(ResourceError, match="could not be started"):
        ensure_server(settings)


def test_a_server_that_dies_without_a_word_is_reported_with_the_end_of_its_log(settings, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(InternalError, match="ended with status 1") as wrong:
        ensure_server(settings)
    assert str(settings.home / "server.log") in wrong.value.hint


def test_with_a_url_given_nothing_is_ever_started(settings):
    elsewhere = replace(settings, url=f"http://127.0.0.1:{settings.port}")
    with pytest.raises(NetworkError, match=elsewhere.url):
        ensure_server(elsewhere)
    assert not settings.home.exists()
    client, _ = ensure_server(settings)
    found, started = ensure_server(replace(settings, home=settings.home / "x", url=client.url))
    assert (found.url, started) == (client.url, False)
    client.close()
    found.close()


def up(settings, *words: str) -> "subprocess.CompletedProcess[str]":
    """`tuneline up`, which is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "tuneline", "up", *words],
        env=environment(settings, os.environ),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_home_reached_by_another_path_has_the_same_server(settings, tmp_path):
    client, _ = ensure_server(settings)
    (tmp_path / "link").symlink_to(settings.home)
    found, started = ensure_server(replace(settings, home=tmp_path / "link"))
    assert (found.url, started) == (client.url, False)
    client.close()
    found.close()


def test_a_server_that_is_started_gets_these_settings_whatever_folder_it_starts_in(
    settings, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    asked = {
        "TUNELINE_TASK_ENV": ".venv-task",
        "TUNELINE_VLLM_PYTHON": "vllm/bin/python",
        "TUNELINE_IMAGES": "host",
        "TUNELINE_URL": "http://x",
    }
    given = environment(replace(Settings.from_env(asked), home=settings.home), asked)
    assert given["TUNELINE_TASK_ENV"] == str(tmp_path / ".venv-task")
    assert given["TUNELINE_VLLM_PYTHON"] == str(tmp_path / "vllm/bin/python")
    assert (given["TUNELINE_IMAGES"], "TUNELINE_URL" in given) == ("host", False)


def test_a_server_file_left_behind_does_not_lead_to_another_homes_server(settings):
    client, _ = ensure_server(settings)
    stale = replace(settings, home=settings.home.with_name("stale"))
    stale.home.mkdir()
    (stale.home / "server.json").write_text(json.dumps({"url": client.url, "pid": 1}))
    assert find_server(stale) is None
    (stale.home / "server.json").write_text("{half")
    assert find_server(stale) is None
    client.close()
