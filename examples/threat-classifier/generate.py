"""Writes flows.jsonl: 2,400 network flows made up by rule, the same ones every time. `python generate.py`.

And incidents.jsonl: 300 flows of attacks.

Each flow has what a sensor would report (ports, bytes, durations, the request line) and a label: `benign`,
`scan`, `exfiltration` or `brute-force`. The classes overlap, as they do in a network, and one flow in fifty
has a wrong label, so no classifier is perfect.
"""

import json
import random
from pathlib import Path

FLOWS = 2400
INCIDENTS = 300
LABELS = {"benign": 0.70, "scan": 0.12, "brute-force": 0.10, "exfiltration": 0.08}
PATHS = ("/", "/index.html", "/api/v1/items", "/static/app.js", "/login", "/search?q=shoes", "/health")
PROBES = ("/admin.php", "/.env", "/wp-login.php", "/cgi-bin/test", "/../../etc/passwd", "/phpmyadmin")
DROPS = ("/upload", "/paste", "/api/v1/backup", "/sync")


def flow(label: str, chance: random.Random) -> dict:
    """One flow of a class."""
    made = {
        "port": chance.choice((80, 443, 443, 443, 22, 8080)),
        "duration_s": chance.lognormvariate(0.0, 1.0),
        "bytes_out": chance.lognormvariate(7.0, 1.2),
        "bytes_in": chance.lognormvariate(9.0, 1.3),
        "failed_logins": int(chance.random() < 0.05),
        "ports_touched": 1 + int(chance.expovariate(2.0)),
        "request": f"GET {chance.choice(PATHS)}",
    }
    if label == "scan":
        made["ports_touched"] = 1 + int(chance.expovariate(1 / 15))
        made["duration_s"] *= 0.2
        made["bytes_in"] *= 0.1
        made["request"] = f"GET {chance.choice(PROBES if chance.random() < 0.7 else PATHS)}"
    elif label == "brute-force":
        made["port"] = chance.choice((22, 22, 443))
        made["failed_logins"] = int(chance.expovariate(1 / 8))
        made["request"] = "POST /login" if chance.random() < 0.8 else f"GET {chance.choice(PATHS)}"
    elif label == "exfiltration":
        made["bytes_out"] = chance.lognormvariate(12.0, 1.5)
        made["duration_s"] *= 4
        made["request"] = f"POST {chance.choice(DROPS if chance.random() < 0.7 else PATHS)}"
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in made.items()}


def flows(count: int = FLOWS, seed: int = 20_240_229) -> list[dict]:
    """`count` flows with their labels, in the order of their time."""
    chance = random.Random(seed)
    names, weights = list(LABELS), list(LABELS.values())
    found = []
    for number in range(count):
        label = chance.choices(names, weights)[0]
        site = chance.choice(("berlin", "austin", "osaka"))
        row = {"flow": f"f{number:05d}", "site": site, **flow(label, chance)}
        row["label"] = chance.choices(names, weights)[0] if chance.random() < 0.02 else label
        found.append(row)
    return found


def incidents(count: int = INCIDENTS, seed: int = 7) -> list[dict]:
    """`count` flows of the attacks that an analyst looked into: no `benign` one, and no wrong label."""
    chance = random.Random(seed)
    found = []
    for number in range(count):
        label = chance.choice(("scan", "exfiltration", "brute-force"))
        site = chance.choice(("berlin", "austin", "osaka"))
        found.append({"flow": f"i{number:05d}", "site": site, **flow(label, chance), "label": label})
    return found


if __name__ == "__main__":
    for name, rows in (("flows.jsonl", flows()), ("incidents.jsonl", incidents())):
        target = Path(__file__).with_name(name)
        target.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        print(f"{target}: {len(rows)} flows")
