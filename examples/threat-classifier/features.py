"""What the classifier looks at in a flow: numbers, and the words of its request."""

import math
import re

NUMBERS = ("port", "failed_logins", "ports_touched")
LOGARITHMS = ("duration_s", "bytes_out", "bytes_in")


def features(row: dict) -> dict:
    """A flow as DictVectorizer takes it: name to number."""
    found = {name: float(row[name]) for name in NUMBERS}
    found |= {f"log_{name}": math.log1p(float(row[name])) for name in LOGARITHMS}
    method, _, path = str(row["request"]).partition(" ")
    found[f"method={method}"] = 1.0
    found |= {f"word={word}": 1.0 for word in re.findall(r"[a-z]+", path.lower())}
    return found
