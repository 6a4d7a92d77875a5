"""Load on an endpoint from a process of its own: asks until it gets SIGTERM, then says what came of it.

    python load_program.py PORT THREADS PATH [BODY]

Prints {"answers": {"m@1.0.0 200": 17, ...}, "failures": ["..."]}. A request fails if it is not answered.
"""

import collections
import http.client
import json
import signal
import sys
import threading
import time

port, threads, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
body = (sys.argv[4] if len(sys.argv) > 4 else "{}").encode()
answers, failures, stop = collections.Counter(), [], threading.Event()


def load():
    connection = None
    while not stop.is_set():
        try:
            connection = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=40)
            connection.request("POST", path, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            answers[f"{answer.headers.get('x-tuneline-release')} {answer.status}"] += 1
        except (OSError, http.client.HTTPException) as error:
            failures.append(repr(error))
            connection = None
        time.sleep(0.004)


signal.signal(signal.SIGTERM, lambda *_: stop.set())
running = [threading.Thread(target=load) for _ in range(threads)]
for thread in running:
    thread.start()
print("asking", flush=True)  # noqa: T201 - what the test reads
for thread in running:
    thread.join()
print(json.dumps({"answers": answers, "failures": failures}))  # noqa: T201
