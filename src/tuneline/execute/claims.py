"""Makes or deletes a volume, which is a folder, in a task's process: `create FOLDER NAME OWNER OUTPUT` or
`delete FOLDER NAME`. As on Kubernetes, one that is there cannot be made again, nor one deleted that is not.

Standard library only: it is run as a script.
"""

import os
import re
import shutil
import sys

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
"""What Kubernetes lets a claim be named, and more; no path."""
_OWNERS = ".owners"


def is_name(text: str) -> bool:
    """Whether a volume, secret or config map may be named so."""
    return _NAME.fullmatch(text) is not None and len(text) <= 253


def create(folder: str, name: str, owner: str, output: str) -> None:
    """Make a volume and write its name to `output`. One that the same owner made before is found made."""
    _check(name)
    mark = os.path.join(folder, _OWNERS, name)
    os.makedirs(os.path.dirname(mark), exist_ok=True)
    if os.path.isdir(os.path.join(folder, name)) and _read(mark) != owner:
        raise SystemExit(f"The volume `{name}` is there already: {os.path.join(folder, name)}.")
    with open(mark, "w", encoding="utf-8") as file:
        file.write(owner)
    os.makedirs(os.path.join(folder, name), exist_ok=True)
    with open(output, "w", encoding="utf-8") as file:
        file.write(name)


def delete(folder: str, name: str) -> None:
    """Delete a volume with all that is in it."""
    _check(name)
    if not os.path.isdir(os.path.join(folder, name)):
        raise SystemExit(f"There is no volume `{name}` to delete in {folder}.")
    shutil.rmtree(os.path.join(folder, name))
    mark = os.path.join(folder, _OWNERS, name)
    if os.path.exists(mark):
        os.unlink(mark)


def _check(name: str) -> None:
    if not is_name(name):
        raise SystemExit(f"{name!r} is no name of a volume: letters, digits, `-`, `_` and `.` only.")


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


if __name__ == "__main__":
    if sys.argv[1] == "create":
        create(*sys.argv[2:])
    else:
        delete(*sys.argv[2:])
