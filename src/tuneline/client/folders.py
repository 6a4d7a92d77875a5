"""Folders over HTTP: a package as a tar, written and read without a name or a path leaving its folder."""

import shutil
import tarfile
from pathlib import Path
from typing import IO

from tuneline.errors import ModelError

NAMES = "files and folders with plain relative names"


def pack(folder: Path, file: IO[bytes]) -> None:
    """Write the folder's files to `file` as a tar, the same to the byte for the same content."""
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
                entry.size = path.stat().st_size
                with path.open("rb") as content:
                    tar.addfile(entry, content)


def unpack(file: IO[bytes], folder: Path) -> None:
    """Write what a tar holds into `folder`, which is made anew.

    Raises: ModelError for a tar that is broken, or holds links, devices or a path out of the folder.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with tarfile.open(fileobj=file, mode="r|") as tar:
            for entry in tar:
                if not (entry.isfile() or entry.isdir()):
                    raise ModelError(f"The archive holds `{entry.name}`, which is none of {NAMES}.")
                tar.extract(entry, folder, set_attrs=False, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise ModelError(f"The archive cannot be read: {error}.", hint="Send it again.") from error
