"""The engine that executes a run elsewhere, as a command names it and the record keeps it. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tuneline.errors import SettingError

KUBEFLOW, AIRFLOW = "kubeflow", "airflow"
KINDS = (KUBEFLOW, AIRFLOW)


@dataclass(frozen=True)
class Engine:
    """What executes a run elsewhere."""

    kind: str
    url: str
    options: Mapping[str, str] = field(default_factory=dict)
    """`experiment` and `root` of Kubeflow, `dag` of Airflow, where they are not what follows from the run."""

    def to_json(self) -> dict[str, Any]:
        """As it is kept with the run."""
        return asdict(self)


def engine_of(body: Mapping[str, Any]) -> Engine:
    """The engine that `Engine.to_json` or a command wrote.

    Raises: SettingError for a kind there is not, or a URL that is none or holds a password or token.
    """
    kind, url = str(body.get("kind", "")), str(body.get("url", "")).rstrip("/")
    if kind not in KINDS:
        raise SettingError(f"`{kind}` is no runner.", hint=f"There are local, {' and '.join(KINDS)}.")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingError(
            f"The address of {kind} is `{_harmless(url)}`, which is no http address.",
            hint=f"Give --url http://HOST:PORT, or set {url_variable(kind)}.",
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise SettingError(
            f"The address of {kind} at {parts.hostname} holds more than a place: it would be recorded.",
            hint=f"Give a token by {token_variable(kind)}, never in the address.",
        )
    options = {str(key): str(value) for key, value in (body.get("options") or {}).items() if value}
    return Engine(kind, url, options)


def url_variable(kind: str) -> str:
    """The variable of the environment that names the engine's address."""
    return "TUNELINE_KFP_URL" if kind == KUBEFLOW else "TUNELINE_AIRFLOW_URL"


def token_variable(kind: str) -> str:
    """The variable of the environment that holds the token for the engine."""
    return "TUNELINE_KFP_TOKEN" if kind == KUBEFLOW else "TUNELINE_AIRFLOW_TOKEN"


def _harmless(url: str) -> str:
    """A URL without what may be a secret."""
    return url.rpartition("@")[2].partition("?")[0]
