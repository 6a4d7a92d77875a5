"""One file at an `https://` address; `http://` on this machine. Asked again at every run, brought again only
if it changed."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tuneline.errors import DataError, NetworkError
from tuneline.steps.downloads import Desk
from tuneline.steps.sources import Fetched, Found
from tuneline.steps.sources.files import SUFFIXES
from tuneline.steps.transfer import Validators, check_address, client, download, shown
from tuneline.types import Digest

SCHEMES = ("https", "http")
_BY_TYPE = {
    "text/csv": ".csv", "application/json": ".json", "application/x-ndjson": ".jsonl",
    "application/jsonl": ".jsonl",
    "application/vnd.apache.parquet": ".parquet",
}  # fmt: skip


def fetch(address: str, desk: Desk) -> Fetched:
    """The file at `address`. Raises DataError if it is not there or not the file asked for; NetworkError."""
    if "@" in urlsplit(address).netloc:
        raise DataError(
            f"{shown(address)} has a user or password in it.",
            hint="Leave it out: project files are kept and shown.",
        )
    check_address(address, desk.env)
    pin = desk.pin(address)
    if pin and desk.sha256 and pin["sha256"] == desk.sha256:
        return _fetched(pin, address, desk)  # a checksum pins the content: there is nothing to ask
    if desk.offline:
        return _copy(pin, address, desk, "offline")
    try:
        pin = _bring(address, desk, pin)
    except NetworkError as error:
        if pin is None:
            raise
        return _copy(pin, address, desk, error.message.removesuffix("."))
    return _fetched(pin, address, desk)


def _bring(address: str, desk: Desk, pin: dict[str, Any] | None) -> dict[str, Any]:
    known = Validators(pin["etag"], pin["modified"]) if pin else None
    with desk.partial(address) as scratch, client(desk.env) as http:
        answer = download(http, address, scratch, desk, known)
        if not answer.changed and pin:
            return pin
        name = _name(address, answer.headers)
        sha256 = desk.keep(scratch, desk.sha256, shown(address))
    if pin and pin["sha256"] != sha256:
        desk.note(f"{shown(address)} changed since the last run: {pin['sha256'][:8]} is now {sha256[:8]}.")
    made = {
        "sha256": sha256, "name": name, "etag": answer.validators.etag,
        "modified": answer.validators.modified,
    }  # fmt: skip
    desk.save_pin(address, made)
    return made


def _copy(pin: dict[str, Any] | None, address: str, desk: Desk, why: str) -> Fetched:
    """The copy of an earlier run. Raises NetworkError if there is none."""
    if pin is None:
        raise no_copy(address, why)
    if desk.sha256 and pin["sha256"] != desk.sha256:
        raise no_copy(address, why)
    desk.note(f"Used the copy of {shown(address)} from an earlier run, sha256:{pin['sha256'][:12]}: {why}.")
    return _fetched(pin, address, desk)


def no_copy(address: str, why: str) -> NetworkError:
    """What is raised where there is neither network nor copy. Offline, trying again is in vain."""
    error = NetworkError(
        f"{shown(address)} is not on this machine, and cannot be asked for: {why}.",
        hint="Connect once (unset TUNELINE_OFFLINE), or give `data.source` a file on this machine.",
    )
    error.retry = why != "offline"
    return error


def _fetched(pin: Mapping[str, Any], address: str, desk: Desk) -> Fetched:
    path = desk.blob(pin["sha256"])
    found = Found(pin["name"], path, Digest(f"sha256:{pin['sha256']}"), path.stat().st_size, ours=True)
    return Fetched((found,), {"url": shown(address)}, shown(address))


def _name(address: str, headers: Mapping[str, str]) -> str:
    """What to call the file: its suffix says its format. Raises DataError if nothing says it."""
    named = re.search(r'filename="?([^";]+)', headers.get("content-disposition", ""))
    for candidate in (unquote(urlsplit(address).path), named[1] if named else ""):
        name = Path(candidate).name
        if Path(name).suffix.lower() in SUFFIXES:
            return re.sub(r"[^\w.+-]", "_", name)
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in _BY_TYPE:
        return f"data{_BY_TYPE[kind]}"
    raise DataError(
        f"{shown(address)} does not say its format (type `{kind or 'none'}`).",
        hint=f"The address should end in one of {', '.join(SUFFIXES)}.",
    )
