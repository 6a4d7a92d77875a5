"""Where Kubernetes' API is, and as whom it is asked: the pod's own service account, or a kubeconfig.

What is secret in either stays here: it goes into a header or a TLS context, never into an error or a log.
Tokens of pods and of programs (`exec`, as GKE's and EKS' plugins are) are asked for again before they end.
"""

import base64
import contextlib
import json
import os
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from tuneline.errors import SettingError

POD = Path("/var/run/secrets/kubernetes.io/serviceaccount")
AGAIN_S = 60.0
"""A token is read again after this, and before its end by this."""


@dataclass
class Access:
    """How the API is reached."""

    url: str
    verify: ssl.SSLContext | bool
    bearer: Callable[[], str]
    """The token of a request; empty: by certificate alone."""
    who: str
    """For errors: `the pod's service account`, or the context of a file."""


def access(context: str, env: Mapping[str, str] = os.environ, pod: Path = POD) -> Access:
    """Access to the cluster: that of `context`; without one, that of the pod, else the current context.

    Raises: SettingError if there is none, or it cannot be read.
    """
    host, port = env.get("KUBERNETES_SERVICE_HOST"), env.get("KUBERNETES_SERVICE_PORT", "443")
    if not context and host and (pod / "token").is_file():
        verify = _context()
        verify.load_verify_locations(cafile=str(pod / "ca.crt"))
        name = f"[{host}]" if ":" in host else host
        token = _again(
            lambda: ((pod / "token").read_text(encoding="ascii").strip(), time.time() + AGAIN_S * 2)
        )
        return Access(f"https://{name}:{port}", verify, token, "the pod's service account")
    file = Path(
        env.get("KUBECONFIG", "").split(os.pathsep)[0] or Path.home() / ".kube" / "config"
    ).expanduser()
    try:
        body = yaml.safe_load(file.read_text(encoding="utf-8"))
        return _of_file(body, context or str(body.get("current-context") or ""), file)
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError, ssl.SSLError) as error:
        raise SettingError(
            f"No cluster can be reached: {file} cannot be used ({type(error).__name__}).",
            hint="Set KUBECONFIG for the server, and `deploy.kubernetes.context` to a context of it.",
        ) from error


def _of_file(body: Mapping[str, Any], context: str, file: Path) -> Access:
    named = {each["name"]: each["context"] for each in body.get("contexts") or []}
    if context not in named:
        raise SettingError(
            f"{file} has no context `{context}`.",
            hint=f"`deploy.kubernetes.context` can be {', '.join(named) or 'nothing: there is none'}.",
        )
    chosen = named[context]
    cluster = next(each["cluster"] for each in body["clusters"] if each["name"] == chosen["cluster"])
    user = next(each["user"] for each in body["users"] if each["name"] == chosen["user"])
    url = str(cluster["server"]).rstrip("/")
    return Access(url, _tls(cluster, user, url, file), _bearer(user, file), f"context `{context}` of {file}")


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any], url: str, file: Path) -> ssl.SSLContext | bool:
    if not url.startswith("https:"):
        return True
    own = cluster.get("certificate-authority") or cluster.get("certificate-authority-data")
    context = _context() if own else ssl.create_default_context()
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    elif authority := _content(cluster, "certificate-authority", file):
        context.load_verify_locations(cadata=authority.decode())
    certificate, key = (_content(user, name, file) for name in ("client-certificate", "client-key"))
    if certificate and key:
        with tempfile.TemporaryDirectory() as folder:  # Python's ssl takes files alone
            paths = Path(folder, "certificate"), Path(folder, "key")
            for path, data in zip(paths, (certificate, key), strict=True):
                path.touch(mode=0o600)
                path.write_bytes(data)
            context.load_cert_chain(*map(str, paths))
    return context


def _context() -> ssl.SSLContext:
    """For a cluster's own authority, and that one alone. Many lack what RFC 5280 demands, such as a key
    identifier: `create_default_context` refuses those since Python 3.13, Kubernetes' own clients do not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _content(body: Mapping[str, Any], name: str, file: Path) -> bytes | None:
    if data := body.get(f"{name}-data"):
        return base64.b64decode(data)
    return (file.parent / body[name]).read_bytes() if body.get(name) else None


def _bearer(user: Mapping[str, Any], file: Path) -> Callable[[], str]:
    if user.get("token"):
        return lambda: str(user["token"])
    if user.get("tokenFile"):
        path = file.parent / user["tokenFile"]
        return _again(lambda: _of_path(path))
    if plugin := user.get("exec"):
        return _again(lambda: _from_program(plugin))
    return lambda: ""


def _of_path(path: Path) -> tuple[str, float]:
    return path.read_text(encoding="ascii").strip(), time.time() + AGAIN_S * 2


def _again(ask: Callable[[], tuple[str, float]]) -> Callable[[], str]:
    """A token that is asked for again before it ends. ask: gives it and its end, Unix seconds."""
    kept: list[Any] = ["", 0.0]

    def token() -> str:
        if time.time() > kept[1] - AGAIN_S:
            kept[:] = ask()
        return str(kept[0])

    return token


def _from_program(plugin: Mapping[str, Any]) -> tuple[str, float]:
    """What a credential plugin says (client.authentication.k8s.io). Raises: SettingError."""
    command = [str(plugin["command"]), *map(str, plugin.get("args") or [])]
    given = {str(each["name"]): str(each["value"]) for each in plugin.get("env") or []}
    asked = {"apiVersion": plugin.get("apiVersion"), "kind": "ExecCredential", "spec": {"interactive": False}}
    env = {**os.environ, **given, "KUBERNETES_EXEC_INFO": json.dumps(asked)}
    try:
        done = subprocess.run(command, capture_output=True, timeout=60, env=env, check=True)
        status = json.loads(done.stdout)["status"]
        end = time.time() + AGAIN_S * 5
        with contextlib.suppress(KeyError, ValueError):
            end = datetime.fromisoformat(status["expirationTimestamp"]).timestamp()
        return str(status["token"]), end
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        raise SettingError(
            f"`{command[0]}` of the kubeconfig gave no credentials ({type(error).__name__}).",
            hint=str(plugin.get("installHint") or "Run it by hand: it may ask to log in.").strip()[:300],
        ) from error
