"""The router with all of it on, an nginx alone as the floor, and LiteLLM's proxy as the peer, in one run.

    TUNELINE_BENCH_LITELLM=/path/to/env/bin/litellm python bench/traffic.py [--seconds 20]

On: weights 95/5 over two revisions, sticky keys, a shadow that gets a copy of every request, places and a
queue, request lines with both bodies. Everybody answers the same OpenAI chat request, 0.5 KB, with the same
0.8 KB from one nginx. Servers run on one core, the load on the other; copies to the shadow cost that core.
At 500 requests/s a request's time counts from when it was due, so that waiting behind others counts as well.
The peer needs an environment of its own (`pip install 'litellm[proxy]'`); without it there is no ratio.
"""

import argparse
import contextlib
import json
import os
import platform
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from router import Client, free_port, nginx, pin, quantiles

from tuneline.serve import traffic as traffic_file
from tuneline.serve.holder import bind
from tuneline.serve.traffic import ACK_FILE, TRAFFIC_FILE, Bodies, Limits, Revision, Shadow, Traffic

VARIABLE = "TUNELINE_BENCH_LITELLM"
RATE = 500
BODY = json.dumps({"model": "bench", "messages": [{"role": "user", "content": "word " * 90}]})
KEY = f"sk-{secrets.token_hex(16)}"
"""The peer does not start without a key; it is made for this run."""
BOUND_MS, BOUND_RATIO = 1.0, 25.0
LUA = """
wrk.method = "POST"; wrk.body = {body!r}
wrk.headers["Content-Type"] = "application/json"; wrk.headers["Authorization"] = "Bearer {key}"
wrk.headers["x-user-id"] = "ann"
"""
PEER = """
model_list:
  - model_name: bench
    litellm_params: {{model: openai/bench, api_base: "http://127.0.0.1:{port}/v1", api_key: none}}
litellm_settings: {{telemetry: false, num_retries: 0}}
"""


def main() -> None:
    """Measure and print; exit with 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement at 500 requests/s")
    options = parser.parse_args()
    for need in ("nginx", "wrk"):
        if shutil.which(need) is None:
            sys.exit(f"{need} is not installed: apt-get install {need}")
    with tempfile.TemporaryDirectory(prefix="tuneline-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        print(f"{os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.2f}")
        with nginx(folder) as ports, router(folder, ports) as port:
            pin(os.getpid(), 1)
            print(f"| {RATE} requests/s | p50 | p99 | worst |\n|---|---|---|---|")
            paced("nginx alone", ports[0], options.seconds)
            good = paced("router, all of it on", port, options.seconds) < BOUND_MS
            floor, ours = wrk(folder, "nginx alone", ports[0]), wrk(folder, "router, all of it on", port)
            told(folder, port)
            with peer(folder, ports[0]) as theirs:
                if theirs:
                    paced("LiteLLM's proxy, 20 requests/s", theirs, options.seconds, 20)
                    rate = wrk(folder, "LiteLLM's proxy", theirs)
                    print(f"router / LiteLLM: {ours / rate:.1f}; nginx / router: {floor / ours:.1f}")
                    good = good and ours / rate >= BOUND_RATIO
    sys.exit(0 if good else 1)


def request(number: int) -> bytes:
    """A chat request of one of 100 users."""
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {KEY}\r\n"
        f"x-user-id: u{number % 100}\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n"
        f"\r\n{BODY}"
    ).encode()


def paced(name: str, port: int, seconds: float, rate: int = RATE) -> float:
    """Print times of requests that come at a fixed rate over eight connections; the median, ms."""
    clients = [Client(port) for _ in range(8)]
    times: list[float] = []
    begun = time.perf_counter() + 0.1
    for number in range(int(seconds * rate)):
        due = begun + number / rate
        while (early := due - time.perf_counter()) > 0:
            time.sleep(early if early > 0.0005 else 0)
        clients[number % 8].ask(request(number))
        if number >= rate:  # the first second warms up
            times.append((time.perf_counter() - due) * 1000)
    for each in clients:
        each.close()
    p50, p99 = quantiles(times)
    print(f"| {name} | {p50:.3f} ms | {p99:.3f} ms | {max(times):.1f} ms |", flush=True)
    return p50


def wrk(folder: Path, name: str, port: int) -> float:
    """Print requests a second on eight connections; them."""
    (folder / "post.lua").write_text(LUA.format(body=BODY, key=KEY))
    words = ["-t1", "-c8", "-d8s", "--latency", "-s", str(folder / "post.lua")]
    command = ["wrk", *words, f"http://127.0.0.1:{port}/v1/chat/completions"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {line.split()[0]: line.split()[1] for line in text.splitlines() if len(line.split()) >= 2}
    wrong = next(
        (line.strip() for line in text.splitlines() if "Non-2xx" in line or "Socket" in line), "none"
    )
    rate = float(found["Requests/sec:"])
    times = f"median {found['50%']}, p99 {found['99%']}"
    print(f"{name}, 8 connections: {rate:.0f} requests/s, {times}; errors: {wrong}", flush=True)
    return rate


def told(folder: Path, port: int) -> None:
    """Print what the router wrote of all that: lines, copies, dropped copies."""
    time.sleep(2.5)
    lines: Counter[str] = Counter()
    for path in (folder / "segments").glob("*.jsonl"):
        for text in path.open():
            line = json.loads(text)
            kind = f"copies, agrees {line['agrees']}" if "shadow_of" in line else f"of {line['revision']}"
            lines[kind + (" with bodies" if "response" in line else "")] += 1
    print("Request lines:", ", ".join(f"{count} {kind}" for kind, count in sorted(lines.items())))
    client = subprocess.run(
        ["curl", "-s", f"http://127.0.0.1:{port}/router/metrics"], capture_output=True, text=True, check=True
    )
    print(
        "\n".join(row for row in client.stdout.splitlines() if "dropped" in row and not row.startswith("#"))
    )


@contextlib.contextmanager
def router(folder: Path, ports: tuple[int, int]) -> Iterator[int]:
    """The router with all of it on, on core 0."""
    listening = bind("127.0.0.1", 0)
    number = listening.fileno()
    command = [sys.executable, "-m", "tuneline.serve.router", "--dir", str(folder), "--fd", str(number)]
    child = subprocess.Popen(command, pass_fds=[number])
    pin(child.pid, 0)
    listed = tuple(
        Revision(id, f"bench@1.0.{n}", "127.0.0.1", ports[n % 2], weight)
        for n, (id, weight) in enumerate((("stable", 95.0), ("canary", 5.0), ("shadow", 0.0)))
    )
    limits = Limits(max_concurrent=64, max_queue=256)
    on = Traffic("bench", 1, listed, "seed", limits, shadow=Shadow("shadow", 1.0, 64), bodies=Bodies())
    try:
        traffic_file.replace_json(folder / TRAFFIC_FILE, on.to_json())
        while traffic_file.read_json(folder / ACK_FILE).get("generation") != 1:
            time.sleep(0.01)
        yield listening.getsockname()[1]
    finally:
        child.terminate()
        child.wait()
        listening.close()


@contextlib.contextmanager
def peer(folder: Path, upstream: int) -> Iterator[int]:
    """LiteLLM's proxy in front of the same nginx, one worker on core 0; 0 if it is not there."""
    program = os.environ.get(VARIABLE, "")
    if not Path(program).is_file():
        print(f"No peer: {VARIABLE} is {program!r}; it wants the path of `litellm` in its environment.")
        yield 0
        return
    port = free_port()
    (folder / "peer.yaml").write_text(PEER.format(port=upstream))
    command = [program, "--config", str(folder / "peer.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LITELLM_MASTER_KEY": KEY}
    environment["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    log = (folder / "peer.log").open("wb")
    child = subprocess.Popen(
        [*command, "--num_workers", "1"], stdout=log, stderr=log, env=environment, start_new_session=True
    )
    pin(child.pid, 0)
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and child.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                Client(port).ask(request(0))
                break
            time.sleep(0.5)
        else:
            sys.exit(f"LiteLLM's proxy did not answer: {(folder / 'peer.log').read_text()[-2000:]}")
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        child.wait()
        log.close()


if __name__ == "__main__":
    main()
