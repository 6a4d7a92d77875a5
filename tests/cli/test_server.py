"""Commands with a real server in a home of its own: found, started, followed, killed, stopped."""

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import termios
import time
from pathlib import Path

import psutil
import pytest

from tuneline.cli.connect import Link
from tuneline.client import Client, find_server
from tuneline.errors import NetworkError
from tuneline.settings import Settings

pytestmark = pytest.mark.slow

COMMAND = ["tuneline", "step", "fetch"]


def pipeline(**sources: str) -> dict:
    """One real step `fetch` for each name, of its source; none waits for another, none is tried twice."""
    string = {"parameterType": "STRING"}
    artifact = {"artifactType": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}}
    body: dict = {
        "schemaVersion": "2.1.0",
        "pipelineInfo": {"name": "fetches"},
        "components": {},
        "deploymentSpec": {"executors": {}},
        "root": {"dag": {"tasks": {}}},
    }
    for name, source in sources.items():
        body["components"][f"comp-{name}"] = {
            "executorLabel": f"exec-{name}",
            "inputDefinitions": {"parameters": {"source": string, "sha256": string}},
            "outputDefinitions": {"artifacts": {"data": artifact}},
        }
        container = {"image": "tuneline", "command": COMMAND, "args": ["--executor-input", "{{$}}"]}
        body["deploymentSpec"]["executors"][f"exec-{name}"] = {"container": container}
        given = {"source": source, "sha256": ""}
        body["root"]["dag"]["tasks"][name] = {
            "taskInfo": {"name": name},
            "componentRef": {"name": f"comp-{name}"},
            "inputs": {
                "parameters": {key: {"runtimeValue": {"constant": text}} for key, text in given.items()}
            },
        }
    return body


@pytest.fixture
def silent():
    """An address that takes connections and never says a word: a task that asks it runs until it is ended."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"https://127.0.0.1:{listening.getsockname()[1]}/reviews.csv"


def submitted(**sources: str) -> str:
    """The id of a new run in the home's server."""
    with found() as client:
        return str(client.submit(pipeline(**sources), {}, {"name": "fetches"})["id"])


def found() -> Client:
    client = find_server(Settings.from_env(os.environ))
    assert client is not None
    return client


def pid_of(home) -> int:
    return int(json.loads((home / "server.json").read_text())["pid"])


def waited(run: str, state: str) -> None:
    with found() as client:
        for _ in range(200):
            if client.run(run)["state"] == state:
                return
            time.sleep(0.05)
    raise AssertionError(f"run {run} did not become {state}")


@pytest.mark.parametrize(
    "arguments",
    [
        ("runs", "list"),
        ("releases", "list", "m"),
        ("history", "m"),
        ("ledger", "verify"),
        ("chat", "m", "hi"),
    ],
)
def test_a_command_that_only_looks_starts_no_server_and_says_what_does(tuneline, home, arguments):
    ended = tuneline(*arguments)
    assert (ended.code, ended.out) == (1, "")
    assert "No server is running" in ended.err
    assert "tuneline up" in ended.err
    assert not home.exists()


def test_status_and_down_without_a_server_are_no_faults(tuneline, home):
    assert json.loads(tuneline("status", "--json").out) == {"server": None, "runs": [], "endpoints": []}
    assert tuneline("status").code == 0
    down = tuneline("down")
    assert (down.code, down.out) == (0, "")
    assert "Nothing is running" in down.err


def test_a_server_is_started_once_listed_and_stopped(tuneline, home, silent):
    first = tuneline("up", "-d")
    assert first.code == 0
    assert first.out.startswith("http://127.0.0.1:")
    again = tuneline("up", "-d")
    assert again.out == first.out
    assert "runs already" in again.err
    run = submitted(slow=silent)
    status = tuneline("status")
    assert first.out.strip() in status.out
    assert run in status.out
    listed = json.loads(tuneline("runs", "list", "--json").out)
    assert [row["id"] for row in listed] == [run]
    assert run in tuneline("runs", "list").out
    canceled = tuneline("runs", "cancel", run)
    assert (canceled.code, canceled.out) == (0, f"{run} canceled\n")
    pid = pid_of(home)
    down = tuneline("down")
    assert down.code == 0
    assert f"stopped server (process {pid})" in down.out
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_run_is_followed_in_plain_lines_to_its_report(tuneline, home, tmp_path):
    (tmp_path / "rows.csv").write_text("text,label\nfine,good\n")
    tuneline("up", "-d")
    run = submitted(one=f"{tmp_path}/rows.csv", two=f"{tmp_path}/*.csv")
    ended = tuneline("runs", "show", "-f", run)
    assert ended.code == 0
    assert f"fetches: run {run} succeeded" in ended.out
    assert "one: done in" in ended.err
    assert "two: done in" in ended.err
    shown = tuneline("runs", "show", run)
    assert [line.split()[:2] for line in shown.out.splitlines()[1:3]] == [
        ["one", "SUCCEEDED"],
        ["two", "SUCCEEDED"],
    ]


def on_a_terminal(*arguments: str, **env: str) -> tuple[int, str, str]:
    """Exit code, stdout, and what stderr gets if it is a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 100))
    command = [sys.executable, "-m", "tuneline", *arguments]
    environment = {**os.environ, "TERM": "xterm-256color", **env}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True, env=environment)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal says that its last writer has gone
        while piece := os.read(ours, 65536):
            shown += piece
    os.close(ours)
    out, _ = child.communicate(timeout=20)
    return child.returncode, out, shown.decode()


def test_a_terminal_gets_a_live_picture_and_no_colour_if_asked(tuneline, home, tmp_path):
    (tmp_path / "rows.csv").write_text("text,label\nfine,good\n")
    tuneline("up", "-d")
    run = submitted(rows=f"{tmp_path}/rows.csv")
    code, out, shown = on_a_terminal("runs", "show", "-f", run)
    assert code == 0
    assert f"run {run} succeeded" in out
    assert "\x1b[?25l" in shown, "the cursor is hidden while the picture is drawn"
    assert "\x1b[32m" in shown
    last = shown.rsplit(f"run {run}", 1)[1]
    assert "rows" in last
    assert "done" in last
    _, _, plain = on_a_terminal("runs", "show", "-f", run, NO_COLOR="1")
    assert "done" in plain
    assert not re.search(r"\x1b\[3[0-9]m", plain)
    _, _, dumb = on_a_terminal("runs", "show", "-f", run, TERM="dumb")
    assert "\x1b" not in dumb
    assert "rows: done in" in dumb


def test_a_failed_run_tells_task_reason_log_and_what_goes_on_from_there(tuneline, home, tmp_path):
    tuneline("up", "-d")
    run = submitted(rows=f"{tmp_path}/rows.csv")
    ended = tuneline("runs", "show", "-f", run)
    assert ended.code == 1
    assert ended.err.count("error: ") == 1
    assert f"{tmp_path}/rows.csv" in ended.err
    log = next(line for line in ended.err.splitlines() if line.startswith("log: ")).split()[1]
    assert f"{tmp_path}/rows.csv" in Path(log).read_text()
    assert f"tuneline runs retry {run}" in ended.err
    assert "Traceback" not in ended.err
    for arguments in ((run, "rows"), ("-f", run), ("-f", run, "rows")):
        logs = tuneline("runs", "logs", *arguments)
        assert (logs.code, logs.out) == (0, Path(log).read_text())
    (tmp_path / "rows.csv").write_text("text,label\nfine,good\n")
    assert tuneline("runs", "retry", "-f", run).code == 0


def test_an_id_that_is_not_there_is_told_as_such(tuneline, home):
    tuneline("up", "-d")
    for arguments in (("runs", "show", "nope"), ("runs", "logs", "nope"), ("runs", "cancel", "nope")):
        ended = tuneline(*arguments)
        assert (ended.code, ended.out) == (1, "")
        assert "nope" in ended.err


def test_following_goes_on_when_the_server_is_killed(tuneline, home, silent):
    """The run's task outlives the server; the command starts a new one, which adopts it."""
    tuneline("up", "-d")
    run = submitted(slow=silent)
    waited(run, "RUNNING")
    command = [sys.executable, "-m", "tuneline", "runs", "show", "-f", run]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
        assert follower.stderr is not None
        assert follower.stderr.readline() == "slow: started\n"
        before = pid_of(home)
        os.kill(before, signal.SIGKILL)
        said = follower.stderr.readline()
        assert f"process {before}" in said
        assert "up again" in said
        assert pid_of(home) != before
        assert tuneline("runs", "cancel", run).code == 0
        out, err = follower.communicate(timeout=30)
    assert follower.returncode == 1
    assert f"run {run} canceled" in out
    assert "slow: started" not in err, "the task ran twice"


def test_following_ends_when_the_server_is_stopped_on_purpose(tuneline, home, silent):
    tuneline("up", "-d")
    run = submitted(slow=silent)
    waited(run, "RUNNING")
    link = Link(found())
    assert link(lambda client: client.run(run))["state"] == "RUNNING"
    assert tuneline("down", "--server").code == 0
    with pytest.raises(NetworkError, match="was stopped"):
        link(lambda client: client.run(run))
    assert not (home / "server.json").exists()


def test_ctrl_c_ends_the_following_and_not_the_run(tuneline, home, silent):
    tuneline("up", "-d")
    run = submitted(slow=silent)
    command = [sys.executable, "-m", "tuneline", "runs", "show", "-f", run]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
        assert follower.stderr is not None
        assert follower.stderr.readline() == "slow: started\n"
        follower.send_signal(signal.SIGINT)
        out, err = follower.communicate(timeout=20)
    assert (follower.returncode, out) == (130, "")
    for way in (
        f"tuneline runs show -f {run}",
        f"tuneline runs logs -f {run}",
        f"tuneline runs cancel {run}",
    ):
        assert way in err
    waited(run, "RUNNING")


def test_an_empty_home_has_an_empty_ledger_that_holds(tuneline, home):
    tuneline("up", "-d")
    assert json.loads(tuneline("ledger", "list", "--json").out) == []
    verified = tuneline("ledger", "verify", "--json")
    assert (verified.code, json.loads(verified.out)["ok"]) == (0, True)
    nothing = tuneline("releases", "list", "m")
    assert (nothing.code, nothing.out) == (1, "")
    assert "There is no model `m`" in nothing.err
