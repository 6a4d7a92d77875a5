"""A proxy before a real server on this machine: the next reads of objects go wrong as told."""

import contextlib
import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Proxy:
    """`faults` of the next reads of an object: `500`, `429:SECONDS`, `cut:BYTES`; "" is none."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.url, self.faults, self.reads = "", [], []


@contextlib.contextmanager
def proxied(upstream: str) -> Iterator[Proxy]:
    """A running proxy; it ends with the block."""
    listening = _Listening(("127.0.0.1", 0), _Handler)
    proxy = listening.proxy = Proxy(upstream)  # type: ignore[attr-defined]
    proxy.url = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


class _Listening(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _forward(self) -> None:
        proxy: Proxy = self.server.proxy  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = self.headers.get("Range") or self.headers.get("x-ms-range") or ""
        fault = ""
        if self.command == "GET" and asked:
            proxy.reads.append(asked)
            fault = proxy.faults.pop(0) if proxy.faults else ""
        kind, _, number = fault.partition(":")
        if kind.isdigit():
            headers = [("Retry-After", number)] if number else []
            return self._answer(int(kind), headers, b"no", None)
        onward = http.client.HTTPConnection(proxy.upstream, timeout=30)
        try:
            onward.request(self.command, self.path, body, dict(self.headers.items()))
            found = onward.getresponse()
            content = found.read()
        finally:
            onward.close()
        self._answer(found.status, found.getheaders(), content, int(number) if kind == "cut" else None)
        return None

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _forward

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, cut: int | None) -> None:
        self.send_response_only(status)
        kept = [(n, v) for n, v in headers if n.lower() not in ("transfer-encoding", "connection")]
        for name, value in kept:
            self.send_header(name, value)
        if status != 204 and not any(name.lower() == "content-length" for name, _ in kept):
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
