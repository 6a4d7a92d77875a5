"""HTTP to another engine's API: one request, and its answer or an error of ours that names the engine.

Sync, one connection pool an engine. Tokens go into the Authorization header alone; no message, log or URL
here holds one. Redirects are not followed: a login page is told as what it is.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from tuneline.errors import (
    ConflictError,
    ForbiddenError,
    NetworkError,
    NotFoundError,
    SpecError,
    TunelineError,
    UnauthenticatedError,
)

TIMEOUT_S = 30.0
_SAID = 500
"""Characters of an engine's own message that are quoted."""


class Engine:
    """One engine's API. `token`: asked for before every request, so that it may be renewed."""

    def __init__(self, name: str, url: str, token: Callable[[], str], variable: str) -> None:
        """name: for messages, `Kubeflow`. variable: of the environment that holds the token, for hints."""
        self.name = name
        self.url = url
        self._token = token
        self._variable = variable
        host = httpx.URL(url).host
        # trust_env=False: a proxy variable must not send a loopback call elsewhere
        here = host in ("127.0.0.1", "localhost", "::1")
        timeout = httpx.Timeout(TIMEOUT_S, connect=5.0)
        self._http = httpx.Client(base_url=url, timeout=timeout, trust_env=not here, follow_redirects=False)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def json(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        *,
        anonymous: bool = False,
    ) -> dict[str, Any]:
        """The object that a route answers; `{}` for an empty answer. anonymous: without a token.

        Raises: NetworkError, UnauthenticatedError, ForbiddenError, NotFoundError, ConflictError, SpecError.
        """
        answer = self._asked(method, path, body, query, anonymous)
        if not answer.content:
            return {}
        try:
            found = answer.json()
        except ValueError as error:
            raise self._foreign(method, path, answer) from error
        if not isinstance(found, dict):
            raise self._foreign(method, path, answer)
        return found

    def text(self, path: str, query: Mapping[str, Any] | None = None, accept: str = "text/plain") -> str:
        """The text that a route answers. Raises: as `json`."""
        return self._asked("GET", path, None, query, False, accept).text

    def _asked(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        query: Mapping[str, Any] | None,
        anonymous: bool,
        accept: str = "application/json",
    ) -> httpx.Response:
        token = "" if anonymous else self._token()
        headers = {"Accept": accept} | ({"Authorization": f"Bearer {token}"} if token else {})
        content = None
        if body is not None:
            content, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        try:
            answer = self._http.request(
                method, path, params=dict(query or {}), content=content, headers=headers
            )
        except httpx.TimeoutException as error:
            raise NetworkError(
                f"{self.name} at {self.url} did not answer {method} {path} in time.", hint="Is it well?"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NetworkError(
                f"{self.name} at {self.url} cannot be reached: {type(error).__name__}.",
                hint="Check --url, and that this machine may connect there.",
            ) from error
        if not answer.is_success:
            raise self._error(method, path, answer)
        return answer

    def _error(self, method: str, path: str, answer: httpx.Response) -> TunelineError:
        status, said = answer.status_code, _message(answer)
        where = f"{self.name} at {self.url} answered {status} to {method} {path}"
        message = f"{where}: {said}" if said else f"{where}."
        match status:
            case 401:
                return UnauthenticatedError(message, hint=f"Set {self._variable} to a token that it knows.")
            case 403:
                hint = f"Whoever {self._variable} names must be allowed to do that there."
                return ForbiddenError(message, hint=hint)
            case 404 if said:  # else it is not the API that says so
                return NotFoundError(message, hint="It was deleted there, or --url names another service.")
            case 409:
                return ConflictError(message)
            case 400 | 422:
                return SpecError(message)
            case _ if status >= 500 or status == 429:
                return NetworkError(message, hint="It may answer in a moment.")
        return self._foreign(method, path, answer)

    def _foreign(self, method: str, path: str, answer: httpx.Response) -> TunelineError:
        return SpecError(
            f"What answers at {self.url} is no {self.name}: {method} {path} gave {answer.status_code}.",
            hint="Check --url: the address of its API, without a path. A login page may stand before it.",
        )


def _message(answer: httpx.Response) -> str:
    """What an engine says of an error: Kubeflow's `message`, Airflow's `detail`."""
    try:
        body = answer.json()
    except ValueError:
        return ""
    said = (body.get("message") or body.get("detail")) if isinstance(body, dict) else ""
    if isinstance(said, list):  # FastAPI's own: what is wrong with which field
        said = "; ".join(f"{'.'.join(map(str, each.get('loc', ())))}: {each.get('msg', '')}" for each in said)
    return " ".join(str(said or "").split())[:_SAID]
