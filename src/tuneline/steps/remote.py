"""What hubs and buckets have in common as sources: files listed first, then brought one by one, then pinned.

A source lists what an address means now (`Listing`), each file with a tag that changes when the file does.
Only what has another tag than at the last run is brought again. Without network the copy of the last run is
used, and the run says so. Credentials are the libraries' affair: an address that holds one is refused.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from tuneline.errors import DataError, NetworkError
from tuneline.steps.downloads import Desk
from tuneline.steps.sources import Fetched, Found
from tuneline.steps.sources.files import SUFFIXES
from tuneline.steps.sources.https import no_copy
from tuneline.types import Digest


@dataclass(frozen=True)
class Piece:
    """One file, as its source lists it."""

    path: str
    """Within what the address names, `/` between its parts; empty if that is the file itself."""
    name: str
    """What it is called here."""
    tag: str
    """What changes when the file does: a digest, an ETag, a version."""
    size_bytes: int | None = None
    sha256: str = ""
    """64 hexadecimal digits, where the source says them."""
    version: str = ""
    """The version of the source it is listed in, where that is needed to bring it."""


@dataclass(frozen=True)
class Listing:
    """What an address means now."""

    pieces: tuple[Piece, ...]
    pinned: Mapping[str, Any]
    """The version that the source says it is: a commit, a number. Of a bucket its files' tags tell."""


@dataclass(frozen=True)
class Remote:
    """One address of a hub or bucket."""

    address: str
    resolved: Mapping[str, Any]
    """As `Fetched.resolved`."""
    look: Callable[[], Listing]
    """Asks the source. Raises: DataError, SettingError, NetworkError."""
    bring: Callable[[Piece, Path], Piece]
    """Writes a file to a path, going on from what is there; gives the piece it became, if it changed on the
    way."""


def fetch(remote: Remote, desk: Desk, part: str = "") -> Fetched:
    """All files of an address. part: which of them, where the same address is asked for others too.

    Raises: DataError if they are not there or not what they should be;
    SettingError without access; MissingPartError without the library; NetworkError."""
    pinned_as = f"{remote.address} {part}".strip()
    pin = desk.pin(pinned_as)
    if pin and desk.sha256 and [one["sha256"] for one in pin["files"].values()] == [desk.sha256]:
        return _fetched(remote, pin, desk)  # a checksum pins the content: there is nothing to ask
    if desk.offline:
        return _copy(remote, pin, desk, "offline")
    try:
        listing = remote.look()
        if desk.sha256 and len(listing.pieces) != 1:
            raise DataError(
                f"A checksum is given, but {remote.address} means {len(listing.pieces)} files.",
                hint="A checksum is for one file; leave it out for several.",
            )
        made = _bring(remote, listing, pin["files"] if pin else {}, desk)
    except NetworkError as error:
        if pin is None:
            raise
        return _copy(remote, pin, desk, error.message.removesuffix("."))
    if pin and _digests(pin) != _digests(made):
        desk.note(
            f"{remote.address} changed since the last run: {pin['sha256'][:8]} is now {made['sha256'][:8]}."
        )
    desk.save_pin(pinned_as, made)
    return _fetched(remote, made, desk)


def refuse_secrets(address: str) -> None:
    """Raises DataError if an address holds a user, password, token or signature."""
    parts = urlsplit(address)
    user, at, host = parts.netloc.rpartition("@")
    of_azure = parts.scheme in ("az", "abfs", "abfss") and ":" not in user  # container@account
    if parts.query or (at and not of_azure):
        raise DataError(
            f"{parts.scheme}://{host}{parts.path} is given with a user, token or query.",
            hint="Leave it out: project files are kept and shown. docs/sources.md says how to log in.",
        )


def choose(names: Iterable[str], path: str, what: str, suffixes: Iterable[str] = SUFFIXES) -> list[str]:
    """Those of `names` that `path` means: a file, a glob, or a folder (empty: all) of files with `suffixes`.

    Raises: DataError, naming what is there, if there is none, or two would have one name here.
    """
    listed, wanted = sorted(names), path.strip("/")
    if wanted in listed:
        return [wanted]
    if any(sign in wanted for sign in "*?["):
        found = [name for name in listed if _matches(name, wanted)]
    else:
        folder = f"{wanted}/" if wanted else ""
        found = [
            name for name in listed
            if name.startswith(folder) and "/" not in name[len(folder) :] and name.endswith(tuple(suffixes))
        ]  # fmt: skip
    if not found:
        close = get_close_matches(wanted, listed, n=3) or listed[:8]
        raise DataError(
            f"There is no file `{wanted or '(any)'}` in {what}.",
            hint=f"There is: {', '.join(close) or 'nothing'}.",
        )
    last = [PurePosixPath(name).name for name in found]
    if twice := next((name for name in last if last.count(name) > 1), ""):
        raise DataError(f"Two files in {what} have one name: {twice}.", hint="Give a narrower path or glob.")
    return found


def _matches(name: str, glob: str) -> bool:
    """As in a shell: `*` stays within a folder, `**` does not."""
    parts, wanted = name.split("/"), glob.split("/")
    if "**" in wanted:
        return fnmatchcase(name, glob.replace("**/", "*"))
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def _bring(
    remote: Remote, listing: Listing, known: Mapping[str, Mapping[str, Any]], desk: Desk
) -> dict[str, Any]:
    files: dict[str, Any] = {}
    for piece in listing.pieces:
        before = known.get(piece.path)
        if before and before["tag"] == piece.tag and before["name"] == piece.name:
            files[piece.path] = dict(before)
            continue
        with desk.partial(f"{remote.address} {piece.path}") as scratch:
            got = remote.bring(piece, scratch)
            expected = desk.sha256 or got.sha256
            sha256 = desk.keep(scratch, expected, f"{remote.address} {piece.path}".strip())
        files[piece.path] = {"name": got.name, "sha256": sha256, "tag": got.tag}
    first = next(iter(files.values()))
    tags = {"tags": {path: one["tag"] for path, one in files.items()}}
    return {"sha256": first["sha256"], "files": files, "pinned": dict(listing.pinned) or tags}


def _digests(pin: Mapping[str, Any]) -> list[tuple[str, str]]:
    return sorted((path, one["sha256"]) for path, one in pin["files"].items())


def _copy(remote: Remote, pin: dict[str, Any] | None, desk: Desk, why: str) -> Fetched:
    """The copy of an earlier run. Raises NetworkError if there is none, or it is not the one asked for."""
    if pin is None or (desk.sha256 and [one["sha256"] for one in pin["files"].values()] != [desk.sha256]):
        raise no_copy(remote.address, why)
    desk.note(f"Used the copy of {remote.address} from an earlier run, sha256:{pin['sha256'][:12]}: {why}.")
    return _fetched(remote, pin, desk)


def _fetched(remote: Remote, pin: Mapping[str, Any], desk: Desk) -> Fetched:
    found = []
    for one in pin["files"].values():
        path = desk.blob(one["sha256"])
        digest = Digest(f"sha256:{one['sha256']}")
        found.append(Found(one["name"], path, digest, path.stat().st_size, ours=True))
    return Fetched(tuple(found), remote.resolved, remote.address, pin["pinned"])
