"""One file from an https address, whole or not at all, and not again while the server says it is the same."""

from pathlib import Path
from typing import Any

import httpx

from tuneline.errors import NetworkError, NotFoundError, ResourceError, SettingError, TunelineError

_TRIES = 3
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)


def download(uri: str, path: Path, state: Any) -> Any:
    """Read `uri` to `path`. state: what the last reading of it gave, if its file is still there.

    Returns the new state (the server's validators), or None if nothing changed and nothing was written.
    Raises: NotFoundError, SettingError (401, 403), NetworkError, ResourceError.
    """
    for tried in range(1, _TRIES + 1):
        try:
            return _once(uri, path, state)
        except NetworkError:
            if tried == _TRIES:
                raise
    raise AssertionError("unreachable")


def _once(uri: str, path: Path, state: Any) -> Any:
    validators = state if isinstance(state, dict) else {}
    headers = {
        name: validators[key]
        for name, key in (("If-None-Match", "etag"), ("If-Modified-Since", "last-modified"))
        if validators.get(key)
    }
    try:
        with (
            httpx.Client(follow_redirects=True, timeout=_TIMEOUT) as client,
            client.stream("GET", uri, headers=headers) as answer,
        ):
            if answer.status_code == httpx.codes.NOT_MODIFIED and state is not None:
                return None
            _refuse(uri, answer)
            with path.open("wb") as file:
                for block in answer.iter_bytes():
                    file.write(block)
            _check_length(uri, answer)
            return {key: answer.headers[key] for key in ("etag", "last-modified") if key in answer.headers}
    except httpx.HTTPError as error:
        raise NetworkError(
            f"{uri} could not be read: {error or type(error).__name__}.",
            hint="Check the address and the network.",
        ) from error
    except OSError as error:
        raise ResourceError(
            f"{path} could not be written: {error.strerror}.", hint="Free some space."
        ) from error


def _refuse(uri: str, answer: httpx.Response) -> None:
    if answer.is_success:
        return
    code = answer.status_code
    error: TunelineError
    if code in (404, 410):
        error = NotFoundError(f"{uri} is not there ({code}).", hint="Check the address.")
    elif code in (401, 403):
        error = SettingError(
            f"{uri} may not be read ({code}).", hint="A ~/.netrc is read, if the server takes that."
        )
    else:
        error = NetworkError(f"{uri} answered {code}.", hint="Try again later.")
    raise error


def _check_length(uri: str, answer: httpx.Response) -> None:
    """httpx sees a body that is cut off; a server that says another length than it sends is caught here."""
    said = answer.headers.get("content-length")
    if said and said.isdigit() and answer.num_bytes_downloaded != int(said):
        raise NetworkError(f"{uri} gave {answer.num_bytes_downloaded} of {said} bytes.", hint="Try again.")
