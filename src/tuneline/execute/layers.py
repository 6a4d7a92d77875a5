"""Makes the environment of packages that a task needs, in the task's own process, before the task starts.

An environment is a folder as `python -m venv` makes it. It lies over another one, whose packages it sees,
and gets the rest by pip; nothing is ever installed into the one below. It is made under a lock, so of several
tasks one makes it and the others wait; it counts only once `tuneline.json` is in it, the last thing written,
so one whose making failed or was killed is made anew. Standard library only: the shim calls it without
site-packages.

The description of an environment is a mapping: `path`; `python`, an interpreter that is no environment's, and
its `version`; `below`, the path of the one below, and `first`, its description if it may have to be made;
`pip`, lists of arguments of `pip install`; `title`, for the log; `kept`, false if it ends with the attempt.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

READY = "tuneline.json"
_LAST = 12
"""Lines of pip's output that an error quotes at most."""
_USER = re.compile(r"(://)[^/@\s'\"]+@")
_PIP = '#!/bin/sh\nexec "$(dirname "$0")/python" -m pip "$@"\n'


class CannotMake(Exception):
    """An environment could not be made. `details`: what pip said last."""

    def __init__(self, message: str, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.details = list(details)


def prepare(environment: Mapping[str, Any], folder: str) -> str:
    """Make an environment if it is not there, and return its interpreter.

    folder: the attempt's; if it cannot be made, `error.json` is left in it and the process ends.
    """
    try:
        make(environment)
    except (CannotMake, OSError) as error:
        body = {
            "code": "transient",
            "message": f"The packages that the task needs could not be installed: {error}.",
            "hint": "See its log. `docs/tasks.md` says where packages go and where they come from.",
            "details": getattr(error, "details", []),
            "retry": True,
        }
        with open(os.path.join(folder, "error.json"), "w", encoding="utf-8") as file:
            json.dump(body, file)
        _say(str(body["message"]))
        raise SystemExit(1) from None
    return python_of(str(environment["path"]))


def python_of(path: str) -> str:
    """The interpreter of an environment."""
    return os.path.join(path, "bin", "python")


def packages_of(path: str, version: str) -> str:
    """Where an environment's packages are."""
    return os.path.join(path, "lib", "python" + ".".join(version.split(".")[:2]), "site-packages")


def is_ready(path: str) -> bool:
    """Whether an environment that we make is complete."""
    return os.path.exists(os.path.join(path, READY))


def make(environment: Mapping[str, Any]) -> None:
    """Make an environment, and first the one below if need be. Raises: CannotMake, OSError."""
    path = str(environment["path"])
    if is_ready(path):
        return
    if environment.get("first"):
        make(environment["first"])
    if not environment["kept"]:
        _layer(environment)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".lock", "a", encoding="utf-8") as lock:
        _lock(lock.fileno(), environment["title"])
        if is_ready(path):
            return
        shutil.rmtree(path, ignore_errors=True)  # of one whose making was killed
        try:
            _fill(environment, lock.fileno())
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise


def _fill(environment: Mapping[str, Any], lock: int) -> None:
    path = str(environment["path"])
    _say(f"Installing {environment['title']} into {path} ...")
    if environment["below"]:
        _layer(environment)
    else:
        _run([environment["python"], "-m", "venv", path], lock, "python -m venv")
    for arguments in environment["pip"]:
        pip = [python_of(path), "-m", "pip", "install", "--no-input", "--progress-bar", "off"]
        quiet = ["--disable-pip-version-check", "--no-warn-script-location", "--no-warn-conflicts"]
        _run([*pip, *quiet, *arguments], lock, "pip install")
    body = json.dumps({"python": environment["version"], "pip": environment["pip"]})
    scratch = os.path.join(path, READY + ".part")
    with open(scratch, "w", encoding="utf-8") as file:
        file.write(_USER.sub(r"\1***@", body))
    os.replace(scratch, os.path.join(path, READY))


def _layer(environment: Mapping[str, Any]) -> None:
    """What `python -m venv --without-pip` makes, in a millisecond, over the environment below."""
    path, python = str(environment["path"]), str(environment["python"])
    packages = packages_of(path, environment["version"])
    os.makedirs(packages, exist_ok=True)
    os.makedirs(os.path.join(path, "bin"), exist_ok=True)
    with open(os.path.join(path, "pyvenv.cfg"), "w", encoding="utf-8") as file:
        file.write(f"home = {os.path.dirname(python)}\ninclude-system-site-packages = false\n")
        file.write(f"version = {environment['version']}\n")
    below = packages_of(environment["below"], environment["version"])
    with open(os.path.join(packages, "below.pth"), "w", encoding="utf-8") as file:
        file.write(f"import site; site.addsitedir({below!r})\n")
    short = "python" + ".".join(environment["version"].split(".")[:2])
    for name in ("python", "python3", short):
        os.symlink(python, os.path.join(path, "bin", name))
    if sys.platform != "darwin":
        os.symlink("lib", os.path.join(path, "lib64"))
    for name in ("pip", "pip3"):
        script = os.path.join(path, "bin", name)
        with open(script, "w", encoding="utf-8") as file:
            file.write(_PIP)
        os.chmod(script, 0o755)


def _lock(descriptor: int, title: str) -> None:
    """Hold the lock until this process and every pip it started are gone."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _say(f"Waiting for another task that installs {title} ...")
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _run(command: Sequence[str], lock: int, name: str) -> None:
    """Run pip with its output in the log. The user's settings of pip count but for where it installs to."""
    env = {**os.environ, "PIP_USER": "0", "PYTHONPATH": "", "PIP_REQUIRE_VIRTUALENV": "0"}
    for key in ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT"):
        env.pop(key, None)
    if env.get("TUNELINE_OFFLINE") == "1":
        env["PIP_NO_INDEX"] = "1"
    last: deque[str] = deque(maxlen=_LAST)
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        pass_fds=(lock,),
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            line = _USER.sub(r"\1***@", line.rstrip())
            last.append(line)
            _say(line)
    if process.returncode != 0:
        raise CannotMake(f"`{name}` ended with exit code {process.returncode}", last)


def _say(text: str) -> None:
    sys.stdout.write(_USER.sub(r"\1***@", text) + "\n")
    sys.stdout.flush()
