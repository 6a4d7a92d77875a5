"""A server on this machine that speaks as much of GitHub's REST API as issues take, and misbehaves alike.

Pages with Link headers, ETags by content, 304s that cost nothing, both rate limits, pull requests among
issues.
"""

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

NOW = 1_800_000_000
DATE = "Fri, 15 Jan 2027 08:00:00 GMT"


def issue(number: int, **more: Any) -> dict[str, Any]:
    """An issue as GitHub describes it, shortened."""
    return {
        "number": number, "title": f"Title {number}", "body": f"Body {number}\r\nmore", "state": "open",
        "labels": [{"name": "bug"}, {"name": "help wanted"}], "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z", "html_url": f"https://github.com/o/r/issues/{number}",
        "user": {}, **more,
    }  # fmt: skip


@dataclass
class Github:
    """One repository `o/r`, and what its server was asked."""

    url: str
    issues: list[dict[str, Any]] = field(default_factory=list)
    token: str = ""
    """If set, others are refused."""
    remaining: int = 60
    """Requests left until the limit; 304s do not count."""
    faults: list[str] = field(default_factory=list)
    """What goes wrong with the next requests: `500`, `cut`, `html`, `429:SECONDS`, `secondary`, `to:URL`; or
    `ok`."""
    before: Callable[[int], None] = lambda page: None
    """Called before a page is made: issues may change meanwhile."""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def pages(self) -> list[int]:
        """The pages that were asked for, in order."""
        return [int(parse_qs(urlsplit(path).query).get("page", ["1"])[0]) for path, _ in self.asked]


@contextlib.contextmanager
def github() -> Iterator[Github]:
    """A running server; it ends with the block."""
    listening = _Listening(("127.0.0.1", 0), _Handler)
    server = Github(f"http://127.0.0.1:{listening.server_port}")
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
        """A client that goes away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        told: Github = self.server.told  # type: ignore[attr-defined]
        told.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        if told.faults and self._misbehave(told.faults.pop(0)):
            return
        if told.token and self.headers.get("Authorization") != f"Bearer {told.token}":
            return self._say(401, {"message": "Bad credentials"})
        parts = urlsplit(self.path)
        if parts.path != "/repos/o/r/issues":
            return self._say(404, {"message": "Not Found"})
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        page, size = int(query.get("page", 1)), int(query["per_page"])
        told.before(page)
        body = json.dumps(_listed(told.issues, query)[(page - 1) * size : page * size]).encode()
        etag = f'W/"{hashlib.sha256(body).hexdigest()[:20]}"'
        headers = {"ETag": etag}
        if len(_listed(told.issues, query)) > page * size:
            url = f"{told.url}{self.path.split('&page=')[0]}&page={page + 1}"
            headers["Link"] = f'<{url}>; rel="next", <{told.url}/last>; rel="last"'
        if self.headers.get("If-None-Match") == etag:
            return self._say(304, None, headers)
        if told.remaining <= 0:
            said = "API rate limit exceeded for 127.0.0.1."
            return self._say(403, {"message": said}, {"X-RateLimit-Reset": str(NOW + 120)})
        told.remaining -= 1
        self._send(200, body, headers)

    def _misbehave(self, fault: str) -> bool:
        kind, _, number = fault.partition(":")
        if kind == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(b'[{"number": 1')
            self.close_connection = True
            self.connection.close()
        elif kind == "html":
            self._send(200, b"<html>We are having problems", {})
        elif kind == "secondary":
            self._say(403, {"message": "You have exceeded a secondary rate limit."})
        elif kind == "to":
            self._send(302, b"", {"Location": number + self.path})
        elif kind.isdigit():
            self._say(int(kind), {"message": "no"}, {"Retry-After": number} if number else {})
        return kind != "ok"

    def _say(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        self._send(status, b"" if body is None else json.dumps(body).encode(), headers or {})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        told: Github = self.server.told  # type: ignore[attr-defined]
        self.send_response_only(status)
        limits = {
            "Date": DATE,
            "X-RateLimit-Limit": "60",
            "X-RateLimit-Remaining": str(max(0, told.remaining)),
        }
        for name, value in {**limits, **headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def _listed(issues: list[dict[str, Any]], query: dict[str, str]) -> list[dict[str, Any]]:
    state, since = query.get("state", "open"), query.get("since", "")
    labels = {name for name in query.get("labels", "").split(",") if name}
    found = [
        one
        for one in issues
        if state in ("all", one["state"])
        and one["updated_at"] >= since
        and labels <= {label["name"] for label in one["labels"]}
    ]
    assert query["sort"] == "created"
    return sorted(found, key=lambda one: one["number"], reverse=query["direction"] == "desc")
