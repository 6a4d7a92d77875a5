"""The client's requests as bytes, with the ids of one server replaced by where they were first answered.

`python -m tests.kfp.api.recording URL OUT KFP_PYTHON` writes a recording: a proxy in front of the server at
URL passes on what `flows.every_request` sends, and keeps it. In a kept request `{{3.runs.0.run_id}}` is what
answer 3 had there, so a replay against another server sends the same bytes but for ids and page tokens.
"""

import json
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TOKEN = re.compile(r"\{\{(\d+)\.([^}]+)\}\}")


def shape(value: Any) -> Any:
    """A JSON value's keys and kinds."""
    if isinstance(value, dict):
        return {key: shape(part) for key, part in sorted(value.items())}
    if isinstance(value, list):
        return [shape(part) for part in value]
    return type(value).__name__


def texts(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Paths and texts of ids and page tokens."""
    if isinstance(value, dict):
        found = []
        for key, part in value.items():
            named = key.endswith(("_id", "_token")) and isinstance(part, str)
            found += [(f"{path}{key}", part)] if named else texts(part, f"{path}{key}.")
        return found
    if isinstance(value, list):
        return [each for place, part in enumerate(value) for each in texts(part, f"{path}{place}.")]
    return []


def at(value: Any, path: str) -> str:
    """What stands at a path of `texts`."""
    for key in path.split("."):
        value = value[int(key)] if isinstance(value, list) else value[key]
    return str(value)


def filled(request: str, answers: list[Any]) -> bytes:
    """A kept request with the ids of `answers`."""
    return TOKEN.sub(lambda found: at(answers[int(found[1])], found[2]), request).encode("latin-1")


def sent(address: tuple[str, int], request: bytes) -> tuple[int, Any]:
    """Status and JSON of one request, sent as it is."""
    with socket.create_connection(address) as connection:
        connection.sendall(request)
        reader = connection.makefile("rb")
        status = int(reader.readline().split()[1])
        headers = {}
        while (line := reader.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        body = reader.read(int(headers["content-length"]))
    return status, json.loads(body)


class Proxy:
    """Passes requests on, one at a time, and keeps them."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.kept: list[dict[str, Any]] = []
        self.answers: list[Any] = []
        self.known: dict[str, str] = {}
        self.listening = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self.listening.accept()
            threading.Thread(target=self._connection, args=(connection,), daemon=True).start()

    def _connection(self, connection: socket.socket) -> None:
        reader = connection.makefile("rb")
        while first := reader.readline():
            head = [first]
            while (line := reader.readline()) != b"\r\n":
                head.append(line)
            sizes = [line.split(b":")[1] for line in head if line.lower().startswith(b"content-length")]
            request = b"".join(head) + b"\r\n" + reader.read(int(sizes[0]) if sizes else 0)
            status, answer = sent(self.address, request)
            self._keep(request.decode("latin-1"), status, answer)
            body = json.dumps(answer).encode()
            headers = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(f"HTTP/1.1 {status} X\r\n{headers}".encode() + body)

    def _keep(self, request: str, status: int, answer: Any) -> None:
        for text, token in sorted(self.known.items(), key=lambda item: -len(item[0])):
            request = request.replace(text, token)
        state = answer.get("state") if request.startswith("GET /apis/v2beta1/runs/") else None
        entry = {"request": request, "status": status, "state": state, "shape": shape(answer)}
        if (
            state and self.kept and self.kept[-1]["request"] == request
        ):  # the client polls: its last word stays
            self.kept[-1], self.answers[-1] = entry, answer
        else:
            self.kept.append(entry)
            self.answers.append(answer)
        for path, text in texts(answer):
            self.known.setdefault(text, f"{{{{{len(self.kept) - 1}.{path}}}}}")


def main() -> None:
    host, _, port = sys.argv[1].removeprefix("http://").partition(":")
    proxy = Proxy((host, int(port)))
    url = f"http://127.0.0.1:{proxy.listening.getsockname()[1]}"
    ask = json.dumps(["every_request", url])
    command = [sys.argv[3], str(HERE / "flows.py")]
    done = subprocess.run(command, input=ask + "\n", text=True, capture_output=True, check=True)
    answer = json.loads(done.stdout)
    if "error" in answer:
        sys.exit(answer["error"])
    Path(sys.argv[2]).write_text(json.dumps(proxy.kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
