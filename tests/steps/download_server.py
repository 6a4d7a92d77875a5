"""A real HTTP server on this machine that serves files as told: with validators, ranges, cuts and errors."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Served:
    """One file, and what goes wrong with its next answers: `cut:BYTES`, `429:SECONDS`, `500`."""

    body: bytes
    etag: str = ""
    ranges: bool = True
    kind: str = "application/octet-stream"
    faults: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    authorization: str = ""
    """The header without which the answer is 401."""


@dataclass
class FileServer:
    """Files by path; every request is remembered as (path, headers)."""

    url: str
    files: dict[str, Served] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    calls: dict[str, Callable[[dict[str, Any]], Served]] = field(default_factory=dict)
    """What answers a POST of a JSON object, by path."""

    def put(self, path: str, body: bytes, **more: object) -> str:
        """Serve `body` at `path`, with an ETag of its own unless `etag` is given. Returns its address."""
        etag = str(more.pop("etag", f'"{hashlib.sha256(body).hexdigest()[:16]}"'))
        self.files[path] = Served(body, etag, **more)  # type: ignore[arg-type]
        return self.url + path

    def asked(self, path: str) -> list[dict[str, str]]:
        """The headers of the requests for a path."""
        return [headers for found, headers in self.requests if found == path]


@contextlib.contextmanager
def serving() -> Iterator[FileServer]:
    """A running server; it ends with the block."""
    listening = _Listening(("127.0.0.1", 0), _Handler)
    server = FileServer(f"http://127.0.0.1:{listening.server_port}")
    listening.told = server  # type: ignore[attr-defined]
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


class _Listening(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news: the tests make it do so."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        told: FileServer = self.server.told  # type: ignore[attr-defined]
        told.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        self._serve(told.files.get(self.path))

    def do_POST(self) -> None:
        told: FileServer = self.server.told  # type: ignore[attr-defined]
        told.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._serve(told.calls[self.path](body) if self.path in told.calls else None)

    def _serve(self, served: Served | None) -> None:
        if served is None:
            return self._answer(404, b"not here", {})
        if served.authorization and self.headers.get("Authorization") != served.authorization:
            return self._answer(401, b"{}", {"Content-Type": "application/json"})
        fault = served.faults.pop(0) if served.faults else ""
        kind, _, number = fault.partition(":")
        if kind.isdigit():
            return self._answer(int(kind), b"no", {"Retry-After": number} if number else {})
        headers = {"ETag": served.etag, "Content-Type": served.kind, **served.headers}
        if served.etag and self.headers.get("If-None-Match") == served.etag:
            return self._answer(304, b"", headers)
        body, status = served.body, served.status
        asked = self.headers.get("Range", "")
        if asked and served.ranges and self.headers.get("If-Range") == served.etag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body, status = body[start:], 206
        self._answer(status, body, headers, cut=int(number) if kind == "cut" else None)
        return None

    def _answer(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body if cut is None else body[:cut])
            self.wfile.flush()
            if cut is not None:
                self.close_connection = True
                self.connection.close()

    def log_message(self, *args: object) -> None:
        """Say nothing."""
