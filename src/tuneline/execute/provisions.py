"""What a task is given beside its inputs: secrets, config maps, volumes, the run's workspace, facts about its
pod, limits; each as the nearest thing on this machine. What has no such thing is said in notes.

Secrets and config maps are files, `<home>/secrets/<name>/<key>` and `<home>/configmaps/<name>/<key>`. Their
values go into the process's environment and nowhere else.
"""

import stat
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneline.errors import MissingPartError, SpecError
from tuneline.execute.claims import is_name
from tuneline.execute.images import Mount
from tuneline.execute.limits import limits, unheeded
from tuneline.settings import Settings
from tuneline_ir import WORKSPACE

SEEN = frozenset(
    ("secretAsEnv", "secretAsVolume", "configMapAsEnv", "configMapAsVolume", "pvcMount", "fieldPathAsEnv")
)
"""What of a platform document a task can see, by its keys there."""
_NAMESPACE = "default"


@dataclass(frozen=True)
class Asked:
    """What an executor asks for. `platform`: of Kubernetes, names resolved; None where one has no value."""

    run: str
    task: str
    pod: str
    """The attempt's name."""
    folder: Path
    """The attempt's."""
    platform: Mapping[str, Any] = field(default_factory=dict)
    resources: Mapping[str, Any] = field(default_factory=dict)
    workspace: Path | None = None


@dataclass(frozen=True)
class Provided:
    """What it gets."""

    env: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def provide(asked: Asked, settings: Settings) -> Provided:
    """Find or make all of it. Raises: MissingPartError, SpecError, OSError."""
    secrets = _Files("secret", settings.secrets, asked.task)
    maps = _Files("config map", settings.config_maps, asked.task)
    body, mounts = asked.platform, list[Mount]()
    env = {"KFP_POD_NAME": asked.pod, "KFP_POD_UID": _uid(asked.pod)}
    for item in body.get("configMapAsEnv", ()):
        env.update(maps.values(item, "configMapName", "configMapKey"))
    for item in body.get("secretAsEnv", ()):
        env.update(secrets.values(item, "secretName", "secretKey"))
    for item in body.get("fieldPathAsEnv", ()):
        env[item["name"]] = _field(asked, str(item.get("fieldPath", "")))
    for item in body.get("configMapAsVolume", ()):
        mounts += maps.mounts(item, "configMapName")
    for item in body.get("secretAsVolume", ()):
        mounts += secrets.mounts(item, "secretName")
    for item in body.get("pvcMount", ()):
        mounts += _volume(item, settings.volumes)
    for item in (*body.get("emptyDirMounts", ()), *body.get("genericEphemeralVolume", ())):
        mounts.append(_scratch(item, asked.folder))
    if asked.workspace is not None:
        asked.workspace.mkdir(parents=True, exist_ok=True)
        mounts.append(Mount(asked.workspace, WORKSPACE))
    options = limits(asked.resources, body)
    return Provided(
        env, tuple(mounts), options, (*secrets.notes, *maps.notes, *unheeded(asked.resources, body))
    )


class _Files:
    """Values that are files: a folder a name, a file a key."""

    def __init__(self, what: str, root: Path, task: str) -> None:
        self._what = what
        self._root = root
        self._task = task
        self.notes: list[str] = []

    def values(self, item: Mapping[str, Any], name_key: str, key_key: str) -> Iterator[tuple[str, str]]:
        """The variables that one entry of `secretAsEnv` or `configMapAsEnv` sets."""
        name = self._name(item, name_key)
        for pair in item.get("keyToEnv", ()) if name is not None else ():
            key = str(pair[key_key])
            file = self._root / str(name) / key
            if not is_name(key.lstrip("._")):
                raise SpecError(f"Task `{self._task}` asks for the {self._what} `{name}`, key {key!r}.")
            if file.is_file():
                self._look(file)
                yield str(pair["envVar"]), file.read_text(encoding="utf-8").removesuffix("\n")
            elif not item.get("optional"):
                raise self._missing(f"`{name}` with the key `{key}`", file, "that file")

    def mounts(self, item: Mapping[str, Any], name_key: str) -> list[Mount]:
        """What one entry of `secretAsVolume` or `configMapAsVolume` mounts."""
        name = self._name(item, name_key)
        if name is None:
            return []
        folder = self._root / name
        if folder.is_dir():
            return [Mount(folder, _inside(item), read_only=True)]
        if item.get("optional"):
            return []
        raise self._missing(f"`{name}`", folder, "a file for each of its keys in that folder")

    def _name(self, item: Mapping[str, Any], key: str) -> str | None:
        """The name; None if it is an optional input that nobody gave."""
        parameter = f"{key}Parameter"
        name = item[parameter] if parameter in item else item.get(key)
        if name is None:
            return None
        if not is_name(str(name)):
            raise SpecError(f"Task `{self._task}` asks for a {self._what} named {name!r}, which is no name.")
        return str(name)

    def _missing(self, which: str, path: Path, how: str) -> MissingPartError:
        return MissingPartError(
            f"Task `{self._task}` needs the {self._what} {which}, which is not at {path}.",
            hint=f"Write {how}, readable by you alone (chmod 600), then `tuneline runs retry`.",
        )

    def _look(self, file: Path) -> None:
        if self._what == "secret" and file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            self.notes.append(f"others may read {file}: chmod 600 makes it yours alone")


def _volume(item: Mapping[str, Any], volumes: Path) -> Iterable[Mount]:
    name = item.get("pvcNameParameter")
    if name is None:
        return []
    if not is_name(str(name)):
        raise SpecError(f"A volume named {name!r} cannot be: letters, digits, `-`, `_` and `.` only.")
    folder = volumes / str(name)
    inner = Path(str(item.get("subPath") or ""))
    if inner.is_absolute() or ".." in inner.parts:
        raise SpecError(f"`subPath` of the volume `{name}` is {inner}, which is not inside it.")
    (folder / inner).mkdir(parents=True, exist_ok=True)
    return [Mount(folder / inner, _inside(item))]


def _scratch(item: Mapping[str, Any], folder: Path) -> Mount:
    name = str(item.get("volumeName", ""))
    if not is_name(name):
        raise SpecError(f"A volume named {name!r} cannot be: letters, digits, `-`, `_` and `.` only.")
    path = folder / "volumes" / name
    path.mkdir(parents=True, exist_ok=True)
    return Mount(path, _inside(item))


def _inside(item: Mapping[str, Any]) -> str:
    path = str(item.get("mountPath", ""))
    if not path.startswith("/") or path.strip("/") == "" or ":" in path:
        raise SpecError(f"`mountPath` is {path!r}, which is no absolute path below the root.")
    return path


def _field(asked: Asked, path: str) -> str:
    """What Kubernetes' downward API would say."""
    metadata = asked.platform.get("podMetadata") or {}
    labels = {"pipeline/runid": asked.run, **(metadata.get("labels") or {})}
    kind, _, rest = path.partition("['")
    if kind == "metadata.labels":
        return str(labels.get(rest.removesuffix("']"), ""))
    if kind == "metadata.annotations":
        return str((metadata.get("annotations") or {}).get(rest.removesuffix("']"), ""))
    return {
        "metadata.name": asked.pod,
        "metadata.namespace": _NAMESPACE,
        "metadata.uid": _uid(asked.pod),
        "spec.nodeName": "localhost",
        "spec.serviceAccountName": _NAMESPACE,
        "status.podIP": "127.0.0.1",
        "status.hostIP": "127.0.0.1",
    }.get(path, "")


def _uid(pod: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"tuneline:{pod}"))
