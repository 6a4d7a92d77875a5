"""An app: a web program that stays, run as a revision of an endpoint. What one is, what is wrong with one,
and which version it gets. Pure.

An app is no model: nothing is proven or gated. It is written down like a release (`name@version`), so that
control, traffic and history treat both alike; `manifest["kind"]` tells them apart.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import semver

from tuneline.errors import SpecError
from tuneline.plan.secrets import is_secret

KIND = "app"
"""`kind` of an app's manifest and of its row among models; also the name of its runtime."""
MODEL = "model"
"""`kind` of everything else."""
FIRST = "1.0.0"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
ENTRY = re.compile(r"[\w./-]+:[A-Za-z_]\w*")
VARIABLE = re.compile(r"[A-Za-z_]\w*")
OURS = re.compile(r"HOST|PORT|TUNELINE_.*")
"""Variables an app is given; `env` may not set them."""


@dataclass(frozen=True)
class App:
    """How to run a folder of files as a web program."""

    name: str
    """Also of the endpoint it is run at."""
    entry: str = ""
    """`app.py:app` or `package.module:app`: an ASGI or WSGI callable of the source."""
    command: tuple[str, ...] = ()
    """Instead of an entry: a program and its arguments; `{port}` and `{host}` are replaced in them."""
    env: Mapping[str, str] = field(default_factory=dict)
    uses: str = ""
    """An endpoint whose address the app is given."""
    probe: str = "/"
    """The path that must answer with less than 500 before the app gets requests."""


def faults(app: App) -> list[str]:
    """Everything that keeps `app` from being run, one line each."""
    found = []
    if not NAME.fullmatch(app.name):
        found.append(
            f"name `{app.name}`: use letters, digits, `.`, `_` and `-`, beginning with a letter or digit"
        )
    if bool(app.entry) == bool(app.command):
        found.append("give either an entry (`app.py:app`) or a command")
    if app.entry and (not ENTRY.fullmatch(app.entry) or ".." in app.entry or app.entry.startswith("/")):
        found.append(f"entry `{app.entry}`: write it as `app.py:app`, the file and the callable in it")
    if not app.probe.startswith("/"):
        found.append(f"probe `{app.probe}`: a path begins with `/`")
    if app.uses == app.name:
        found.append(f"uses `{app.uses}`: an app cannot use its own endpoint")
    for name in app.env:
        if not VARIABLE.fullmatch(name) or OURS.fullmatch(name):
            found.append(f"env `{name}`: not a name that may be set")
        elif is_secret(name):
            found.append(
                f"env `{name}`: looks like a secret, and this would be kept; set it for `tuneline up`"
            )
    return found


def refuse_faulty(app: App) -> None:
    """Raises: SpecError naming every fault."""
    if wrong := faults(app):
        raise SpecError(
            f"The app `{app.name}` cannot be run as it is described.",
            hint="An app has the environment of `tuneline up`: secrets belong there. See docs/apps.md.",
            details=wrong,
        )


def manifest(app: App, files: Mapping[str, str]) -> dict[str, Any]:
    """What an app's version is, whole: two with the same manifest are the same. files: digest by path."""
    return {"kind": KIND, **asdict(app), "command": list(app.command), "files": dict(files)}


def from_manifest(body: Mapping[str, Any]) -> App:
    """The app that `manifest` was made from."""
    known = {name: body[name] for name in App.__dataclass_fields__ if name in body}
    return App(**{**known, "command": tuple(known.get("command", ()))})


def is_app(body: Mapping[str, Any]) -> bool:
    """Whether a manifest is an app's."""
    return body.get("kind") == KIND


def next_version(
    previous: Sequence[tuple[str, Mapping[str, Any]]], now: Mapping[str, Any]
) -> tuple[str, str]:
    """The version of the app with manifest `now`, and why. previous: (version, manifest), in any order."""
    if not previous:
        return FIRST, "first version"
    text, before = max(previous, key=lambda item: semver.Version.parse(item[0]))
    names = ("files", "entry", "command", "env", "uses", "probe")
    changed = ", ".join(name for name in names if before.get(name) != now.get(name))
    return str(semver.Version.parse(text).bump_minor()), f"since {text}: {changed} changed"
