"""All that the environment may change, read once at the edge and passed down."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from tuneline.errors import SettingError

LOGINS = frozenset(("TUNELINE_KFP_TOKEN", "TUNELINE_AIRFLOW_TOKEN", "TUNELINE_AIRFLOW_PASSWORD"))
"""By what other engines know a user: read by `tuneline run`, wanted by nothing else."""
SERVER_ONLY = frozenset(("TUNELINE_DATABASE_URL", "TUNELINE_TOKEN", "TUNELINE_NOTIFY")) | LOGINS
"""What no task, router or runtime gets, nor a notice's URL: it may hold the record's password, or says who
somebody is elsewhere, and they may run users' code."""


@dataclass(frozen=True)
class Settings:
    """One frozen object. Each field is an environment variable `TUNELINE_<FIELD>`."""

    home: Path
    """`TUNELINE_HOME`: where the record, artifacts, logs and caches live. Default `~/.tuneline`."""
    url: str | None = None
    """`TUNELINE_URL`: a server elsewhere; the same commands talk to it. Default: the one of this home."""
    token: str | None = field(default=None, repr=False)
    """`TUNELINE_TOKEN`: by what the server at `TUNELINE_URL` knows this user. Never shown."""
    host: str = "127.0.0.1"
    """`TUNELINE_HOST`: where this home's server listens beside 127.0.0.1; who asks there needs a token."""
    port: int = 8080
    """`TUNELINE_PORT`: where this home's server listens."""
    task_slots: int = 2
    """`TUNELINE_TASK_SLOTS`: how many tasks of all runs may run at once. Default: the number of cores."""
    task_env: Path | None = None
    """`TUNELINE_TASK_ENV`: a Python environment with Kubeflow's SDK, which Python components run in. Default:
    `<home>/environments/kfp`, made by the first task that needs it."""
    vllm_python: Path | None = None
    """`TUNELINE_VLLM_PYTHON`: the interpreter of an environment that has vLLM, for `deploy.runtime: vllm`.
    Default: this one's, if vLLM is there."""
    images: Literal["", "host", "containers"] = ""
    """`TUNELINE_IMAGES`: `host` lets commands of any image run as processes of this machine; `containers`
    leaves every image but our own to podman or docker. Default: images of Python run here, others there."""
    offline: bool = False
    """`TUNELINE_OFFLINE`: `1` never asks the network; pinned copies are used and said to be."""
    drain_s: float = 30.0
    """`TUNELINE_DRAIN_S`: seconds that open requests of a revision may take after it lost its traffic."""
    log_level: str = "INFO"
    """`TUNELINE_LOG_LEVEL`: of the server's own log file."""
    artifacts: str = ""
    """`TUNELINE_ARTIFACTS`: where runs put their outputs, `s3://bucket/prefix`, `gs://`, `az://`, or a
    folder's absolute path. Default: with the run, in the home."""
    database_url: str = field(default="", repr=False)
    """`TUNELINE_DATABASE_URL`: where the record is, `postgresql://user@host/database`. Default: a SQLite file
    in the home. It may hold a password, so it is never shown."""
    notify: str = field(default="", repr=False)
    """`TUNELINE_NOTIFY`: URLs, separated by spaces, that are told of everything. They may hold secrets, so
    they are never shown."""
    on: Path | None = None
    """`TUNELINE_ON`: a YAML file shaped as a project's `on:`; it holds where a project says nothing."""
    public_url: str = ""
    """`TUNELINE_PUBLIC_URL`: the address of this server's pages for people, to which notices link."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """The settings of an environment.

        Raises: SettingError, naming the variable, its value and an example, if one cannot be read.
        """
        return cls(
            home=Path(env.get("TUNELINE_HOME") or Path.home() / ".tuneline").expanduser().absolute(),
            url=(env.get("TUNELINE_URL") or "").rstrip("/") or None,
            token=_token(env),
            host=(env.get("TUNELINE_HOST") or "").strip() or "127.0.0.1",
            port=_number(env, "TUNELINE_PORT", 8080, 0, 65535),
            task_slots=_number(env, "TUNELINE_TASK_SLOTS", max(2, os.cpu_count() or 1), 1, 4096),
            task_env=_path(env, "TUNELINE_TASK_ENV"),
            vllm_python=_path(env, "TUNELINE_VLLM_PYTHON"),
            images=_images(env.get("TUNELINE_IMAGES") or ""),
            offline=_flag(env, "TUNELINE_OFFLINE"),
            drain_s=float(_number(env, "TUNELINE_DRAIN_S", 30, 0, 86_400)),
            log_level=(env.get("TUNELINE_LOG_LEVEL") or "INFO").upper(),
            artifacts=(env.get("TUNELINE_ARTIFACTS") or "").rstrip("/"),
            database_url=_database(env),
            notify=(env.get("TUNELINE_NOTIFY") or "").strip(),
            on=_path(env, "TUNELINE_ON"),
            public_url=(env.get("TUNELINE_PUBLIC_URL") or "").rstrip("/"),
        )

    @property
    def record_url(self) -> str:
        """Where the record is: `database_url`, or the home's own file."""
        return self.database_url or f"sqlite:///{self.home / 'tuneline.db'}"

    @property
    def runs(self) -> Path:
        """Attempts, logs and outputs: `runs/<run id>/<task>/<attempt>/`."""
        return self.home / "runs"

    @property
    def downloads(self) -> Path:
        """Downloaded files by digest; safe to delete."""
        return self.home / "downloads"

    @property
    def environments(self) -> Path:
        """Packages of tasks, an environment a set of requirements; safe to delete when nothing runs."""
        return self.home / "environments"

    @property
    def apps(self) -> Path:
        """The sources of apps, by digest."""
        return self.home / "apps"

    @property
    def copies(self) -> Path:
        """Local copies of artifacts that lie in buckets, by digest; safe to delete."""
        return self.downloads / "artifacts"

    @property
    def volumes(self) -> Path:
        """Volumes of pipelines: a folder each, by name."""
        return self.home / "volumes"

    @property
    def secrets(self) -> Path:
        """`secrets/<name>/<key>`: a file for each value that a pipeline may ask for."""
        return self.home / "secrets"

    @property
    def config_maps(self) -> Path:
        """`configmaps/<name>/<key>`, likewise."""
        return self.home / "configmaps"

    @property
    def endpoints(self) -> Path:
        """One folder an endpoint: traffic.json, request segments, logs."""
        return self.home / "endpoints"


def processors() -> int:
    """How many processors this process may use: a container often has fewer than its machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _token(env: Mapping[str, str]) -> str | None:
    token = (env.get("TUNELINE_TOKEN") or "").strip()
    if not all("!" <= character <= "~" for character in token):
        raise SettingError(
            "TUNELINE_TOKEN holds a space or a character that no token has.",
            hint="`tuneline token create NAME` on the server's machine prints one: `tl_...`.",
        )
    return token or None


def _number(env: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = env.get(name)
    if not text:
        return default
    if text.isdigit() and low <= int(text) <= high:
        return int(text)
    raise SettingError(
        f"{name} is '{text}', which is not a whole number from {low} to {high}.",
        hint=f"Give a number, e.g. {name}={default}, or unset it.",
    )


def _images(text: str) -> Literal["", "host", "containers"]:
    match text:
        case "" | "host" | "containers":
            return text
    raise SettingError(
        f"TUNELINE_IMAGES is '{text}', which is neither host nor containers.",
        hint="Give TUNELINE_IMAGES=host to run commands of images on this machine itself, or unset it.",
    )


def _path(env: Mapping[str, str], name: str) -> Path | None:
    text = env.get(name)
    return Path(text).expanduser().absolute() if text else None


def _database(env: Mapping[str, str]) -> str:
    url = env.get("TUNELINE_DATABASE_URL") or ""
    kind = url.partition("://")[0] if "://" in url else ""
    if url and kind not in ("postgresql", "postgres", "postgresql+psycopg"):
        named = f"a database of kind `{kind}`" if kind else "no kind of database"
        raise SettingError(
            f"TUNELINE_DATABASE_URL names {named}.",
            hint="Write postgresql://user@host:5432/database, or unset it for a file in the home.",
        )
    return url


def _flag(env: Mapping[str, str], name: str) -> bool:
    text = (env.get(name) or "").lower()
    if text in ("", "0", "false", "no"):
        return False
    if text in ("1", "true", "yes"):
        return True
    raise SettingError(f"{name} is '{text}', which is neither 1 nor 0.", hint=f"Give {name}=1, or unset it.")
