"""Traffic: which revisions of an endpoint answer, with which weights; `assign` says which one a request gets.

The controller writes it as `traffic.json`, replaced atomically; the router reads it and acknowledges each
generation in `ack.json`. Pure but for `read` and `write`.
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from tuneline.errors import ConflictError

TRAFFIC_FILE = "traffic.json"
ACK_FILE = "ack.json"
STICKY_HEADERS = ("x-tuneline-session", "x-session-id", "x-user-id")
OVERRIDE_HEADER = "x-tuneline-release"
REPEATABLE = (b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE")
"""Methods that by HTTP's own rules may be repeated, whatever they reach."""


@dataclass(frozen=True)
class Revision:
    """One release served by one runtime."""

    id: str
    release: str
    """`model@version`."""
    host: str
    port: int
    weight: float
    """Its share of requests, relative to the sum of all; 0: warm, but not asked."""
    model: str = ""
    """What its runtime calls it, where several share one: it takes the place of `model` in requests."""


@dataclass(frozen=True)
class Limits:
    """What the router allows and how long it waits."""

    max_body_bytes: int = 32 * 1024 * 1024
    connect_timeout_s: float = 2.0
    retry_for_s: float = 30.0
    """How long a request of which nothing was answered yet may wait for a revision to be back."""
    timeout_s: float = 600.0
    """How long a request may go without a byte from either side."""
    repeat_all: bool = True
    """Whether a POST may be asked again although a runtime had it: a model's may, an app's may not."""
    max_concurrent: int = 0
    """Requests that one revision is asked at once, over all workers; 0: as many as come."""
    max_queue: int = 0
    """Requests that may wait for a place at one revision; one more is answered with 429."""
    queue_timeout_s: float = 10.0
    """How long one may wait for its place, before it is answered with 429."""

    def may_repeat(self, method: bytes) -> bool:
        """Whether a request of this method may be asked again although a runtime had it."""
        return self.repeat_all or method in REPEATABLE

    def may_copy(self, method: bytes) -> bool:
        """Whether such a request may go to a shadow too: what a model is asked, or what changes no app."""
        return method == (b"POST" if self.repeat_all else b"GET")


@dataclass(frozen=True)
class Shadow:
    """A revision that gets copies of requests; its answers are compared and thrown away."""

    revision: str
    """The id of one of the traffic's revisions."""
    share: float = 1.0
    """Of the requests that are copied, 0 to 1."""
    max_in_flight: int = 8
    """Copies under way at once, over all workers; one more is dropped, and counted."""
    timeout_s: float = 60.0
    """How long an answer to a copy may take."""


@dataclass(frozen=True)
class Bodies:
    """That bodies of requests and answers are kept in request lines."""

    max_bytes: int = 65536
    """Each is cut there."""
    share: float = 1.0
    """Of the requests whose bodies are kept, 0 to 1."""


@dataclass(frozen=True)
class Traffic:
    """One generation."""

    endpoint: str
    generation: int
    revisions: tuple[Revision, ...] = ()
    sticky_seed: str = ""
    """Keeps assignments of different endpoints independent of each other."""
    limits: Limits = field(default_factory=Limits)
    sticky_headers: tuple[str, ...] = STICKY_HEADERS
    """Headers that name who asks; of those that a request has, the first here is its sticky key."""
    override_header: str = OVERRIDE_HEADER
    """The header that names the revision, release or version that a request shall get."""
    shadow: Shadow | None = None
    bodies: Bodies | None = None
    workers: int = 1
    """Router processes that share the socket."""
    closed: tuple[str, ...] = ()
    """Paths that no client may ask."""
    page: bool = False
    """Whether `GET /` is answered here, with the page to talk to the endpoint: a runtime without one."""

    def to_json(self) -> dict[str, Any]:
        """traffic.json's content."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return] # tuples are lists there

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Traffic":
        """Raises: KeyError, TypeError, ValueError if that is no traffic."""
        shadow, bodies = body.get("shadow"), body.get("bodies")
        return cls(
            endpoint=str(body["endpoint"]),
            generation=int(body["generation"]),
            revisions=tuple(_revision(each) for each in body["revisions"]),
            sticky_seed=str(body.get("sticky_seed", "")),
            limits=Limits(**_known(Limits, body.get("limits", {}))),
            sticky_headers=tuple(map(str, body.get("sticky_headers", STICKY_HEADERS))),
            override_header=str(body.get("override_header", OVERRIDE_HEADER)),
            shadow=Shadow(**_known(Shadow, shadow)) if shadow else None,
            bodies=Bodies(**_known(Bodies, bodies)) if bodies is not None else None,
            workers=max(1, int(body.get("workers", 1))),
            closed=tuple(map(str, body.get("closed", ()))),
            page=bool(body.get("page", False)),
        )


def assign(traffic: Traffic, key: str) -> Revision | None:
    """The revision that requests with `key` get; None if none has weight.

    Weighted rendezvous hashing: shares follow the weights, and when one revision's weight grows at the
    others' cost, no key it has leaves it. Depends on nothing but its arguments, so any number of routers
    agree.
    """
    best: Revision | None = None
    best_cost = math.inf
    candidates = [revision for revision in traffic.revisions if revision.weight > 0]
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    for revision in candidates:
        text = f"{traffic.sticky_seed}\0{key}\0{revision.id}".encode(errors="surrogateescape")
        number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())
        cost = -math.log((number + 0.5) / 2**64) / revision.weight  # exponential with rate `weight`
        if cost < best_cost:
            best, best_cost = revision, cost
    return best


def named(traffic: Traffic, name: str) -> Revision | None:
    """The revision that an override names: by its id, its release (`m@1.1.0`) or its version (`1.1.0`).

    Of several with one release, the one with the greatest weight, then the last in the list.
    """
    found: Revision | None = None
    for each in traffic.revisions:
        if each.id == name:
            return each
        if name in (each.release, each.release.rpartition("@")[2]) and (
            found is None or each.weight >= found.weight
        ):
            found = each
    return found


def sampled(traffic: Traffic, purpose: str, request_id: str, share: float) -> bool:
    """Whether a request is among the `share` that something is done with: the same in every worker.

    Two purposes choose independently of each other.
    """
    if share >= 1.0:
        return True
    text = f"{traffic.sticky_seed}\0{purpose}\0{request_id}".encode(errors="surrogateescape")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) < share * 2**64


def sticky_digest(traffic: Traffic, key: str) -> str:
    """What request lines show of a sticky key: the same for the same key, and not the key. 16 hex digits."""
    text = f"{traffic.sticky_seed}\0{key}".encode(errors="surrogateescape")
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def read(path: Path) -> Traffic:
    """The traffic in `path`. Raises: FileNotFoundError; ConflictError if the file is not whole."""
    try:
        return Traffic.from_json(json.loads(path.read_bytes()))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConflictError(
            f"{path} is no traffic: {type(error).__name__}: {error}.",
            hint="The server writes it again when it next changes something; until then the last one holds.",
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; empty if there is none, or not yet."""
    try:
        body = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}


def replace_json(path: Path, body: Mapping[str, Any]) -> None:
    """Replace `path` in one step, so that a reader sees the old text or the new. Raises OSError."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_text(json.dumps(body), encoding="utf-8")
        scratch.replace(path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise


def _revision(body: Mapping[str, Any]) -> Revision:
    weight = float(body["weight"])
    if not 0 <= weight < math.inf:
        raise ValueError(f"the weight of {body['id']} is {weight}")
    return Revision(
        str(body["id"]), str(body["release"]), str(body["host"]), int(body["port"]), weight,
        str(body.get("model", "")),
    )  # fmt: skip


def _known(kind: type, body: Mapping[str, Any]) -> dict[str, Any]:
    """What of `body` this version knows; a later one may have written more."""
    return {each.name: body[each.name] for each in fields(kind) if each.name in body}
