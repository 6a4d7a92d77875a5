"""The name by which a shared runtime knows a release, put into a request. Pure.

vLLM computes several adapters on one base and tells them apart by `model` in a request's JSON, so a request
for such a revision is read whole before it is sent. Everything else is passed on as it comes.
"""

import json
from urllib.parse import unquote_to_bytes

from tuneline.serve.traffic import Traffic


def renames(traffic: Traffic) -> bool:
    """Whether any revision has a name of its own."""
    return any(each.model for each in traffic.revisions)


def renamed(body: bytes, model: str) -> bytes:
    """The body with `model` in it, whatever it named; what is no JSON object stays as it is."""
    if not model:
        return body
    try:
        found = json.loads(body)
    except ValueError:
        return body
    if not isinstance(found, dict):
        return body
    return json.dumps({**found, "model": model}, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )


def path_of(target: bytes) -> bytes:
    """The path that a runtime will see in a request's target: without scheme, host and query, decoded."""
    if not target.startswith(b"/") and b"://" in target:
        target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
    return unquote_to_bytes(target.partition(b"?")[0].partition(b"#")[0])
