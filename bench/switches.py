"""Streamed requests to a real Gemma while releases take over from each other: none may fail.

    python bench/switches.py [--requests 300] [--switches 3]

The whole of it: record, controller, holder, router, and a llama.cpp runtime for each release (one base and
one random adapter under several versions). Each request must end with its last event, its usage and as many
tokens as it asked for, all from one release. Downloads the base once, as a project does.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import httpx

from serve import PROMPT, make_model
from tuneline.control.endpoints import Controller
from tuneline.control.launching import Runtimes, warm_up
from tuneline.plan.endpoints import Desired, ReleaseFacts
from tuneline.record.record import Record
from tuneline.record.releases import Proposal
from tuneline.settings import Settings
from tuneline.types import digest_json

TOKENS = 8


class Launching(Runtimes):
    """The real runtime, on parts instead of a package, so that no proof is needed."""

    def __init__(self, base: Path, adapter: Path, served: Path) -> None:
        super().__init__(Settings(base))
        self._parts = ["--base", base, "--adapter", adapter, "--served", served]

    def check(self, release: ReleaseFacts, desired: Desired) -> None:
        """A random adapter has no proof."""

    def command(self, release: ReleaseFacts, desired: Desired, port: int) -> list[str]:
        """The runtime's command line."""
        words = ["--port", port, "--model", release.model, "--release", release.release, *self._parts]
        return [sys.executable, "-m", "tuneline.serve.runtime", *map(str, words)]

    def warm_up(self, release: ReleaseFacts, port: int) -> None:
        """One token."""
        warm_up(release.model, port)


def main() -> None:
    """Print what came of every request; exit with 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--switches", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuneline-bench-") as name:
        folder = Path(name)
        record = Record(f"sqlite:///{folder / 'record.db'}")
        record.migrate()
        parts = make_model(folder)
        controller = Controller(record.endpoints, folder / "endpoints", launching=Launching(*parts))
        controller.start()
        try:
            good = measure(record, options.requests, options.switches)
        finally:
            controller.stop(all=True)
            record.close()
    sys.exit(0 if good else 1)


def measure(record: Record, wanted: int, switches: int) -> bool:
    """Ask from three clients while releases take over. Whether nothing failed."""
    go_live(record, 0)
    url = record.endpoints.observed("bench")["url"]
    answers: Counter[str] = Counter()
    failures: list[str] = []
    left = threading.Semaphore(wanted)

    def load() -> None:
        with httpx.Client(base_url=url, timeout=120) as client:
            while left.acquire(blocking=False):
                try:
                    answers[ask(client)] += 1
                except Exception as error:
                    failures.append(repr(error))

    threads = [threading.Thread(target=load) for _ in range(3)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for number in range(1, switches + 1):
        while answers.total() + len(failures) < wanted * number / (switches + 1):
            time.sleep(0.01)
        go_live(record, number)
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begun
    done = f"{answers.total()} streamed answers over {switches} switches in {seconds:.0f} s"
    print(f"{done}, {len(failures)} failed")
    for release, count in sorted(answers.items()):
        print(f"  {release}: {count}")
    for failure in failures[:5]:
        print(f"  {failure}")
    return not failures and len(answers) == switches + 1


def ask(client: httpx.Client) -> str:
    """The release that answered. Raises if anything of the stream is missing."""
    body = {"model": "bench", "prompt": PROMPT, "max_tokens": TOKENS, "ignore_eos": True, "stream": True}
    events = []
    with client.stream(
        "POST", "/v1/completions", json=body | {"stream_options": {"include_usage": True}}
    ) as answer:
        answer.raise_for_status()
        events = [line[6:] for line in answer.iter_lines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]", events[-1]
    assert json.loads(events[-2])["usage"]["completion_tokens"] == TOKENS, events[-2]
    return answer.headers["x-tuneline-release"]


def go_live(record: Record, number: int) -> None:
    """Propose another release and wait until it is live."""
    live = record.endpoints.live("bench")
    digest = digest_json(number)
    proposal = Proposal(
        model="bench",
        package_uri="/",
        package_digest=digest,
        base_uri="/",
        base_digest=digest_json("base"),
        manifest={"model": "bench", "base": {}, "rows_digest": digest},
        verdict={"passed": True, "rules": []},
        proof={"passed": True},
        report={},
        deploy={"endpoint": "bench", "runtime": "llamacpp", "port": 0, "keep_s": 0},
        live_digest=live.digest if live else "",
        approved=True,
        why="bench",
        run="",
        project_digest="",
        by="bench",
    )
    release = record.releases.propose(proposal, time.time()).release
    while (live := record.endpoints.live("bench")) is None or live.release != release:
        seen = record.endpoints.observed("bench")
        assert seen.get("phase") != "failed", seen
        time.sleep(0.05)


if __name__ == "__main__":
    main()
