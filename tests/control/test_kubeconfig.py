"""Who asks Kubernetes' API: a pod, or a kubeconfig; and that nothing secret of it is ever said."""

import json
import ssl
import stat
import sys
from http.server import BaseHTTPRequestHandler

import certifi
import pytest
import yaml
from tests.kubernetes_api import api_server
from tests.vllm_server import serving

from tuneline.control.cluster_api import Api
from tuneline.control.kubeconfig import Access, access
from tuneline.errors import NetworkError, SettingError, SpecError


def config(tmp_path, **user):
    body = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1/"}}],
        "users": [{"name": "u", "user": user}],
    }
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(body))
    return {"KUBECONFIG": str(path)}


def test_a_token_of_the_file(tmp_path):
    found = access("", config(tmp_path, token="t0k3n"))
    assert (found.url, found.bearer()) == ("http://127.0.0.1:1", "t0k3n")
    assert "t0k3n" not in found.who


def test_a_token_file_is_read(tmp_path):
    (tmp_path / "t").write_text("of-a-file\n")
    assert access("here", config(tmp_path, tokenFile="t")).bearer() == "of-a-file"


def test_a_plugin_is_asked_once_while_its_token_holds(tmp_path):
    plugin = tmp_path / "plugin.py"
    plugin.write_text(
        "import json, pathlib\n"
        f"p = pathlib.Path({str(tmp_path / 'count')!r})\n"
        "p.write_text(p.read_text() + 'x' if p.exists() else 'x')\n"
        "print(json.dumps({'status': {'token': 'fresh', 'expirationTimestamp': '2999-01-01T00:00:00Z'}}))\n"
    )
    found = access("", config(tmp_path, exec={"command": sys.executable, "args": [str(plugin)]}))
    assert [found.bearer(), found.bearer()] == ["fresh", "fresh"]
    assert (tmp_path / "count").read_text() == "x"


def test_a_plugin_that_fails_is_named_and_what_it_printed_is_not(tmp_path):
    plugin = tmp_path / "plugin"
    plugin.write_text("#!/bin/sh\necho s3cret\nexit 1\n")
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    found = access("", config(tmp_path, exec={"command": str(plugin), "installHint": "Install it."}))
    with pytest.raises(SettingError, match="gave no credentials") as raised:
        found.bearer()
    assert "s3cret" not in f"{raised.value.message}{raised.value.hint}"
    assert raised.value.hint == "Install it."


def test_a_context_that_is_not_there_is_told_with_those_that_are(tmp_path):
    with pytest.raises(SettingError, match="has no context `there`") as raised:
        access("there", config(tmp_path, token="x"))
    assert "here" in raised.value.hint


@pytest.mark.parametrize("text", ["", "a: [", "contexts: 3\ncurrent-context: x"])
def test_a_file_that_is_none_is_said_to_be_none(tmp_path, text):
    (tmp_path / "config").write_text(text)
    with pytest.raises(SettingError, match=r"config cannot be used|has no context"):
        access("", {"KUBECONFIG": str(tmp_path / "config")})
    with pytest.raises(SettingError, match="cannot be used"):
        access("", {"KUBECONFIG": str(tmp_path / "missing")})


def test_a_cluster_s_own_authority_needs_no_more_than_kubernetes_asks_of_one(tmp_path, monkeypatch):
    """Since Python 3.13 default contexts are strict, and refuse authorities of many clusters."""
    usual = ssl.create_default_context

    def strict(**given):
        context = usual(**given)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    pod = tmp_path / "pod"
    pod.mkdir()
    (pod / "token").write_text("t")
    (pod / "ca.crt").write_text(f"-----BEGIN{certifi.contents().split('-----BEGIN')[1]}")
    found = [access("", {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, pod).verify]
    env = config(tmp_path, token="t")
    body = yaml.safe_load((tmp_path / "config").read_text())
    body["clusters"][0]["cluster"] = {"server": "https://10.0.0.1", "certificate-authority": "pod/ca.crt"}
    (tmp_path / "config").write_text(yaml.safe_dump(body))
    found.append(access("", env).verify)
    for context in found:
        assert not context.verify_flags & ssl.VERIFY_X509_STRICT
        assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
        assert context.cert_store_stats()["x509_ca"] == 1


def api(url, bearer="t0k3n"):
    return Api(Access(url, True, lambda: bearer, "the test"), "ml")


def test_what_the_api_refuses_is_one_error_that_says_what_to_do(tmp_path):
    with api_server(tmp_path) as (_, url):
        client = api(url)
        metadata = {"name": "a", "namespace": "ml", "labels": {}}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "dta": {}}
        with pytest.raises(SpecError, match="'dta' was unexpected") as raised:
            client.apply(body)
        assert raised.value.hint.startswith("Change `deploy.kubernetes`")
        client.close()
        nobody = api(url, bearer="")
        with pytest.raises(SettingError, match="answered 401") as refused:
            nobody.list("Service", {"a": "b"})
        assert "as the test" in refused.value.hint
        nobody.close()


class Refusing(BaseHTTPRequestHandler):
    """What comes back through the API's proxy: its own refusal, or that of the pod behind it."""

    def do_GET(self):
        status = {"kind": "Status", "apiVersion": "v1", "message": 'cannot get resource "pods/proxy"'}
        body = json.dumps(status if "/mine/" in self.path else {"error": "wrong key"}).encode()
        self.send_response(403)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        return


def test_a_right_to_ask_pods_that_is_missing_is_told_from_what_a_pod_refuses():
    with serving(Refusing) as port:
        client = api(f"http://127.0.0.1:{port}")
        with pytest.raises(SettingError, match="pods/proxy") as raised:
            client.ask("mine", 8000, "GET", "/mine/models")
        assert "Role" in raised.value.hint
        assert client.ask("pod", 8000, "GET", "/v1/models")[0] == 403
        client.close()


def test_an_api_that_is_away_is_the_network_s_fault_and_its_token_is_not_told():
    client = api("http://127.0.0.1:9")
    with pytest.raises(NetworkError, match="did not answer") as raised:
        client.get("Service", "a")
    assert "t0k3n" not in f"{raised.value.message}{raised.value.hint}"
    client.close()
