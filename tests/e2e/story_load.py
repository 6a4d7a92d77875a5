"""Users of the story, in a process of their own: they ask, check every answer, and say how good it was.

    python story_load.py ENDPOINT_URL SERVER_URL ENDPOINT ROWS KIND

KIND is how they ask: `rows` by MLflow's route, `prompts` by OpenAI's, where a model may say anything. ROWS is
read again at SIGUSR1. At SIGTERM it prints what came of it: {"answers": {"m@1.0.0": ["q1", ...]}, "scored":
17, "failures": [...]}. Anything but the answer that was asked for is a failure.
"""

import collections
import http.client
import itertools
import json
import random
import signal
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

ENDPOINT, SERVER, NAME, ROWS, KIND = sys.argv[1:]
THREADS, BATCH = 3, 20
PAUSE_S = {"rows": 0.004, "prompts": 0.1}[KIND]
"""So that whoever answers leaves something of two cores to what trains beside it."""
chance = random.Random(0)
answers, failures = collections.defaultdict(list), []
stop, again, numbers = threading.Event(), threading.Event(), itertools.count(1)


def read_rows():
    return [json.loads(line) for line in Path(ROWS).read_text().splitlines()]


def asked(text):
    """Path and body of a question."""
    if KIND == "rows":
        return "/invocations", {"dataframe_records": [{"text": text}]}
    prompt = {"prompt": f"{text}\nMood:", "max_tokens": 4, "temperature": 0}
    return "/v1/completions", {"model": NAME} | prompt


def answered(body):
    if KIND == "rows":
        (prediction,) = body["predictions"]
        return prediction
    return body["choices"][0]["text"].strip()


rows = read_rows()


class User:
    """One who asks, one request after the other."""

    def __init__(self):
        self.endpoint, self.server, self.scores, self.scored = None, None, [], 0

    def run(self):
        while not stop.is_set():
            number = next(numbers)
            self.ask(f"q{number}", chance.choice(rows))  # in no order: drift is what has a reason
            if len(self.scores) >= BATCH:
                self.give()
            time.sleep(PAUSE_S)
        self.give()

    def ask(self, id, row):
        headers = {"content-type": "application/json", "x-request-id": id}
        path, body = asked(row["text"])
        answer = self.post("endpoint", ENDPOINT, path, json.dumps(body), headers)
        if answer is None:
            return
        status, said, text = answer
        release = said.get("x-tuneline-release", "")
        if status != 200 or said.get("x-request-id") != id or not release.startswith(f"{NAME}@"):
            failures.append(f"{id}: {status} by {release}: {text}")
            return
        prediction = answered(json.loads(text))
        if KIND == "rows" and prediction not in ("good", "bad"):
            failures.append(f"{id}: {text}")
        answers[release].append(id)
        self.scores.append({"request_id": id, "score": float(prediction == row["label"])})

    def give(self):
        if self.scores:
            headers = {"content-type": "application/json"}
            path = f"/api/v1/endpoints/{NAME}/feedback"
            answer = self.post("server", SERVER, path, json.dumps(self.scores), headers)
            if answer is not None and answer[0] != 200:
                failures.append(f"feedback: {answer[0]} {answer[2]}")
            self.scored += len(self.scores)
            self.scores = []

    def post(self, kept, url, path, body, headers):
        try:
            connection = getattr(self, kept)
            if connection is None:
                connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
                setattr(self, kept, connection)
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            said = {name.lower(): value for name, value in answer.headers.items()}
            return answer.status, said, answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            failures.append(f"{path}: {error!r}")
            setattr(self, kept, None)
            return None


signal.signal(signal.SIGTERM, lambda *_: stop.set())
signal.signal(signal.SIGUSR1, lambda *_: again.set())
users = [User() for _ in range(THREADS)]
running = [threading.Thread(target=user.run) for user in users]
for thread in running:
    thread.start()
print("asking", flush=True)  # noqa: T201 - what the test reads
while not stop.is_set():
    if again.wait(0.1):
        again.clear()
        rows = read_rows()
for thread in running:
    thread.join()
scored = sum(user.scored for user in users)
print(json.dumps({"answers": answers, "scored": scored, "failures": failures}))  # noqa: T201
