"""Files on this machine: a path, a folder, or a glob. Copied into the run, never linked: their owner may
change them."""

import glob
from pathlib import Path

from tuneline.errors import DataError
from tuneline.steps.downloads import Desk, digest_file
from tuneline.steps.sources import Fetched, Found

SCHEMES = ("",)
SUFFIXES = (".csv", ".jsonl", ".ndjson", ".json", ".parquet")


def fetch(address: str, desk: Desk) -> Fetched:
    """The files a path, folder or glob means, by name. Raises DataError if there is none, or names clash."""
    paths = _paths(address)
    if desk.sha256 and len(paths) != 1:
        raise DataError(
            f"`data.sha256` is given, but `data.source` means {len(paths)} files.",
            hint="A checksum is for one file; leave it out for a glob.",
        )
    files = tuple(_found(path) for path in paths)
    return Fetched(files, {"files": len(files)}, Path(address).name)


def _paths(address: str) -> list[Path]:
    place = Path(address)
    if place.is_dir():
        found = [path for path in place.iterdir() if path.suffix in SUFFIXES]
    elif place.is_file():
        found = [place]
    else:
        found = [path for path in map(Path, glob.glob(address, recursive=True)) if path.is_file()]
    if not found:
        raise DataError(
            f"There is no file {address}.",
            hint=f"`data.source` is meant from the project's folder. {_there(place)}",
        )
    by_name: dict[str, Path] = {}
    for path in sorted(found, key=lambda path: (path.name, str(path))):
        if path.name in by_name:
            raise DataError(
                f"Two files of `data.source` have one name: {by_name[path.name]} and {path}.",
                hint="Rename one of them, or give a narrower glob.",
            )
        by_name[path.name] = path
    return list(by_name.values())


def _there(place: Path) -> str:
    """What is in the folder instead."""
    parent = place.parent
    while not parent.is_dir():
        parent = parent.parent
    names = sorted(path.name for path in parent.iterdir())[:8]
    return f"In {parent} there is: {', '.join(names) or 'nothing'}."


def _found(path: Path) -> Found:
    try:
        digest, size_bytes = digest_file(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", hint="Check its permissions.") from error
    return Found(path.name, path, digest, size_bytes, ours=False)
