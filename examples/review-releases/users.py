"""Users of the tutorial: they ask about reviews, check every answer, and say whether it was right.

    python users.py users.csv [--threads 2] [--pause 0.3] [--endpoint reviews]

Asks until Ctrl-C, then sums up. Once half a minute it tells how many answers each release gave, and how many
were right. Whatever is no answer to what was asked is counted as failed, and told. An answer is right if it
is the review's label; that is given as its score, by POST /api/v1/endpoints/NAME/feedback, as a web server
would with what its users click. The standard library alone.
"""

import argparse
import collections
import csv
import http.client
import itertools
import json
import signal
import subprocess
import sys
import threading
import time
import uuid
from urllib.parse import urlsplit

CODES = {"0": "negative", "1": "positive"}
TELL_S = 30.0
TOGETHER = 8
"""Scores in one request."""


class Users:
    """Those who ask, and what came of it."""

    def __init__(self, name: str, endpoint: str, server: str, rows: list[dict[str, str]]) -> None:
        """endpoint, server: URLs."""
        self.name, self.endpoint, self.server, self.rows = name, endpoint, server, rows
        self.pause_s = 0.0
        """Of each of them, after an answer, seconds."""
        self.numbers, self.lock, self.stop = itertools.count(), threading.Lock(), threading.Event()
        self.asked: collections.Counter[str] = collections.Counter()
        self.right: collections.Counter[str] = collections.Counter()
        self.failed = 0
        self.last: dict[str, str] = {}
        """By release, the id of the last request that it answered."""

    def one(self) -> None:
        """Ask, one request after the other, until everybody stops."""
        scores: list[dict[str, object]] = []
        while not self.stop.is_set():
            scores += self.ask(self.rows[next(self.numbers) % len(self.rows)])
            if len(scores) >= TOGETHER:
                self.give(scores)
                scores = []
            self.stop.wait(self.pause_s)
        self.give(scores)

    def give(self, scores: list[dict[str, object]]) -> None:
        """Say how good answers were."""
        if scores:
            self.send(self.server, f"/api/v1/endpoints/{self.name}/feedback", scores, {})

    def ask(self, row: dict[str, str]) -> list[dict[str, object]]:
        """One review; its score, or nothing if it was not answered."""
        id = uuid.uuid4().hex[:12]
        body = {"model": self.name, "messages": [{"role": "user", "content": row["text"]}],
                "max_tokens": 4, "temperature": 0}  # fmt: skip
        found = self.send(self.endpoint, "/v1/chat/completions", body, {"x-request-id": id})
        if found is None:
            return []
        headers, answer = found
        said = answer["choices"][0]["message"]["content"].strip()
        right = said == CODES.get(row["label"], row["label"])
        release = headers.get("x-tuneline-release", "nobody")
        with self.lock:
            self.asked[release] += 1
            self.right[release] += right
            self.last[release] = id
        return [{"request_id": id, "score": float(right)}]

    def send(self, url: str, path: str, body: object, more: dict[str, str]):
        """POST it; the answer's headers and body, or None, told and counted, if it is none."""
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
        try:
            connection.request("POST", path, json.dumps(body), {"content-type": "application/json", **more})
            answer = connection.getresponse()
            text = answer.read().decode()
            headers = {name.lower(): value for name, value in answer.headers.items()}
            if answer.status == 200 and headers.get("x-request-id", "") == more.get("x-request-id", ""):
                return headers, json.loads(text)
            said = f"{answer.status} {text[:200]}"
        except (OSError, http.client.HTTPException, ValueError) as error:
            said = repr(error)
        finally:
            connection.close()
        with self.lock:
            self.failed += 1
        print(f"FAILED: {path}: {said}", flush=True)
        return None

    def told(self) -> str:
        """What came of it so far, in a line."""
        with self.lock:
            each = [f"{release} {count} ({self.right[release] / count:.0%} right)"
                    for release, count in sorted(self.asked.items())]  # fmt: skip
            return f"{time.strftime('%H:%M:%S')}  {', '.join(each) or 'nothing yet'}; {self.failed} failed"


def main() -> None:
    """Find the endpoint, and ask."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--endpoint", default="reviews")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pause", type=float, default=0.3)
    given = parser.parse_args()
    with open(given.file, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    status = json.loads(
        subprocess.run(["tuneline", "status", "--json"], check=True, capture_output=True).stdout
    )
    found = next(each for each in status["endpoints"] if each["name"] == given.endpoint)
    users = Users(given.endpoint, found["url"], status["server"]["url"], rows)
    users.pause_s = given.pause
    threads = [threading.Thread(target=users.one) for _ in range(given.threads)]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: users.stop.set())
    for thread in threads:
        thread.start()
    while not users.stop.wait(TELL_S):
        print(users.told(), flush=True)
    for thread in threads:
        thread.join()
    print(users.told())
    for release, id in sorted(users.last.items()):
        print(f"the last answer of {release}: {id}")
    sys.exit(1 if users.failed else 0)


if __name__ == "__main__":
    main()
