"""A pipeline's file from a `package_url`: http and https, bounded in size, time and redirects.

The address is kept in the record and shown to everybody, so one with a password in it is refused, and secrets
in its query are masked there.
"""

import time
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx

from tuneline.errors import NetworkError, TooLargeError, UserError
from tuneline.plan.secrets import MASK, is_secret
from tuneline.spec.documents import MAX_BYTES

TIMEOUT_S = 30.0
"""For the whole fetch."""
REDIRECTS = 5


def fetch(url: str, limit: int = MAX_BYTES, timeout_s: float | None = None) -> bytes:
    """What stands at `url`. Raises: UserError, TooLargeError, NetworkError."""
    check_url(url)
    timeout_s = TIMEOUT_S if timeout_s is None else timeout_s
    end = time.monotonic() + timeout_s
    try:
        with httpx.Client(timeout=min(10.0, timeout_s), follow_redirects=False, trust_env=True) as client:
            for _ in range(REDIRECTS + 1):
                with client.stream("GET", url) as response:
                    if response.is_redirect:
                        url = str(response.url.join(response.headers["location"]))
                        check_url(url)
                        continue
                    if response.status_code != httpx.codes.OK:
                        said = f"{response.status_code} {response.reason_phrase}"
                        raise UserError(f"Failed to fetch pipeline spec with url: {_shown(url)}. {said}")
                    return _read(response, url, limit, end)
    except httpx.InvalidURL as error:
        raise UserError(f"The package_url is no address: {error}.") from error
    except httpx.HTTPError as error:
        raise NetworkError(f"Failed to fetch pipeline spec with url: {_shown(url)}: {error}.") from error
    raise UserError(
        f"Failed to fetch pipeline spec with url: {_shown(url)}: more than {REDIRECTS} redirects."
    )


def check_url(url: str) -> None:
    """Raises: UserError if `url` is not one that a server may fetch and show."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UserError(f"The package_url is no address: {error}.") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(
            f"A package_url must begin with http:// or https://, not {parts.scheme or 'nothing'}.",
            hint="Upload the file instead.",
        )
    if parts.username or parts.password:
        raise UserError("A package_url must not hold a user or password.", hint="Upload the file instead.")


def shown_url(url: str) -> str:
    """The address as it is kept and shown: values in its query that are secrets by name are masked."""
    head, mark, query = url.partition("?")
    if not mark:
        return url
    pairs = [(name, MASK if _secret(name) else value) for name, value in parse_qsl(query, True)]
    return f"{head}?{urlencode(pairs, safe='*')}"


def _secret(name: str) -> bool:
    return is_secret(name) or any(word in name.lower() for word in ("signature", "sig", "credential"))


def _read(response: httpx.Response, url: str, limit: int, end: float) -> bytes:
    pieces, size = [], 0
    for piece in response.iter_bytes():
        size += len(piece)
        if size > limit:
            raise TooLargeError(f"What stands at {_shown(url)} is larger than {limit} bytes.")
        if time.monotonic() > end:
            raise NetworkError(f"Failed to fetch pipeline spec with url: {_shown(url)} in time.")
        pieces.append(piece)
    return b"".join(pieces)


def _shown(url: str) -> str:
    """Without the query, which may hold a signature."""
    return url.partition("?")[0]
