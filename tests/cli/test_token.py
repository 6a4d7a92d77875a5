"""Tokens by command, and a server that others than this machine reach."""

import json
import os
import subprocess
import sys
import time

import httpx
import psutil
import pytest

from tuneline.cli.token import lasting
from tuneline.client import Client, find_server
from tuneline.errors import SettingError, UnauthenticatedError
from tuneline.settings import Settings

SDK = """
import json, sys, kfp, kfp_server_api
client = kfp.Client(host=sys.argv[1], existing_token=sys.argv[2], namespace="kubeflow")
print([found.display_name for found in client.list_experiments().experiments])
try:
    kfp.Client(host=sys.argv[1], existing_token="tl_wrong", namespace="kubeflow").list_experiments()
except kfp_server_api.ApiException as error:
    print(error.status, json.loads(error.body)["code"])
"""
"""Lists experiments with the token, then with a wrong one."""


def test_a_token_is_printed_once_listed_without_it_and_revoked(tuneline):
    made = tuneline("token", "create", "ci", "--expires", "30d", "--read-only")
    assert made.code == 0
    assert made.out.startswith("tl_")
    assert "not shown again" in made.err
    (row,) = json.loads(tuneline("token", "list", "--json").out)
    assert (row["name"], row["state"], row["read_only"], row["used_at"]) == ("ci", "good", True, None)
    assert "read" in tuneline("token", "list").out
    assert made.out.strip().split("_", 2)[2] not in tuneline("token", "list", "--all", "--json").out
    assert tuneline("token", "revoke", "ci").out == "ci revoked\n"
    assert json.loads(tuneline("token", "list", "--json").out) == []
    assert json.loads(tuneline("token", "list", "--all", "--json").out)[0]["state"] == "revoked"


def test_what_cannot_be_a_token_is_told(tuneline, monkeypatch):
    assert tuneline("token", "create", "a b").code == 2
    assert tuneline("token", "create", "a", "--expires", "soon").code == 2
    tuneline("token", "create", "a")
    assert "`a` already" in tuneline("token", "create", "a").err
    assert "Good tokens: a." in tuneline("token", "revoke", "b").err
    monkeypatch.setenv("TUNELINE_URL", "http://example.test")
    assert "on the machine of the server" in tuneline("token", "list").err


def test_tokens_of_a_folder_are_kept_as_a_mounted_secret_lays_them_out(tuneline, tmp_path):
    """Kubernetes writes the files of a secret below `..data` and links to them."""
    folder = tmp_path / "tokens"
    (folder / "..data").mkdir(parents=True)
    texts = {name: tuneline("token", "generate").out for name in ("admin", "grafana")}
    for name, text in texts.items():
        (folder / "..data" / name).write_text(text)
        (folder / name).symlink_to(f"..data/{name}")
    first = tuneline("token", "keep", str(folder), "--read-only", "grafana")
    assert (first.code, first.out) == (0, "admin new\ngrafana new\n")
    rows = json.loads(tuneline("token", "list", "--json").out)
    assert {row["name"]: row["read_only"] for row in rows} == {"admin": False, "grafana": True}
    assert json.loads(tuneline("token", "keep", str(folder), "--json").out) == {
        "admin": "kept",
        "grafana": "kept",
    }
    tuneline("token", "revoke", "admin")
    again = tuneline("token", "keep", str(folder))
    assert "admin revoked\n" in again.out
    assert "put a new token" in again.err
    assert not any(text.strip() in again.out + again.err for text in texts.values())


def test_a_folder_that_holds_no_tokens_is_told(tuneline, tmp_path):
    assert "cannot be read" in tuneline("token", "keep", str(tmp_path / "none")).err
    assert "has no file" in tuneline("token", "keep", str(tmp_path)).err
    (tmp_path / "admin").write_text("hunter2")
    wrong = tuneline("token", "keep", str(tmp_path))
    assert wrong.code == 2
    assert "`admin` is no token" in wrong.err
    assert "hunter2" not in wrong.err
    assert "no such file" in tuneline("token", "keep", str(tmp_path), "--read-only", "ci").err


@pytest.mark.parametrize(
    "text, seconds", [("90m", 5400), ("12h", 43_200), ("30d", 2_592_000), ("1w", 604_800)]
)
def test_a_tokens_time_is_read(text, seconds):
    assert lasting(text) == seconds


@pytest.mark.parametrize("text", ["", "0d", "30", "d", "-1d", "1y", "999999999w"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(SettingError):
        lasting(text)


def test_a_token_is_shown_by_no_setting():
    settings = Settings.from_env({"TUNELINE_TOKEN": "tl_secret"})
    assert settings.token == "tl_secret"
    assert "tl_secret" not in repr(settings)
    with pytest.raises(SettingError) as wrong:
        Settings.from_env({"TUNELINE_TOKEN": "two words"})
    assert "two words" not in wrong.value.message


def test_a_server_that_others_could_reach_does_not_start_without_a_token(tuneline):
    ended = tuneline("up", "--host", "0.0.0.0")
    assert ended.code == 2
    assert "tuneline token create NAME" in ended.err
    assert "is no address" in tuneline("up", "--host", "no.such.host.invalid").err


@pytest.mark.slow
def test_a_server_with_a_token_answers_here_freely_and_elsewhere_to_its_holder(
    tuneline, tmp_path, monkeypatch, kfp_python
):
    """A real server and KFP's own client: the sockets of both addresses are the point."""
    token = tuneline("token", "create", "laptop").out.strip()
    server = subprocess.Popen([sys.executable, "-m", "tuneline", "up", "--host", "0.0.0.0", "--port", "0"])
    try:
        with answering() as here:
            assert here.runs() == []
            port = here.url.rpartition(":")[2]
        address = next(
            found.address
            for name, all_ in psutil.net_if_addrs().items()
            for found in all_
            if found.family.name == "AF_INET" and not found.address.startswith("127.")
        )
        assert httpx.get(f"http://{address}:{port}/api/v1/runs").status_code == 401
        monkeypatch.setenv("TUNELINE_URL", f"http://{address}:{port}")
        refused = tuneline("runs", "list")
        assert (refused.code, "Bearer" in refused.err) == (1, True)
        monkeypatch.setenv("TUNELINE_TOKEN", token)
        assert tuneline("runs", "list", "--json").out == "[]\n"
        with Client(f"http://{address}:{port}") as unknown, pytest.raises(UnauthenticatedError):
            unknown.runs()
        asked = [str(kfp_python), "-c", SDK, f"http://{address}:{port}", token]
        ended = subprocess.run(asked, capture_output=True, text=True, check=True, cwd=tmp_path)
        assert ended.stdout.splitlines() == ["['Default']", "401 16"], ended.stderr
        log = "".join(path.read_text(errors="replace") for path in (tmp_path / "home").glob("*.log"))
        assert token not in log
    except StopIteration:
        pytest.skip("this machine has no address but its loopback")
    finally:
        server.terminate()
        server.wait(20)


def answering() -> Client:
    for _ in range(200):
        found = find_server(Settings.from_env(os.environ))
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("no server answers")
