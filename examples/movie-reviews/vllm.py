"""Gemma 3 270M, trained on movie reviews and served by vLLM on this machine: proven, asked, replaced under
load, killed and served again. What it sees, it prints; it ends with 1 when something is not as it should be.

    TUNELINE_VLLM_PYTHON=.venv-vllm/bin/python .venv/bin/python examples/movie-reviews/vllm.py

`make vllm` makes both environments first (vLLM for processors: 3.5 GB). Takes about ten minutes on two cores.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil

PROJECT = Path(__file__).parent
REVIEW = "Review: A dull, endless film that wastes two fine actors.\nSentiment:"
LONG = "Review: A warm, funny and well acted film.\nSentiment: positive\n\nReview:"
SERVER = "vllm.entrypoints.openai.api_server"
TOKENS = 64
PAUSE_S = 0.5
"""Between two questions of the load: without it that takes the processors the second release is made on."""


def main() -> int:
    """Everything, in order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--home", type=Path, help="TUNELINE_HOME; by default a folder that is removed")
    parser.add_argument("--rows", type=int, default=768, help="training rows")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuneline-vllm-") as folder:
        see(Seen(options.home or Path(folder), options.rows))
    return 0


class Seen:
    """One home, and what is asked of it."""

    def __init__(self, home: Path, rows: int) -> None:
        self.home, self.rows = home.absolute(), rows
        self.env = {**os.environ, "TUNELINE_HOME": str(self.home), "TUNELINE_PORT": "0"}

    def cli(self, *words: str) -> str:
        """`tuneline WORDS`: its standard output. Ends the script if it fails."""
        ended = subprocess.run(
            [sys.executable, "-m", "tuneline", *words], env=self.env, stdout=subprocess.PIPE
        )
        if ended.returncode not in (0, 6):  # 6: released, not yet live
            sys.exit(f"tuneline {' '.join(words)} ended with {ended.returncode}\n{ended.stdout.decode()}")
        return ended.stdout.decode()

    def run(self, *overrides: str) -> str:
        """A run that serves by vLLM; the release it made."""
        given = [f"data.limit={self.rows}", "deploy.runtime=vllm", *overrides]
        words = [word for each in given for word in ("-p", each)]
        began = time.monotonic()
        release = str(json.loads(self.cli("run", str(PROJECT), "--json", *words))["release"]["release"])
        say(f"{release}: the run took {time.monotonic() - began:.0f} s")
        proof = json.loads(self.cli("releases", "show", release, "--json"))["proof"]
        names = ("runtime", "runtime_version", "prompts", "token_ids_equal", "decided", "answers_equal")
        for name in (*names, "mean_logprob_diff", "max_logprob_diff"):
            say(f"  {name}: {proof[name]}")
        return release

    def endpoint(self) -> dict[str, Any]:
        """What the endpoint is now."""
        found: dict[str, Any] = json.loads(self.cli("status", "--json"))
        return next(each for each in found["endpoints"] if each["name"] == "movie-reviews")

    def until_live(self, release: str) -> str:
        """Wait until it is live; the endpoint's URL."""
        began = time.monotonic()
        while (shown := self.endpoint())["live"] != release:
            if time.monotonic() - began > 900:
                sys.exit(f"{release} did not go live: {shown}")
            time.sleep(1)
        say(f"{release} is live, {time.monotonic() - began:.0f} s after the run")
        return str(shown["url"])

    def servers(self) -> list[psutil.Process]:
        """vLLM's first processes of this home."""
        found = []
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
            except psutil.Error:
                continue
            if words[1:3] == ["-m", SERVER] and any(str(self.home) in word for word in words):
                found.append(process)
        return found


class Load(threading.Thread):
    """Asks again and again, and remembers who answered and what failed."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url, self.stop = url, threading.Event()
        self.releases: list[str] = []
        self.failed: list[str] = []

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                answer = ask(self.url, REVIEW, 4)
                self.releases.append(answer.headers["x-tuneline-release"])
            except (httpx.HTTPError, KeyError) as error:
                self.failed.append(repr(error))
            time.sleep(PAUSE_S)


def see(seen: Seen) -> None:
    """The story."""
    try:
        first = seen.run()
        url = seen.until_live(first)
        say(f"asked about a dull film: {ask(url, REVIEW, 4).json()['choices'][0]['text'].strip()!r}")
        speed(url)
        load = Load(url)
        load.start()
        second = seen.run(f"data.limit={seen.rows // 4}", 'gate=["accuracy >= 0.5"]')
        seen.until_live(second)
        time.sleep(2)
        load.stop.set()
        load.join()
        by = {release: load.releases.count(release) for release in (first, second)}
        say(f"requests while {second} took over: {by}, failed: {len(load.failed)} {load.failed[:1]}")
        kill(seen, url, second)
        figures = httpx.get(f"{url}/metrics").text.splitlines()
        wanted = ("tuneline_release_info", "vllm:generation_tokens_total", "vllm:request_success_total")
        say("of /metrics:")
        for line in figures:
            if line.startswith(wanted):
                say(f"  {line}")
        if load.failed:
            sys.exit("requests failed while the second release took over")
    finally:
        seen.cli("down")
    left = seen.servers()
    say(f"after `tuneline down` vLLM's processes: {len(left)}")
    if left:
        sys.exit("a vLLM is left")


def kill(seen: Seen, url: str, live: str) -> None:
    """Kill the live release's vLLM, and wait until it answers again."""
    say(f"vLLM's processes: {[each.pid for each in seen.servers()]}")
    newest = max(seen.servers(), key=lambda each: each.create_time())
    began = time.monotonic()
    newest.kill()
    say(f"killed {newest.pid} with SIGKILL")
    while True:
        try:
            if ask(url, REVIEW, 4).headers["x-tuneline-release"] == live:
                break
        except (httpx.HTTPError, KeyError):
            time.sleep(0.5)
    now = [each.pid for each in seen.servers()]
    say(f"{live} answers again after {time.monotonic() - began:.0f} s, from {now}")


def speed(url: str) -> None:
    """Tokens a second, alone and eight at once."""
    for at_once in (1, 8):
        began = time.monotonic()
        with ThreadPoolExecutor(at_once) as pool:
            found = list(pool.map(lambda _: ask(url, LONG, TOKENS, ignore_eos=True), range(at_once * 2)))
        tokens = sum(answer.json()["usage"]["completion_tokens"] for answer in found)
        say(f"{at_once} at once: {tokens / (time.monotonic() - began):.0f} tokens/s")


def ask(url: str, prompt: str, tokens: int, **more: Any) -> httpx.Response:
    """One greedy completion. Raises: httpx.HTTPError if it fails."""
    body = {"model": "movie-reviews", "prompt": prompt, "max_tokens": tokens, "temperature": 0, **more}
    return httpx.post(f"{url}/v1/completions", json=body, timeout=120, trust_env=False).raise_for_status()


def say(text: str) -> None:
    """One line, at once."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
