"""A router in a pod: `python -m tuneline.serve.pod_router --dir FOLDER --port P --admin-port A ...`.

It starts the holder, which has the socket and the router, in a folder of the pod's own; brings traffic.json
there, from a ConfigMap (looked at every second) or from whoever reconciles the endpoint; and gives request
lines and what the router acknowledged to that one. The newest generation counts, wherever it came from.

    GET  /segments               {"segments": [{"name", "size"}]}
    GET  /segments/NAME?from=N   bytes from N on, at most 4 MB, that end with a whole line
    GET  /ack                    ack.json
    POST /traffic                traffic.json of a newer generation

All of that needs the key in the file `--token`, as header `x-tuneline-token`: without that file everything is
refused. It is told to the admin port alone, which no Service has. SIGTERM: the holder drains, then this ends.
"""

import argparse
import hmac
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tuneline.errors import TunelineError
from tuneline.serve import traffic as traffic_file
from tuneline.serve.traffic import ACK_FILE, TRAFFIC_FILE, Traffic

TOKEN_HEADER = "x-tuneline-token"
LOOK_S = 1.0
MOST_BYTES = 4 * 1024 * 1024
MAX_TRAFFIC_BYTES = 1024 * 1024


class Pod:
    """The folder of the router, and who may ask about it."""

    def __init__(self, folder: Path, source: Path, token: Path) -> None:
        self.folder, self._source, self._token = folder, source, token
        self._lock = threading.Lock()

    def look(self) -> None:
        """Bring what the ConfigMap has, if it is newer."""
        try:
            self.bring(traffic_file.read_json(self._source))
        except (TunelineError, KeyError, TypeError, ValueError, AttributeError):
            return  # not there yet, or half of it: the last one holds

    def bring(self, body: dict[str, Any]) -> bool:
        """Apply traffic if its generation is newer; whether it was. Raises: KeyError and so on if it is
        none; OSError."""
        generation = Traffic.from_json(body).generation
        with self._lock:
            there = traffic_file.read_json(self.folder / TRAFFIC_FILE).get("generation", -1)
            if generation <= there:
                return False
            traffic_file.replace_json(self.folder / TRAFFIC_FILE, body)
        return True

    def knows(self, key: str) -> bool:
        """Whether `key` is the one that was mounted."""
        try:
            kept = self._token.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return False
        return bool(kept) and hmac.compare_digest(kept.encode(), key.encode("utf-8", "replace"))

    def segments(self) -> list[dict[str, Any]]:
        """Name and size of each, in order."""
        found = sorted(path for path in (self.folder / "segments").glob("*.jsonl") if path.stem.isdigit())
        return [{"name": path.name, "size": path.stat().st_size} for path in found if path.is_file()]

    def lines(self, name: str, start: int) -> bytes:
        """Whole lines of a segment from byte `start` on. Raises: FileNotFoundError."""
        if name not in {each["name"] for each in self.segments()}:
            raise FileNotFoundError(name)
        with (self.folder / "segments" / name).open("rb") as file:
            file.seek(start)
            data = file.read(MOST_BYTES)
        return data[: data.rfind(b"\n") + 1]


class Admin(BaseHTTPRequestHandler):
    """What answers at the admin port."""

    pod: Pod
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Segments, lines, ack."""
        if not self._allowed():
            return
        url = urlsplit(self.path)
        if url.path == "/segments":
            self._json(200, {"segments": self.pod.segments()})
        elif url.path == "/ack":
            self._json(200, traffic_file.read_json(self.pod.folder / ACK_FILE))
        elif url.path.startswith("/segments/"):
            try:
                start = int(parse_qs(url.query).get("from", ["0"])[0])
                data = self.pod.lines(url.path.rpartition("/")[2], max(0, start))
            except (FileNotFoundError, ValueError):
                self._json(404, {"error": "There is no such segment."})
                return
            self._answer(200, data, "application/octet-stream")
        else:
            self._json(404, {"error": "There is nothing here."})

    def do_POST(self) -> None:
        """Traffic."""
        if not self._allowed():
            return
        length = int(self.headers.get("content-length") or 0)
        if self.path != "/traffic" or not 0 < length <= MAX_TRAFFIC_BYTES:
            self.close_connection = True
            self._json(404, {"error": "There is nothing here."})
            return
        try:
            applied = self.pod.bring(json.loads(self.rfile.read(length)))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._json(400, {"error": f"That is no traffic: {error}"})
            return
        self._json(200, {"applied": applied})

    def _allowed(self) -> bool:
        if self.pod.knows(self.headers.get(TOKEN_HEADER) or ""):
            return True
        self.close_connection = True
        self._json(401, {"error": f"The header {TOKEN_HEADER} is not the router's key."})
        return False

    def _json(self, status: int, body: Any) -> None:
        self._answer(status, json.dumps(body).encode(), "application/json")

    def _answer(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: it is asked every second."""


def main(arguments: Sequence[str]) -> int:
    """Route until SIGTERM. Returns the holder's exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tuneline.serve.pod_router", description="Route in a pod."
    )
    parser.add_argument("--dir", type=Path, required=True, help="a folder that can be written")
    parser.add_argument("--host", default="0.0.0.0", help="where to listen")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--admin-port", type=int, required=True)
    parser.add_argument("--traffic", type=Path, required=True, help="traffic.json to begin with")
    parser.add_argument("--token", type=Path, required=True, help="file with the key of the admin port")
    parser.add_argument("--drain-s", type=float, default=30.0)
    options = parser.parse_args(arguments)
    options.dir.mkdir(parents=True, exist_ok=True)
    pod = Pod(options.dir, options.traffic, options.token)
    pod.look()
    admin = ThreadingHTTPServer((options.host, options.admin_port), type("Handler", (Admin,), {"pod": pod}))
    admin.daemon_threads = True
    threading.Thread(target=admin.serve_forever, daemon=True).start()
    command = [sys.executable, "-m", "tuneline.serve.holder", "--dir", str(options.dir)]
    command += ["--host", options.host, "--port", str(options.port), "--drain-s", str(options.drain_s)]
    holder = subprocess.Popen(command)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: holder.terminate())
    while True:
        try:
            return holder.wait(LOOK_S)
        except subprocess.TimeoutExpired:
            pod.look()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
