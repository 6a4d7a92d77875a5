"""The way to an engine that is a server of its own, as llama.cpp's and vLLM's are: HTTP on a Unix socket that
only this user can reach.
"""

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from tuneline.errors import ModelError, TransientError, TunelineError
from tuneline.serve.event_stream import lines_async


@dataclass
class EngineServer:
    """Where it listens, and how it is asked. Build it with `at`."""

    name: str
    """As errors call it."""
    http: httpx.AsyncClient
    folder: Path = field(repr=False)

    @classmethod
    def at(cls, name: str, *, keep_idle_s: float) -> Self:
        """A socket in a new folder, where nobody listens yet. An idle connection is kept for so long."""
        # not at home: a socket's path has at most 107 bytes
        folder = Path(tempfile.mkdtemp(prefix="tuneline-"))
        kept = None if keep_idle_s else 0
        limits = httpx.Limits(
            max_connections=None, max_keepalive_connections=kept, keepalive_expiry=keep_idle_s
        )
        transport = httpx.AsyncHTTPTransport(uds=str(folder / "engine.sock"), limits=limits)
        as_long_as_it_takes = httpx.Timeout(None)
        http = httpx.AsyncClient(transport=transport, base_url="http://engine", timeout=as_long_as_it_takes)
        return cls(name, http, folder)

    @property
    def socket(self) -> str:
        """Its path."""
        return str(self.folder / "engine.sock")

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Its whole answer. Raises: ModelError if it refuses; TransientError if it fails or is gone."""
        try:
            answer = await self.http.post(path, json=body)
        except httpx.TransportError as error:
            raise self.gone() from error
        if answer.status_code != 200:
            raise self._refusal(answer)
        found: dict[str, Any] = answer.json()
        return found

    @contextlib.asynccontextmanager
    async def stream(self, path: str, body: dict[str, Any]) -> AsyncIterator[AsyncIterator[str]]:
        """The lines of its answer as they come; leaving the block ends the request. Raises: as `post`."""
        try:
            async with self.http.stream("POST", path, json=body) as answer:
                if answer.status_code != 200:
                    await answer.aread()
                    raise self._refusal(answer)
                yield lines_async(answer.aiter_bytes())
        except httpx.TransportError as error:
            raise self.gone() from error

    async def close(self) -> None:
        """End all connections and remove the socket. Whoever started the server ends it."""
        await self.http.aclose()
        shutil.rmtree(self.folder, ignore_errors=True)

    def gone(self) -> TransientError:
        """What to raise if it does not answer to the end."""
        return TransientError(f"{self.name} does not answer.", hint="It is being started anew; ask again.")

    def fault(self, status: int, message: str) -> TunelineError:
        """What to raise if it answered with an error."""
        if status < 500:
            return ModelError(f"{self.name} refused the request: {message}")
        return TransientError(f"{self.name} failed: {message}", hint="Ask again.")

    def _refusal(self, answer: httpx.Response) -> TunelineError:
        try:
            message = str(answer.json()["error"]["message"])
        except (ValueError, KeyError, TypeError):
            message = answer.text[:200]
        return self.fault(answer.status_code, message)
