"""The router in front of an nginx that answers from files: what it adds, and switches under load.

    python bench/router.py [--requests 2000] [--switches 20]

One keep-alive connection each to nginx and to the router, asked in turn, so that what else the machine does
hits both alike; a request carries a body of the size it gets back. `streamed` is text/event-stream in chunks,
timed to its end. The router counts, logs and gives request ids as it always does. Router and nginx run on one
core, the load on the other. Needs nginx (`apt-get install nginx`); uses wrk too, where it is installed.
`bench/traffic.py` has all of the router switched on, and a peer.
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tuneline.serve import traffic as traffic_file
from tuneline.serve.holder import bind
from tuneline.serve.traffic import ACK_FILE, TRAFFIC_FILE, Revision, Traffic

SIZES = {"1 KB": 1024, "32 KB": 32 * 1024}
CHAT = json.dumps(
    {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "bench",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "word " * 100}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 100, "total_tokens": 200},
    }
)  # fmt: skip
CONFIG = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; keepalive_requests 100000000; client_body_buffer_size 64k;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  types {{ text/event-stream sse; application/json json; }}
  default_type application/json;
  server {{
    listen 127.0.0.1:{one}; listen 127.0.0.1:{two}; root {folder}/files; error_page 405 =200 $uri;
    location ~ [.]sse$ {{ ssi on; ssi_types text/event-stream; error_page 405 =200 $uri; }}
  }}
}}
"""


def main() -> None:
    """Measure and print a table; exit with 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=2000, help="a cell of the table")
    parser.add_argument("--load", type=int, default=20_000, help="requests under switches")
    parser.add_argument("--switches", type=int, default=20)
    options = parser.parse_args()
    if shutil.which("nginx") is None:
        sys.exit("nginx is not installed: apt-get install nginx")
    with tempfile.TemporaryDirectory(prefix="tuneline-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with nginx(folder) as ports, router(folder, ports[0]) as port:
            pin(os.getpid(), 1)
            good = table(ports[0], port, options.requests)
            rates(ports[0], port)
            good = switches(folder, ports, port, options.load, options.switches) and good
    sys.exit(0 if good else 1)


def table(nginx_port: int, port: int, count: int) -> bool:
    """Print what the router adds to each kind of request. Whether all medians are under a millisecond."""
    print("| body | answer | nginx p50 | p99 | router p50 | p99 | added p50 | added p99 |")
    print("|---|---|---|---|---|---|---|---|")
    good = True
    for kind in ("json", "sse"):
        for size_name, size in SIZES.items():
            sides = [Client(nginx_port), Client(port)]
            request = post(f"/{size}.{kind}", size)
            times: list[list[float]] = [[], []]
            for number in range(count + 100):
                for side in (0, 1) if number % 2 else (1, 0):
                    begun = time.perf_counter()
                    length = sides[side].ask(request)
                    spent = (time.perf_counter() - begun) * 1000
                    assert length == size, length
                    if number >= 100:
                        times[side].append(spent)
                time.sleep(0.0005)
            (p50, p99), (with50, with99) = (quantiles(each) for each in times)
            answer = "streamed" if kind == "sse" else "whole"
            cells = (p50, p99, with50, with99, with50 - p50, with99 - p99)
            print(
                f"| {size_name} | {answer} | " + " | ".join(f"{each:.3f} ms" for each in cells) + " |",
                flush=True,
            )
            good = good and with50 - p50 < 1.0
            for each in sides:
                each.close()
    return good


def rates(nginx_port: int, port: int) -> None:
    """Print requests a second, as fast as wrk can on 8 connections."""
    if shutil.which("wrk") is None:
        print("wrk is not installed: no rates.")
        return
    for name, each in (("nginx", nginx_port), ("router", port)):
        command = ["wrk", "-t1", "-c8", "-d3s", "--latency", f"http://127.0.0.1:{each}/1024.json"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = {line.split()[0]: line.split()[1] for line in text.splitlines() if len(line.split()) >= 2}
        rate, p50, p99 = found["Requests/sec:"], found["50%"], found["99%"]
        print(f"{name}, 8 connections: {rate} requests/s, median {p50}, p99 {p99}")


def switches(folder: Path, ports: tuple[int, int], port: int, wanted: int, count: int) -> bool:
    """Print how many of `wanted` requests failed while traffic moved `count` times. Whether none did."""
    failed: list[str] = []
    done = [0] * 4
    stop = threading.Event()

    def load(index: int) -> None:
        kind = ("json", "sse")[index % 2]
        request = post(f"/1024.{kind}", 1024)
        client = Client(port)
        while not stop.is_set():
            try:
                if client.ask(request) != 1024:
                    failed.append("short")
            except (OSError, ValueError) as error:
                failed.append(repr(error))
                client = Client(port)
            done[index] += 1

    threads = [threading.Thread(target=load, args=(index,)) for index in range(4)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    slowest = 0.0
    for number in range(count):
        while sum(done) < wanted * (number + 1) / (count + 1):
            time.sleep(0.001)
        moved = time.perf_counter()
        route(folder, number + 2, ports[(number + 1) % 2])
        slowest = max(slowest, time.perf_counter() - moved)
    while sum(done) < wanted:
        time.sleep(0.001)
    stop.set()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begun
    print(
        f"{sum(done)} requests over {count} switches: {len(failed)} failed; "
        f"{sum(done) / seconds:.0f} requests/s; slowest switch acknowledged after {slowest * 1000:.0f} ms"
    )
    return not failed


class Client:
    """One keep-alive connection; as little between the clock and the socket as Python allows."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, request: bytes) -> int:
        """The length of the answer's body. Raises: OSError, ValueError."""
        self._socket.sendall(request)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, body = data.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise ValueError(head[:60])
        lower = head.lower()
        if b"content-length: " in lower:
            length = int(lower.partition(b"content-length: ")[2].split(b"\r\n")[0])
            while len(body) < length:
                body += self._receive()
            return len(body)
        while not body.endswith(b"0\r\n\r\n"):
            body += self._receive()
        return unchunked(body)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _receive(self) -> bytes:
        data = self._socket.recv(1 << 17)
        if not data:
            raise ValueError("the connection was closed")
        return data


def unchunked(body: bytes) -> int:
    """The length of a body that came in chunks."""
    length = at = 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end], 16)
        if size == 0:
            return length
        length, at = length + size, end + size + 4


def post(path: str, size: int) -> bytes:
    """A request with a body of `size` bytes."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nAccept: */*\r\nx-user-id: u{size}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    ).encode() + b"x" * size


def quantiles(times: list[float]) -> tuple[float, float]:
    """Median and 99th percentile."""
    return statistics.median(times), statistics.quantiles(times, n=100)[98]


@contextlib.contextmanager
def nginx(folder: Path) -> Iterator[tuple[int, int]]:
    """nginx at two ports, on core 0."""
    files = folder / "files"
    files.mkdir()
    for size in SIZES.values():
        (files / f"{size}.json").write_bytes(b"x" * size)
        (files / f"{size}.sse").write_bytes((b"data: " + b"x" * 56 + b"\n\n") * (size // 64))
    (files / "v1/chat").mkdir(parents=True)
    (files / "v1/chat/completions").write_text(CHAT)
    ports = (free_port(), free_port())
    (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, one=ports[0], two=ports[1]))
    child = subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL)
    pin(child.pid, 0)
    try:
        for port in ports:
            wait_for(port)
        yield ports
    finally:
        child.terminate()
        child.wait()


@contextlib.contextmanager
def router(folder: Path, upstream: int) -> Iterator[int]:
    """The router, on core 0."""
    listening = bind("127.0.0.1", 0)
    number = listening.fileno()
    command = [sys.executable, "-m", "tuneline.serve.router", "--dir", str(folder), "--fd", str(number)]
    child = subprocess.Popen(command, pass_fds=[number])
    pin(child.pid, 0)
    try:
        route(folder, 1, upstream)
        yield listening.getsockname()[1]
    finally:
        child.terminate()
        child.wait()
        listening.close()


def route(folder: Path, generation: int, port: int) -> None:
    """Send all requests to `port`; returns when the router does."""
    revision = Revision(f"r{port}", f"bench@1.0.{port}", "127.0.0.1", port, 100.0)
    traffic_file.replace_json(
        folder / TRAFFIC_FILE, Traffic("bench", generation, (revision,), "seed").to_json()
    )
    while traffic_file.read_json(folder / ACK_FILE).get("generation") != generation:
        time.sleep(0.001)


def pin(pid: int, core: int) -> None:
    """Keep a process, and what it starts, on one core, where there are two."""
    cores = sorted(os.sched_getaffinity(0)) if pid != os.getpid() else list(range(os.cpu_count() or 1))
    if (os.cpu_count() or 1) > 1 and core < len(cores):
        os.sched_setaffinity(pid, {cores[core]})


def free_port() -> int:
    """A port nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    """Until somebody listens."""
    for _ in range(500):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.01)
    sys.exit("nginx did not start.")


if __name__ == "__main__":
    main()
