"""Digests of files and folders: what makes two artifacts the same.

Limits: names and bytes only. Modes, times and empty sub-folders do not count; a link counts as what it points
to, but for one to a folder that it stands in, which is left out.
"""

import hashlib
import os
from pathlib import Path

from tuneline.errors import DataError
from tuneline.types import Digest, digest_json

_BLOCK = 1 << 20


def digest_path(path: Path) -> tuple[Digest, int]:
    """The digest and the size in bytes of what is at `path`.

    A file: sha256 of its bytes. A folder: sha256 of the canonical JSON of its sorted `[relative path,
    digest]` pairs, so an empty folder has the digest of `[]`.

    Raises: DataError if nothing is there, or a link in it points to nothing.
    """
    if path.is_file():
        return digest_file(path)
    if not path.is_dir():
        raise DataError(f"{path} is not there.", hint="It was deleted or moved since it was written.")
    pairs, size = [], 0
    for relative in files_below(path):
        digest, size_bytes = digest_file(path / relative)
        pairs.append([relative, digest])
        size += size_bytes
    return digest_json(pairs), size


def digest_file(path: Path) -> tuple[Digest, int]:
    """sha256 of a file's bytes, and how many there are. Raises: DataError if it cannot be opened."""
    hashed, size = hashlib.sha256(), 0
    block = bytearray(_BLOCK)
    view = memoryview(block)
    try:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(block):
                hashed.update(view[:count])
                size += count
    except FileNotFoundError as error:
        raise DataError(
            f"{path} is not there.", hint="It was deleted or moved since it was written."
        ) from error
    return Digest("sha256:" + hashed.hexdigest()), size


def size_of(path: Path) -> int | None:
    """Bytes in a file or in all files of a folder; None if nothing is there. Reads no file."""
    try:
        if path.is_dir():
            return sum((path / relative).stat().st_size for relative in files_below(path))
        return path.stat().st_size
    except FileNotFoundError:
        return None


def files_below(folder: Path) -> list[str]:
    """Relative paths, with `/`, of all files in `folder`, sorted by their text.

    A link to a folder that the way to it has been through is left out: two of them would lead on for ever.
    """
    found: list[str] = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not _leads_back(Path(parent, name), folder)]
        base = Path(parent).relative_to(folder)
        found.extend((base / name).as_posix() for name in names)
    return sorted(found)


def _leads_back(path: Path, folder: Path) -> bool:
    """Whether a path below `folder` is a link to a folder on the way to it, or to one that holds `folder`."""
    if not path.is_symlink():
        return False
    target = path.resolve()
    above = path.parents[: len(path.relative_to(folder).parts)]
    return folder.resolve().is_relative_to(target) or any(each.resolve() == target for each in above)
