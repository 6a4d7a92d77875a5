"""One file over HTTP, whole or not at all: resumed after a cut, retried after 429 and 500, checked for its
length.

Resuming asks for the rest with `If-Range`, so a file that changed meanwhile is begun again, never glued
together. Only https is spoken, and http on this machine or to a host in PIP_TRUSTED_HOST. Addresses are shown
without their secrets.
"""

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import certifi
import httpx

from tuneline.errors import DataError
from tuneline.steps.downloads import Desk
from tuneline.steps.patience import AgainError, patiently, retry_after_s


@dataclass(frozen=True)
class Validators:
    """What a server said about the version of a file."""

    etag: str = ""
    modified: str = ""

    @property
    def for_range(self) -> str:
        """What `If-Range` may hold: a strong ETag or a date; "" if resuming is not safe."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    @property
    def conditions(self) -> dict[str, str]:
        """Headers that ask for the file only if it is another."""
        named = {"If-None-Match": self.etag, "If-Modified-Since": self.modified if not self.etag else ""}
        return {name: value for name, value in named.items() if value}


@dataclass(frozen=True)
class Answer:
    """What came of a request. `changed` is false for 304: then there is no new file."""

    changed: bool
    validators: Validators
    headers: Mapping[str, str]


def client(env: Mapping[str, str]) -> httpx.Client:
    """An HTTP client that trusts what the system trusts, and refuses unsafe addresses, redirects included."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        if env.get(name) and Path(env[name]).is_file():
            context.load_verify_locations(env[name])

    def refuse_unsafe(request: httpx.Request) -> None:
        check_address(str(request.url), env)

    return httpx.Client(
        verify=context,
        follow_redirects=True,
        timeout=httpx.Timeout(60.0, connect=10.0),
        headers={"User-Agent": "tuneline", "Accept-Encoding": "identity"},
        event_hooks={"request": [refuse_unsafe]},
    )


def check_address(url: str, env: Mapping[str, str]) -> None:
    """Raises DataError if `url` is neither https, nor http to this machine or to a trusted host."""
    parts = urlsplit(url)
    trusted = {"127.0.0.1", "localhost", "::1", *env.get("PIP_TRUSTED_HOST", "").split()}
    if parts.scheme == "https" or (
        parts.scheme == "http" and (parts.hostname in trusted or parts.netloc in trusted)
    ):
        return
    raise DataError(
        f"{shown(url)} is not safe: only https:// is spoken beyond this machine.",
        hint="Give an https:// address.",
    )


def shown(url: str) -> str:
    """The address without user, password and query, which may hold secrets."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return (
        urlunsplit((parts.scheme, host, parts.path, "...", ""))
        if parts.query
        else urlunsplit((*parts[:1], host, parts.path, "", ""))
    )


def download(
    http: httpx.Client,
    url: str,
    scratch: Path,
    desk: Desk,
    known: Validators | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Bring `url` to `scratch`, going on from what is already there; with `known`, only if it is another
    version.

    Raises: DataError if the server says the file is not there or not for us; NetworkError if it does not
    answer.
    """
    return patiently(
        lambda: _attempt(http, url, scratch, desk, known, headers or {}),
        desk,
        shown(url),
        lambda: _size(scratch),
    )


def _attempt(
    http: httpx.Client,
    url: str,
    scratch: Path,
    desk: Desk,
    known: Validators | None,
    headers: Mapping[str, str],
) -> Answer:
    have, version = _size(scratch), _load_version(scratch)
    asked = dict(headers)
    if have and version.for_range:
        asked |= {"Range": f"bytes={have}-", "If-Range": version.for_range}
    elif known is not None:
        asked |= known.conditions
    try:
        with http.stream("GET", url, headers=asked) as response:
            return _receive(response, url, scratch, desk, have if "Range" in asked else 0)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        raise AgainError(f"no connection ({error})", unreachable=True) from error
    except httpx.TransportError as error:
        raise AgainError(f"the connection was cut ({str(error) or type(error).__name__})") from error
    except (httpx.InvalidURL, httpx.TooManyRedirects) as error:
        raise DataError(
            f"{shown(url)} is not an address that leads to a file: {error}.", hint="Check it."
        ) from error


def _receive(response: httpx.Response, url: str, scratch: Path, desk: Desk, have: int) -> Answer:
    validators = Validators(response.headers.get("etag", ""), response.headers.get("last-modified", ""))
    if response.status_code == 304:
        return Answer(False, validators, response.headers)
    _refuse(response, url, scratch)
    start = have if response.status_code == 206 else 0
    total = _expected_bytes(response, start)
    if start == 0:
        if have:
            desk.note(f"{shown(url)} changed while it was being downloaded; begun again.")
        _save_version(scratch, validators)
    with scratch.open("r+b" if start else "wb") as file:
        file.seek(start)
        for chunk in response.iter_raw():  # as they come: a chunk held back would be lost in a cut
            file.write(chunk)
            desk.progress(file.tell(), total)
        arrived = file.tell()
    if total is not None and arrived != total:
        raise AgainError(f"the connection was cut after {arrived} of {total} bytes")
    _version_file(scratch).unlink(missing_ok=True)
    return Answer(True, validators, response.headers)


def _refuse(response: httpx.Response, url: str, scratch: Path) -> None:
    """Raises for every status that brings no bytes."""
    status = response.status_code
    if status in (200, 206):
        return
    if status == 416:
        scratch.unlink(missing_ok=True)
        raise AgainError("the server does not have the rest")
    if status in (408, 425, 429) or status >= 500:
        raise AgainError(f"the server answered {status}", retry_after_s(response.headers))
    if status in (401, 403):
        raise DataError(
            f"{shown(url)} is not for us: the server answered {status}.", hint="Check your access."
        )
    raise DataError(f"{shown(url)} is not there: the server answered {status}.", hint="Check the address.")


def _expected_bytes(response: httpx.Response, start: int) -> int | None:
    """The whole file's size, if the server said it. Raises if it sends another part than asked for."""
    if response.status_code != 206:
        length = response.headers.get("content-length", "")
        return int(length) if length.isdigit() else None
    unit, _, rest = response.headers.get("content-range", "").partition(" ")
    first, _, total = rest.partition("-")[0], "", rest.partition("/")[2]
    if unit != "bytes" or first != str(start):
        raise AgainError(f"the server sent another part than asked for ({rest or 'unnamed'})")
    return int(total) if total.isdigit() else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _version_file(scratch: Path) -> Path:
    return scratch.with_suffix(".version")


def _load_version(scratch: Path) -> Validators:
    try:
        found: Any = json.loads(_version_file(scratch).read_text(encoding="utf-8"))
        return Validators(str(found["etag"]), str(found["modified"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Validators()


def _save_version(scratch: Path, validators: Validators) -> None:
    """Whose bytes follow. The old bytes go first, so that they can never be taken for the new version's."""
    scratch.unlink(missing_ok=True)
    text = json.dumps({"etag": validators.etag, "modified": validators.modified})
    _version_file(scratch).write_text(text, encoding="utf-8")
