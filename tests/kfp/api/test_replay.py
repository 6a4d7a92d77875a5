"""What the real client once sent, byte for byte: the answers have the same status, keys and kinds as then."""

import json
import time
from pathlib import Path

from tests.kfp.api.recording import filled, sent, shape

RECORDED = Path(__file__).parent / "recorded-2.17.0.json"


def test_recorded_requests_are_answered_as_they_were(url):
    host, _, port = url.removeprefix("http://").partition(":")
    answers = []
    for place, kept in enumerate(json.loads(RECORDED.read_text())):
        deadline = time.monotonic() + 20
        while True:  # what was polled then is polled now
            request = filled(kept["request"], answers)
            status, answer = sent((host, int(port)), request)
            if kept["state"] in (None, answer.get("state")) or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        where = f"{place}: {request[:2000].decode('latin-1')}"
        assert status == kept["status"], (where, answer)
        now, then = shape(answer), kept["shape"]
        if kept["state"] == "RUNNING":  # its task may have started, or not yet
            now.pop("run_details"), then.pop("run_details")
        for listed in (*now.get("runs", ()), *then.get("runs", ())):
            for later in ("finished_at", "run_details", "state_history"):
                listed.pop(later, None)  # a list may be asked for before or after its runs have ended
        assert now == then, where
        answers.append(answer)
    assert len(answers) > 40
